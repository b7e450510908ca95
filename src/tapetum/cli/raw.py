"""``tapetum raw``: camera RAW files."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at camera RAW files, or develop them.")


@app.callback()
def raw() -> None:
    """Look at camera RAW files, or develop them."""
