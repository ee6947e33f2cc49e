"""Pictures of results: overlay videos and contact sheets, in one style."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lrtl.datasets.layout import Sequence, read_mask
from lrtl.files import checked, whole_file

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
LEGEND = [("foreground", FOREGROUND, 6), ("ground truth", TRUTH, 2)]  # with half its height in px
GAP, MARGIN, TITLE, CAPTION = 4, 30, 44, 20  # px between pictures, and of the text around them
INK, GREY = (30, 30, 30), (110, 110, 110)


def overlay(sequence: Sequence, masks: Path, out: Path) -> None:
    """Write a video (H.264, mp4) of the frames with the foreground tinted and outlined.

    Ground truth, where there is any, is a thin cyan outline. A frame of odd size loses its last
    row or column, which the video format cannot hold.

    Raises:
        ValueError: a mask is missing, damaged or of another size; the file is named.
    """
    masks, size = checked(masks), (sequence.height, sequence.width)
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
        ValueError: a mask is missing, damaged or of another size; the file is named.
    """
    masks, components = checked(masks), checked(components)
    size = (sequence.height, sequence.width)
    rows: dict[str, list] = {"frame": [], "components": [], "foreground": []}
    chosen = _spaced(len(sequence.frames), SHEET_FRAMES)
    for index in chosen:
        frame, stem = sequence.frame(index), sequence.frames[index]
        labels = read_mask(components / f"{stem}.png", size)
        mask = read_mask(masks / f"{stem}.png", size) > 0
        foreground = draw_foreground(frame, mask, sequence.mask(index), _line(frame))
        for row, picture in zip(
            rows, (frame, draw_components(frame, labels), foreground), strict=True
        ):
            rows[row].append(picture)
    legend = LEGEND if sequence.annotated else LEGEND[:1]
    _write_sheet(sequence.name, [sequence.frames[i] for i in chosen], rows, legend, out)


def comparison(sequences: list[Sequence], runs: list[Path], title: str, out: Path) -> None:
    """Write a sheet (PNG) that compares runs: the middle annotated frame of some sequences.

    Rows are the frame, the ground truth and the foreground of every run.

    Args:
        sequences: with ground truth; of more than fit, evenly spaced ones are taken.
        runs: folders of masks, `results/masks/{dataset}/{experiment}/seed{seed}`.
        title: of the sheet.
        out: the picture.

    Raises:
        ValueError: a mask is missing, damaged or of another size; the file is named.
    """
    names = [run.parent.name for run in runs]
    rows: dict[str, list] = {row: [] for row in ("frame", "ground truth", *names)}
    chosen = [sequences[i] for i in _spaced(len(sequences), SHEET_FRAMES)]
    for sequence in chosen:
        stem = sequence.annotated[len(sequence.annotated) // 2]
        index, size = sequence.frames.index(stem), (sequence.height, sequence.width)
        frame, truth = sequence.frame(index), sequence.mask(index)
        line = _line(frame)
        rows["frame"].append(frame)
        rows["ground truth"].append(draw_foreground(frame, truth > 0, None, line))
        for name, run in zip(names, runs, strict=True):
            mask = read_mask(checked(run / sequence.name) / f"{stem}.png", size) > 0
            rows[name].append(draw_foreground(frame, mask, None, line))
    _write_sheet(title, [sequence.name for sequence in chosen], rows, LEGEND[:1], out)


def _spaced(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` indices, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


def _line(frame: np.ndarray) -> int:
    """Thickness in px of an outline on a frame that is drawn small in a sheet."""
    return max(1, round(1.5 * frame.shape[1] / SHEET_WIDTH))


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


def _write_sheet(title: str, columns: list[str], rows: dict, legend: list, out: Path) -> None:
    """Write a sheet of pictures, a list for the name of each row; the first sets their shape."""
    height, width = next(iter(rows.values()))[0].shape[:2]
    cell = (SHEET_WIDTH, round(SHEET_WIDTH * height / width))
    sheet = _titled(title, columns, list(rows), legend, cell)
    for row, pictures in enumerate(rows.values()):
        for column, picture in enumerate(pictures):
            small = cv2.resize(picture, cell, interpolation=cv2.INTER_AREA)
            sheet.paste(Image.fromarray(small), _corner(row, column, cell))
    with whole_file(out) as temporary:
        sheet.save(temporary)


def _titled(title: str, columns: list[str], rows: list[str], legend: list, cell) -> Image.Image:
    """A sheet without its pictures: title, legend, and names of rows and columns."""
    width, height = _corner(len(rows), len(columns), cell)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    small = ImageFont.load_default(14)
    draw.text((MARGIN, TITLE / 2), title, INK, ImageFont.load_default(22), "lm")
    right = width - GAP
    for text, colour, half in reversed(legend):
        draw.text((right, TITLE / 2), text, INK, small, "rm")
        right -= draw.textlength(text, small) + 8
        draw.rectangle([right - 16, TITLE / 2 - half, right, TITLE / 2 + half], colour)
        right -= 40
    for column, name in enumerate(columns):
        x, y = _corner(0, column, cell)
        draw.text((x + cell[0] / 2, y - CAPTION / 2), name, GREY, small, "mm")
    for row, name in enumerate(rows):
        label = Image.new("RGB", (cell[1], MARGIN), "white")
        ImageDraw.Draw(label).text((cell[1] / 2, MARGIN / 2), name, GREY, small, "mm")
        sheet.paste(label.rotate(90, expand=True), (0, _corner(row, 0, cell)[1]))
    return sheet
