"""Camera RAW pictures: mosaics in and out, development, DNG. Only cameras' files need rawpy (the ``raw`` extra)."""

from tapetum.imaging.raw.develop import develop
from tapetum.imaging.raw.dng import write_linear, write_mosaic
from tapetum.imaging.raw.exposure import automatic_ratio
from tapetum.imaging.raw.headerless import Geometry, read_geometry, read_headerless
from tapetum.imaging.raw.options import Development
from tapetum.imaging.raw.packing import (
    level,
    pack_bayer,
    pack_xtrans,
    unlevel,
    unpack_bayer,
    unpack_xtrans,
)
from tapetum.imaging.raw.picture import RawPicture
from tapetum.imaging.raw.reading import read_developed, read_raw
from tapetum.imaging.raw.shot import Shot

__all__ = [
    "Development",
    "Geometry",
    "RawPicture",
    "Shot",
    "automatic_ratio",
    "develop",
    "level",
    "pack_bayer",
    "pack_xtrans",
    "read_developed",
    "read_geometry",
    "read_headerless",
    "read_raw",
    "unlevel",
    "unpack_bayer",
    "unpack_xtrans",
    "write_linear",
    "write_mosaic",
]
