"""Pictures of masks and components: overlay videos, contact sheets and comparisons."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from lrtl.datasets.layout import Sequence, read_mask
from lrtl.figures.sheets import SHEET_FRAMES, outline_width, spaced, swatch, write_sheet
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
FRAME_RATE = 12  # frames per second of an overlay where the clip's own are not known
LEGEND = [("foreground", swatch(FOREGROUND, 6)), ("ground truth", swatch(TRUTH, 2))]


def overlay(sequence: Sequence, masks: Path, out: Path) -> None:
    """Write a video (H.264, mp4) of the frames with the foreground tinted and outlined.

    Ground truth, where there is any, is a thin cyan outline. A frame of odd size loses its last
    row or column, which the video format cannot hold.

    Raises:
        ValueError: a mask is missing, damaged or of another size; the file is named.
    """
    masks, size = checked(masks), (sequence.height, sequence.width)
    line = overlay_line(sequence.width)

    def pictures() -> Iterator[np.ndarray]:
        for index, stem in enumerate(sequence.frames):
            mask = read_mask(masks / f"{stem}.png", size) > 0
            yield draw_foreground(sequence.frame(index), mask, sequence.mask(index), line)

    with whole_file(out) as temporary:
        write_video(pictures(), temporary, sequence.rate)


def write_video(pictures: Iterable[np.ndarray], out: Path, rate: float | None) -> None:
    """Write pictures (H, W, 3) uint8 as a video (H.264, mp4); of odd sizes the last px is lost.

    It shows `rate` frames a second, 12 where that is None.
    """
    rate = Fraction(rate or FRAME_RATE).limit_denominator(1001)  # 29.97 is 30000/1001
    with av.open(out, "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        # mbtree's vector code reads memory that nothing has set: bytes would differ between runs.
        stream.options = {"crf": "20", "threads": "1", "mbtree": "0"}
        for index, picture in enumerate(pictures):
            height, width = (side // 2 * 2 for side in picture.shape[:2])
            if index == 0:
                stream.height, stream.width = height, width
            picture = np.ascontiguousarray(picture[:height, :width])
            video.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        video.mux(stream.encode())


def contact_sheet(
    sequence: Sequence, masks: Path, components: Path, objects: Path, out: Path
) -> None:
    """Write a sheet (PNG) of evenly spaced frames: as they are, components, foreground, objects.

    Eight components, and eight objects, have colours of their own, further ones repeat them.

    Raises:
        ValueError: a mask is missing, damaged or of another size; the file is named.
    """
    masks, components, objects = map(checked, (masks, components, objects))
    size = (sequence.height, sequence.width)
    rows: dict[str, list] = {"frame": [], "components": [], "foreground": [], "objects": []}
    chosen = spaced(len(sequence.frames), SHEET_FRAMES)
    for index in chosen:
        frame, stem = sequence.frame(index), sequence.frames[index]
        labels = read_mask(components / f"{stem}.png", size)
        mask = read_mask(masks / f"{stem}.png", size) > 0
        foreground = draw_foreground(frame, mask, sequence.mask(index), outline_width(frame))
        ids = read_mask(objects / f"{stem}.png", size)
        coloured = np.where(ids[..., None] > 0, draw_components(frame, ids), frame)
        pictures = (frame, draw_components(frame, labels), foreground, coloured)
        for row, picture in zip(rows, pictures, strict=True):
            rows[row].append(picture)
    legend = LEGEND[:1] + _truth_legend(sequence)
    write_sheet(sequence.name, [sequence.frames[i] for i in chosen], rows, legend, out)


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
    chosen = [sequences[i] for i in spaced(len(sequences), SHEET_FRAMES)]
    for sequence in chosen:
        stem = sequence.annotated[len(sequence.annotated) // 2]
        index, size = sequence.frames.index(stem), (sequence.height, sequence.width)
        frame, truth = sequence.frame(index), sequence.mask(index)
        line = outline_width(frame)
        rows["frame"].append(frame)
        rows["ground truth"].append(draw_foreground(frame, truth > 0, None, line))
        for name, run in zip(names, runs, strict=True):
            mask = read_mask(checked(run / sequence.name) / f"{stem}.png", size) > 0
            rows[name].append(draw_foreground(frame, mask, None, line))
    write_sheet(title, [sequence.name for sequence in chosen], rows, LEGEND[:1], out)


def sequence_sheet(sequence: Sequence, out: Path) -> None:
    """Write a sheet (PNG) of evenly spaced frames with their ground truth outlined."""
    chosen = spaced(len(sequence.frames), SHEET_FRAMES)
    pictures = []
    for index in chosen:
        picture = sequence.frame(index)
        _outline_truth(picture, sequence.mask(index))
        pictures.append(picture)
    title, legend = f"{sequence.name}: {len(sequence.frames)} frames", _truth_legend(sequence)
    write_sheet(title, [sequence.frames[i] for i in chosen], {"frame": pictures}, legend, out)


def segment_sheet(
    folder: Path, sequence: Sequence | None, out: Path, components: bool = False
) -> None:
    """Write a sheet (PNG) of a folder of indexed PNGs: masks, objects or components.

    Of one id it is the foreground; of several each has its colour but 0, which is left as the
    frame is: only of `components` it is an id as any other. Without a sequence they stand on white.

    Raises:
        ValueError: a PNG is no mask, or of no frame of the sequence; it is named.
    """
    paths = sorted(folder.glob("*.png"))
    paths = [paths[i] for i in spaced(len(paths), SHEET_FRAMES)]
    size = (sequence.height, sequence.width) if sequence else None
    masks = [read_mask(path, size) for path in paths]
    ids = [int(i) for i in sorted(set().union(*map(np.unique, masks))) if i > 0 or components]
    several = components or len(ids) > 1
    pictures = []
    for path, mask in zip(paths, masks, strict=True):
        frame, truth = _frame_of(path, sequence, mask.shape)
        if several:
            shown = np.isin(mask, ids)[..., None]
            picture = np.where(shown, draw_components(frame, mask), frame)
            _outline_truth(picture, truth)
        else:
            picture = draw_foreground(frame, mask > 0, truth, outline_width(frame))
        pictures.append(picture)
    colours = [(f"id {i}", swatch(COMPONENTS[i % len(COMPONENTS)], 6)) for i in ids]
    legend = (colours if several else LEGEND[:1]) + _truth_legend(sequence)
    rows = {"segments" if several else "foreground": pictures}
    write_sheet(folder.resolve().name, [path.stem for path in paths], rows, legend, out)


def _frame_of(path: Path, sequence: Sequence | None, size: tuple[int, int]):
    """The frame (H, W, 3) that a mask is of, white without a sequence, and its ground truth."""
    if sequence is None:
        return np.full((*size, 3), 255, np.uint8), None
    if path.stem not in sequence.frames:
        remedy = "name the sequence it was made from"
        raise ValueError(f"{path} is of no frame of {sequence.folder}; {remedy}")
    index = sequence.frames.index(path.stem)
    return sequence.frame(index), sequence.mask(index)


def _truth_legend(sequence: Sequence | None) -> list:
    return LEGEND[1:] if sequence and sequence.annotated else []


def _outline_truth(picture: np.ndarray, truth: np.ndarray | None) -> None:
    """Outline every object of the ground truth (H, W), if there is any, in place."""
    for identity in np.unique(truth[truth > 0]) if truth is not None else ():
        _outline(picture, truth == identity, TRUTH, outline_width(picture))


def overlay_line(width: int) -> int:
    """Thickness in px of an outline on a picture that is shown at its own width."""
    return max(1, round(width / 400))


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
