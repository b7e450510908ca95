"""Pieces of a page that its sections share."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from tapetum.imaging import vips


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Of texts, the first of each row its heading."""
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return (
        f'<div class="scroll"><table class="plain"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def sheet(rows: Sequence[tuple[str, Sequence[str]]], labels: Sequence[str] = ()) -> str:
    """Rows of pictures, each with its name and a data URI for each column ("": none); ``labels``: of the columns."""
    columns = max((len(sources) for _, sources in rows), default=1)
    heads = "".join(f"<span>{escape(label)}</span>" for label in ("", *labels)) if labels else ""
    body = []
    for name, sources in rows:
        cells = (f'<img alt="{escape(name)}" src="{source}">' if source else "<span>-</span>" for source in sources)
        body.append(f"<b>{escape(name)}</b>{''.join(cells)}")
    return f'<div class="scroll"><div class="sheet" style="--columns:{columns}">{heads}{"".join(body)}</div></div>'


def data_uri(image: NDArray[Any], width: int) -> str:
    """``(H, W, 3)``, uint8 or floating in [0, 1], as WebP of at most so many columns."""
    if image.dtype != np.uint8:
        image = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    picture = vips.from_array(image)
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        shrunk: Any = picture.thumbnail_image(width, height=height, size="force")
        picture = shrunk
    assert isinstance(picture, pyvips.Image)
    content: Any = picture.webpsave_buffer(Q=78)
    return "data:image/webp;base64," + base64.b64encode(content).decode("ascii")
