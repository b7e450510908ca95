"""Writes src/tapetum/assets/labels/letters.png: the printable ASCII characters in a row of equal cells, white on black.

Drawn beforehand, since a machine need not have a font. The font is the one that Pillow carries (Aileron, CC0).
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CELL = (11, 20)  # width and height
OUT = Path(__file__).parents[1] / "src" / "tapetum" / "assets" / "labels" / "letters.png"

characters = [chr(code) for code in range(32, 127)]
font = ImageFont.load_default(16)
strip = Image.new("L", (CELL[0] * len(characters), CELL[1]))
for index, character in enumerate(characters):
    cell = Image.new("L", CELL)
    ImageDraw.Draw(cell).text((CELL[0] / 2, 15), character, fill=255, font=font, anchor="ms")
    strip.paste(cell, (index * CELL[0], 0))
strip.save(OUT, optimize=True)
