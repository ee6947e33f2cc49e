"""DAVIS-2016 (Perazzi et al. 2016): 50 sequences of 3,455 frames, 20 of them for validation."""

import io
from importlib.resources import files
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from lrtl.datasets.archive import Archive
from lrtl.datasets.fetch import recorded
from lrtl.datasets.layout import UNREADABLE, write_sequence

NAME = "davis"
ARCHIVE = "DAVIS-data.zip"
_DATA = files("lrtl.datasets") / "data"
SEQUENCES = tuple((_DATA / "davis_all.txt").read_text().split())
SCORED = tuple((_DATA / "davis_val.txt").read_text().split())

FRAMES = "DAVIS/JPEGImages/480p"
MASKS = "DAVIS/Annotations/480p"


def prepare(sequence: str, archive: Path, out: Path) -> None:
    """Lay out one sequence of the official archive; frames are copied byte by byte.

    Raises:
        ValueError: the archive lacks the sequence, or a file in it is damaged.
    """
    source = Archive(archive)
    frames = source.names(f"{FRAMES}/{sequence}", (".jpg",))
    if not frames:
        there = {PurePosixPath(n).parent.name for n in source.members if n.startswith(FRAMES)}
        known = ", ".join(sorted(there)) or "no sequence"
        raise ValueError(
            f"{archive} has no sequence {sequence!r}, it has {known}; restrict the run with "
            "--config sequences=NAME,NAME or use the whole archive"
        )
    masks = source.names(f"{MASKS}/{sequence}", (".png",))
    write_sequence(
        out,
        NAME,
        sequence,
        ((PurePosixPath(name).stem, source.read(name)) for name in frames),
        ((PurePosixPath(name).stem, _foreground(source, name)) for name in masks),
        {"archive": ARCHIVE, "sha256": recorded(archive).get("sha256")},
    )


def _foreground(source: Archive, name: str) -> np.ndarray:
    """Ground truth (H, W) of {0, 1}: some of the official masks are grey, some RGB, some RGBA."""
    try:
        with Image.open(io.BytesIO(source.read(name))) as image:
            pixels = np.array(image.convert("RGB"))
    except UNREADABLE as error:
        raise ValueError(f"{source.path}: {name} is not a readable image ({error})") from error
    return pixels.any(-1).astype(np.uint8)
