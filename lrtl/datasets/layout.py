"""The common layout of a sequence: frames, indexed masks of annotated frames, `sequence.json`."""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

import lrtl
from lrtl.files import check_folder, whole_file, whole_folder


def _palette() -> list[int]:
    """The 256 colours of DAVIS and PASCAL VOC: the bits of an id dealt out to R, G and B."""
    colours = []
    for index in range(256):
        for channel in range(3):
            bits = range(8)
            colours.append(sum((index >> (3 * b + channel) & 1) << (7 - b) for b in bits))
    return colours


PALETTE = _palette()
JPEG_QUALITY = 95
UNREADABLE = (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Sequence:
    """A prepared sequence; frames are read when asked for."""

    folder: Path
    dataset: str
    name: str
    frames: tuple[str, ...]  # stems of frames/*.jpg, in order
    annotated: tuple[str, ...]  # stems of masks/*.png
    height: int
    width: int
    rate: float | None  # frames per second, None if nothing says

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a folder written by `prepare`.

        Raises:
            ValueError: it is not a whole sequence of two frames or more, or a file is damaged.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / "sequence.json").read_text())
            sequence = cls(
                folder,
                about["dataset"],
                about["sequence"],
                tuple(about["frames"]),
                tuple(about["annotated"]),
                about["height"],
                about["width"],
                about.get("rate"),
            )
            sequence._check()
            check_folder(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "delete it and run `prepare` again"
            raise ValueError(f"{folder} is not a prepared sequence ({error}); {remedy}") from error
        return sequence

    def frame(self, index: int) -> np.ndarray:
        """Frame `index` as RGB (H, W, 3) uint8."""
        return read_image(self.folder / "frames" / f"{self.frames[index]}.jpg", self._size)

    def mask(self, index: int) -> np.ndarray | None:
        """Object ids (H, W) uint8 of frame `index`, 0 the background; None if not annotated."""
        if self.frames[index] not in self.annotated:
            return None
        return read_mask(self.folder / "masks" / f"{self.frames[index]}.png", self._size)

    def _check(self) -> None:
        """Raise ValueError if a frame or a mask is missing."""
        if len(self.frames) < 2:
            raise ValueError(f"it has {len(self.frames)} frame, motion needs two or more")
        alone = sorted(set(self.annotated) - set(self.frames))
        if alone:
            raise ValueError(f"mask {alone[0]} has no frame of that name")
        files = [f"frames/{stem}.jpg" for stem in self.frames]
        files += [f"masks/{stem}.png" for stem in self.annotated]
        missing = [name for name in files if not (self.folder / name).is_file()]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(files)} files are missing, first {missing[0]}"
            )

    @property
    def _size(self) -> tuple[int, int]:
        return self.height, self.width


def read_image(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an image as RGB (H, W, 3) uint8, checked against `size` = (H, W)."""
    return _pixels(path, "RGB", size, str(path), "prepare it again")


def read_mask(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an indexed or grey PNG as ids (H, W) uint8, checked against `size` = (H, W)."""
    return _pixels(path, None, size, str(path), "write it again")


def write_mask(path: Path, ids: np.ndarray) -> None:
    """Write ids (H, W) as an indexed PNG with DAVIS's palette."""
    image = Image.fromarray(np.ascontiguousarray(ids, np.uint8), "P")
    image.putpalette(PALETTE)
    with whole_file(path, record=False) as temporary:
        image.save(temporary, optimize=False, compress_level=6)


def encode_jpeg(frame: np.ndarray) -> bytes:
    """A frame, RGB (H, W, 3) uint8, as a JPEG file of quality 95."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"a frame of {frame.shape} cannot be encoded as JPEG")
    return data.tobytes()


def write_sequence(
    out: Path,
    dataset: str,
    name: str,
    frames: Iterable[tuple[str, bytes]],
    masks: Iterable[tuple[str, np.ndarray]],
    source: dict,
    rate: float | None = None,
) -> None:
    """Write a sequence in the common layout; the folder appears when it is whole.

    Args:
        out: the folder, `results/datasets/{dataset}/{sequence}`.
        dataset, name: names of the dataset and the sequence.
        frames: name and JPEG file of every frame, in order.
        masks: name and object ids (H, W) of the annotated frames.
        source: where it comes from, recorded in `sequence.json`.
        rate: frames per second, if it is known.

    Raises:
        ValueError: fewer than two frames, an unreadable frame, a mask without its frame, or sizes
            that differ.
    """
    with whole_folder(out) as folder:
        label = f"{dataset}/{name}"
        stems, size = _write_frames(folder / "frames", label, frames)
        annotated = _write_masks(folder / "masks", label, masks, stems, size)
        about = {
            "dataset": dataset,
            "sequence": name,
            "frames": stems,
            "annotated": annotated,
            "height": size[0],
            "width": size[1],
            "rate": rate,
            "source": source,
            "version": lrtl.__version__,
        }
        (folder / "sequence.json").write_text(json.dumps(about, indent=1) + "\n")


def _write_frames(folder: Path, label: str, frames) -> tuple[list[str], tuple[int, int]]:
    """Write the frames as they are, checked; their names and their size (H, W)."""
    folder.mkdir()
    stems, size = [], None
    for stem, data in frames:
        what, remedy = f"{label}: frame {stem}", "get its source again"
        size = _pixels(io.BytesIO(data), "RGB", size, what, remedy).shape[:2]
        (folder / f"{stem}.jpg").write_bytes(data)
        stems.append(stem)
    if len(stems) < 2:
        raise ValueError(f"{label} has {len(stems)} frame; motion needs two or more")
    return stems, size


def _write_masks(folder: Path, label: str, masks, stems: list[str], size) -> list[str]:
    """Write the masks, checked against the frames; their names."""
    folder.mkdir()
    annotated = []
    for stem, ids in masks:
        if stem not in stems:
            raise ValueError(f"{label}: mask {stem} has no frame of that name")
        if ids.shape != size:
            raise ValueError(f"{label}: mask {stem} is {ids.shape}, its frame {size}")
        write_mask(folder / f"{stem}.png", ids)
        annotated.append(stem)
    return annotated


def _pixels(file, mode: str | None, size, what: str, remedy: str) -> np.ndarray:
    """Decode an image file to `mode`, or to ids where it is None; errors speak of `what`."""
    try:
        with Image.open(file) as image:
            if mode is None and image.mode not in ("P", "L", "1"):
                raise ValueError(
                    f"{what} has {len(image.getbands())} channels, expected an indexed or grey PNG "
                    f"of 8 bits, not mode {image.mode}"
                )
            pixels = np.array(image.convert(mode) if mode else image, np.uint8)
    except UNREADABLE as error:
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(f"{what} cannot be read as an image ({reason}); {remedy}") from error
    if size is not None and pixels.shape[:2] != tuple(size):
        raise ValueError(f"{what} is {pixels.shape[:2]} px (H, W), expected {tuple(size)}")
    return pixels
