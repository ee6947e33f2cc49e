"""The common layout of a sequence: frames, indexed masks of annotated frames, `sequence.json`."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image, UnidentifiedImageError

import lrtl
from lrtl.files import whole_file, whole_folder


def _palette() -> list[int]:
    """The 256 colours of DAVIS and PASCAL VOC: the bits of an id dealt out to R, G and B."""
    colours = []
    for index in range(256):
        for channel in range(3):
            bits = range(8)
            colours.append(sum((index >> (3 * b + channel) & 1) << (7 - b) for b in bits))
    return colours


PALETTE = _palette()


@dataclass(frozen=True)
class Sequence:
    """A prepared sequence; frames are read when asked for."""

    folder: Path
    name: str
    frames: tuple[str, ...]  # stems of frames/*.jpg, in order
    annotated: tuple[str, ...]  # stems of masks/*.png
    height: int
    width: int

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a folder written by `prepare`.

        Raises:
            ValueError: it is not a whole sequence.
        """
        try:
            about = json.loads((folder / "sequence.json").read_text())
            return cls(
                Path(folder),
                about["sequence"],
                tuple(about["frames"]),
                tuple(about["annotated"]),
                about["height"],
                about["width"],
            )
        except (OSError, ValueError, KeyError) as error:
            remedy = "delete it and run `prepare` again"
            raise ValueError(f"{folder} is not a prepared sequence ({error}); {remedy}") from error

    def frame(self, index: int) -> np.ndarray:
        """Frame `index` as RGB (H, W, 3) uint8."""
        return read_image(self.folder / "frames" / f"{self.frames[index]}.jpg", self._size)

    def mask(self, index: int) -> np.ndarray | None:
        """Object ids (H, W) uint8 of frame `index`, 0 the background; None if not annotated."""
        if self.frames[index] not in self.annotated:
            return None
        return read_mask(self.folder / "masks" / f"{self.frames[index]}.png", self._size)

    @property
    def _size(self) -> tuple[int, int]:
        return self.height, self.width


def read_image(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an image as RGB (H, W, 3) uint8, checked against `size` = (H, W)."""
    return _read(path, "RGB", size)


def read_mask(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an indexed or grey PNG as ids (H, W) uint8, checked against `size` = (H, W)."""
    return _read(path, None, size)


def write_mask(path: Path, ids: np.ndarray) -> None:
    """Write ids (H, W) as an indexed PNG with DAVIS's palette."""
    image = Image.fromarray(np.ascontiguousarray(ids, np.uint8), "P")
    image.putpalette(PALETTE)
    with whole_file(path) as temporary:
        image.save(temporary, optimize=False, compress_level=6)


def write_sequence(
    out: Path,
    dataset: str,
    name: str,
    frames: Iterable[tuple[str, bytes]],
    masks: Iterable[tuple[str, np.ndarray]],
    source: dict,
) -> None:
    """Write a sequence in the common layout; the folder appears when it is whole.

    Args:
        out: the folder, `results/datasets/{dataset}/{sequence}`.
        dataset, name: names of the dataset and the sequence.
        frames: name and JPEG file of every frame, in order.
        masks: name and object ids (H, W) of the annotated frames.
        source: where it comes from, recorded in `sequence.json`.

    Raises:
        ValueError: fewer than two frames, a mask without its frame, or sizes that differ.
    """
    with whole_folder(out) as folder:
        stems, size = [], None
        (folder / "frames").mkdir()
        (folder / "masks").mkdir()
        for stem, data in frames:
            path = folder / "frames" / f"{stem}.jpg"
            path.write_bytes(data)
            size = read_image(path, size).shape[:2]
            stems.append(stem)
        if len(stems) < 2:
            raise ValueError(f"{dataset}/{name} has {len(stems)} frame; motion needs two or more")
        annotated = []
        for stem, ids in masks:
            if stem not in stems:
                raise ValueError(f"{dataset}/{name}: mask {stem} has no frame of that name")
            if ids.shape != size:
                raise ValueError(f"{dataset}/{name}: mask {stem} is {ids.shape}, its frame {size}")
            write_mask(folder / "masks" / f"{stem}.png", ids)
            annotated.append(stem)
        about = {
            "dataset": dataset,
            "sequence": name,
            "frames": stems,
            "annotated": annotated,
            "height": size[0],
            "width": size[1],
            "source": source,
            "version": lrtl.__version__,
        }
        (folder / "sequence.json").write_text(json.dumps(about, indent=1) + "\n")


def _read(path: Path, mode: str | None, size: tuple[int, int] | None) -> np.ndarray:
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert(mode) if mode else image)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise ValueError(
            f"{path} cannot be read as an image ({error}); prepare it again"
        ) from error
    if size is not None and pixels.shape[:2] != tuple(size):
        raise ValueError(f"{path} is {pixels.shape[:2]} px (H, W), expected {tuple(size)}")
    return pixels
