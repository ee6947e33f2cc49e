"""Sheets of pictures: rows with names, columns with captions, a title and a legend."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lrtl.files import whole_file

SHEET_FRAMES = 6
SHEET_WIDTH = 280  # px of a picture in a sheet
GAP, MARGIN, TITLE, CAPTION = 4, 30, 44, 20  # px between pictures, and of the text around them
INK, GREY = (30, 30, 30), (110, 110, 110)

Legend = list[tuple[str, np.ndarray]]  # texts, and the picture (h, w, 3) that stands before each


def spaced(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` indices, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


def outline_width(frame: np.ndarray) -> int:
    """Thickness in px of an outline on a frame that is drawn small in a sheet."""
    return max(1, round(1.5 * frame.shape[1] / SHEET_WIDTH))


def swatch(colour: Iterable[float], half: int) -> np.ndarray:
    """A patch of a colour for a legend, `half` of its height in px."""
    return np.full((2 * half + 1, 17, 3), tuple(colour), np.uint8)


def write_sheet(
    title: str, columns: list[str], rows: dict[str, list], legend: Legend, out: Path
) -> None:
    """Write a sheet of pictures (H, W, 3), a list for the name of each row, as PNG.

    The first picture sets the shape of all; None leaves its place white.
    """
    height, width = next(p for row in rows.values() for p in row if p is not None).shape[:2]
    cell = (SHEET_WIDTH, round(SHEET_WIDTH * height / width))
    sheet = _titled(title, columns, list(rows), legend, cell)
    for row, pictures in enumerate(rows.values()):
        for column, picture in enumerate(pictures):
            if picture is not None:
                small = cv2.resize(picture, cell, interpolation=cv2.INTER_AREA)
                sheet.paste(Image.fromarray(small), _corner(row, column, cell))
    with whole_file(out) as temporary:
        sheet.save(temporary)


def _corner(row: int, column: int, cell: tuple[int, int]) -> tuple[int, int]:
    """Upper left corner (x, y) of a picture in a sheet of pictures of size `cell` = (w, h)."""
    return MARGIN + column * (cell[0] + GAP), TITLE + CAPTION + row * (cell[1] + GAP)


def _titled(title: str, columns: list[str], rows: list[str], legend: Legend, cell) -> Image.Image:
    """A sheet without its pictures: title, legend, and names of rows and columns."""
    small, large = ImageFont.load_default(14), ImageFont.load_default(22)
    width, height = _corner(len(rows), len(columns), cell)
    widths = [round(small.getlength(text)) + 32 + picture.shape[1] for text, picture in legend]
    width = max(width, MARGIN + round(large.getlength(title)) + sum(widths) + GAP)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, TITLE / 2), title, INK, large, "lm")
    _draw_legend(sheet, legend, small)
    for column, name in enumerate(columns):
        x, y = _corner(0, column, cell)
        draw.text((x + cell[0] / 2, y - CAPTION / 2), name, GREY, small, "mm")
    for row, name in enumerate(rows):
        label = Image.new("RGB", (cell[1], MARGIN), "white")
        ImageDraw.Draw(label).text((cell[1] / 2, MARGIN / 2), name, GREY, small, "mm")
        sheet.paste(label.rotate(90, expand=True), (0, _corner(row, 0, cell)[1]))
    return sheet


def _draw_legend(sheet: Image.Image, legend: Legend, font) -> None:
    """Draw a legend into the upper right corner of a sheet, from right to left."""
    draw, right = ImageDraw.Draw(sheet), sheet.width - GAP
    for text, picture in reversed(legend):
        draw.text((right, TITLE / 2), text, INK, font, "rm")
        right -= draw.textlength(text, font) + 8
        height, width = picture.shape[:2]
        right -= width - 1
        sheet.paste(Image.fromarray(picture), (int(right), TITLE // 2 - height // 2))
        right -= 24
