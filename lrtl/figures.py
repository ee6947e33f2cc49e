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
TRUTH = (255, 255, 255)
COMPONENTS = np.array(
    [
        *[(80, 120, 220), (240, 160, 50), (90, 180, 110), (200, 80, 160)],
        *[(150, 110, 220), (80, 190, 210), (220, 210, 80), (130, 130, 130)],
    ],
    np.float32,
)
TINT = 0.45
FRAME_RATE = 12  # frames per second of an overlay
SHEET_FRAMES = 6
SHEET_WIDTH = 240  # px of a picture in a sheet
HEADER = 30  # px


def overlay(sequence: Sequence, masks: Path, out: Path) -> None:
    """Write a video (H.264, mp4) of the frames with the foreground tinted and outlined.

    Ground truth, where there is any, is a thin white outline. A frame of odd size loses its last
    row or column, which the video format cannot hold.
    """
    size = (sequence.height, sequence.width)
    with whole_file(out) as temporary, av.open(temporary, "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=Fraction(FRAME_RATE))
        stream.height, stream.width = size[0] // 2 * 2, size[1] // 2 * 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20"}
        for index, stem in enumerate(sequence.frames):
            mask = read_mask(masks / f"{stem}.png", size) > 0
            picture = draw_foreground(sequence.frame(index), mask, sequence.mask(index))
            picture = np.ascontiguousarray(picture[: stream.height, : stream.width])
            video.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        video.mux(stream.encode())


def contact_sheet(sequence: Sequence, masks: Path, components: Path, out: Path) -> None:
    """Write a sheet (PNG) of evenly spaced frames: as they are, components, foreground."""
    size = (sequence.height, sequence.width)
    height = round(SHEET_WIDTH * size[0] / size[1])
    columns = []
    for index in np.linspace(0, len(sequence.frames) - 1, SHEET_FRAMES).round().astype(int):
        frame, stem = sequence.frame(index), sequence.frames[index]
        labels = read_mask(components / f"{stem}.png", size)
        mask = read_mask(masks / f"{stem}.png", size) > 0
        truth = sequence.mask(index)
        rows = [frame, draw_components(frame, labels), draw_foreground(frame, mask, truth)]
        shrink = (SHEET_WIDTH, height)
        columns.append([cv2.resize(row, shrink, interpolation=cv2.INTER_AREA) for row in rows])
    grid = np.concatenate([np.concatenate(rows) for rows in columns], 1)
    sheet = Image.new("RGB", (grid.shape[1], grid.shape[0] + HEADER), "white")
    sheet.paste(Image.fromarray(grid), (0, HEADER))
    label = f"{sequence.name}: frames, components, foreground (red)"
    label += ", ground truth (white outline)" if sequence.annotated else ""
    ImageDraw.Draw(sheet).text((8, 6), label, "black", ImageFont.load_default(16))
    with whole_file(out) as temporary:
        sheet.save(temporary)


def draw_foreground(frame: np.ndarray, mask: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """Tint and outline the mask (H, W) bool on an RGB frame; outline the truth thinly."""
    tinted = frame + TINT * mask[..., None] * (np.array(FOREGROUND, np.float32) - frame)
    picture = np.ascontiguousarray(tinted.round().astype(np.uint8))
    width = max(1, round(frame.shape[1] / 400))
    _outline(picture, mask, FOREGROUND, width)
    if truth is not None:
        _outline(picture, truth > 0, TRUTH, width)
    return picture


def draw_components(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Colour the components (H, W) of an RGB frame."""
    colours = COMPONENTS[labels % len(COMPONENTS)]  # (H, W, 3)
    return (0.35 * frame + 0.65 * colours).round().astype(np.uint8)


def _outline(picture: np.ndarray, mask: np.ndarray, colour: tuple, width: int) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, width, cv2.LINE_AA)
