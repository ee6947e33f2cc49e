"""Pictures of results: overlay videos and contact sheets, in one style."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lrtl.datasets.layout import Sequence, read_mask
from lrtl.files import whole_file

FOREGROUND = (255, 64, 64)
TRUTH = (0, 230, 255)
COMPONENTS = np.array(
    [
        *[(80, 120, 220), (240, 160, 50), (90, 180, 110), (200, 80, 160)],
        *[(150, 110, 220), (80, 190, 210), (220, 210, 80), (130, 130, 130)],
    ],
    np.float32,
)
TINT = 0.45  # share of the colour in a foreground
FRAME_RATE = 12  # frames per second of an overlay
SHEET_FRAMES = 6
SHEET_WIDTH = 280  # px of a picture in a sheet
GAP, MARGIN, TITLE, CAPTION = 4, 30, 44, 20  # px between pictures, and of the text around them
INK, GREY = (30, 30, 30), (110, 110, 110)


def overlay(sequence: Sequence, masks: Path, out: Path) -> None:
    """Write a video (H.264, mp4) of the frames with the foreground tinted and outlined.

    Ground truth, where there is any, is a thin cyan outline. A frame of odd size loses its last
    row or column, which the video format cannot hold.

    Raises:
        ValueError: a mask is missing or of another size; the file is named.
    """
    size = (sequence.height, sequence.width)
    line = max(1, round(sequence.width / 400))
    with whole_file(out) as temporary, av.open(temporary, "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=Fraction(FRAME_RATE))
        stream.height, stream.width = size[0] // 2 * 2, size[1] // 2 * 2
        stream.pix_fmt = "yuv420p"
        # mbtree's vector code reads memory that nothing has set: bytes would differ between runs.
        stream.options = {"crf": "20", "threads": "1", "mbtree": "0"}
        for index, stem in enumerate(sequence.frames):
            mask = read_mask(masks / f"{stem}.png", size) > 0
            picture = draw_foreground(sequence.frame(index), mask, sequence.mask(index), line)
            picture = np.ascontiguousarray(picture[: stream.height, : stream.width])
            video.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        video.mux(stream.encode())


def contact_sheet(sequence: Sequence, masks: Path, components: Path, out: Path) -> None:
    """Write a sheet (PNG) of evenly spaced frames: as they are, components, foreground.

    The first eight components have colours of their own, further ones repeat them.

    Raises:
        ValueError: a mask is missing or of another size; the file is named.
    """
    size = (sequence.height, sequence.width)
    cell = (SHEET_WIDTH, round(SHEET_WIDTH * size[0] / size[1]))
    line = max(1, round(1.5 * size[1] / SHEET_WIDTH))
    chosen = np.unique(np.linspace(0, len(sequence.frames) - 1, SHEET_FRAMES).round().astype(int))
    sheet = _titled(sequence, [sequence.frames[i] for i in chosen], cell)
    for column, index in enumerate(chosen):
        frame, stem = sequence.frame(index), sequence.frames[index]
        labels = read_mask(components / f"{stem}.png", size)
        mask = read_mask(masks / f"{stem}.png", size) > 0
        foreground = draw_foreground(frame, mask, sequence.mask(index), line)
        for row, picture in enumerate([frame, draw_components(frame, labels), foreground]):
            small = cv2.resize(picture, cell, interpolation=cv2.INTER_AREA)
            sheet.paste(Image.fromarray(small), _corner(row, column, cell))
    with whole_file(out) as temporary:
        sheet.save(temporary)


def draw_foreground(
    frame: np.ndarray, mask: np.ndarray, truth: np.ndarray | None, line: int
) -> np.ndarray:
    """Tint and outline a mask on a frame, and outline the ground truth half as thick.

    Args:
        frame: (H, W, 3) uint8, RGB.
        mask: (H, W) bool.
        truth: (H, W) object ids, 0 the background; None if there are none.
        line: thickness of the mask's outline in px.
    """
    tinted = frame + TINT * mask[..., None] * (np.array(FOREGROUND, np.float32) - frame)
    picture = np.ascontiguousarray(tinted.round().astype(np.uint8))
    _outline(picture, mask, FOREGROUND, line)
    if truth is not None:
        _outline(picture, truth > 0, TRUTH, max(1, line // 2))
    return picture


def draw_components(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Colour the components (H, W) of a frame (H, W, 3)."""
    colours = COMPONENTS[labels % len(COMPONENTS)]  # (H, W, 3)
    return (0.35 * frame + 0.65 * colours).round().astype(np.uint8)


def _outline(picture: np.ndarray, mask: np.ndarray, colour: tuple, width: int) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, width, cv2.LINE_AA)


def _corner(row: int, column: int, cell: tuple[int, int]) -> tuple[int, int]:
    """Upper left corner (x, y) of a picture in a sheet of pictures of size `cell` = (w, h)."""
    return MARGIN + column * (cell[0] + GAP), TITLE + CAPTION + row * (cell[1] + GAP)


def _titled(sequence: Sequence, stems: list[str], cell: tuple[int, int]) -> Image.Image:
    """A sheet without its pictures: title, legend, and names of rows and columns."""
    width, height = _corner(3, len(stems), cell)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    small = ImageFont.load_default(14)
    draw.text((MARGIN, TITLE / 2), sequence.name, INK, ImageFont.load_default(22), "lm")
    legend, right = [("foreground", FOREGROUND, 6)], width - GAP
    legend += [("ground truth", TRUTH, 2)] if sequence.annotated else []
    for text, colour, half in reversed(legend):
        draw.text((right, TITLE / 2), text, INK, small, "rm")
        right -= draw.textlength(text, small) + 8
        draw.rectangle([right - 16, TITLE / 2 - half, right, TITLE / 2 + half], colour)
        right -= 40
    for column, stem in enumerate(stems):
        x, y = _corner(0, column, cell)
        draw.text((x + cell[0] / 2, y - CAPTION / 2), stem, GREY, small, "mm")
    for row, name in enumerate(["frame", "components", "foreground"]):
        label = Image.new("RGB", (cell[1], MARGIN), "white")
        ImageDraw.Draw(label).text((cell[1] / 2, MARGIN / 2), name, GREY, small, "mm")
        sheet.paste(label.rotate(90, expand=True), (0, _corner(row, 0, cell)[1]))
    return sheet
