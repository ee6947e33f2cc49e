"""DAVIS-2016 (Perazzi et al. 2016): 50 sequences of 3,455 frames, 20 of them for validation.

Every frame has a mask; a sequence where one lacks is of an archive that is not whole.
"""

from importlib.resources import files
from pathlib import Path, PurePosixPath

import numpy as np

from lrtl.datasets.archive import Archive
from lrtl.datasets.fetch import recorded_sha256
from lrtl.datasets.layout import write_sequence

NAME = "davis"
ARCHIVE = "DAVIS-data.zip"
_DATA = files("lrtl.datasets") / "data"
SEQUENCES = tuple((_DATA / "davis_all.txt").read_text().split())
SCORED = tuple((_DATA / "davis_val.txt").read_text().split())

FRAMES = "DAVIS/JPEGImages/480p"
MASKS = "DAVIS/Annotations/480p"


def archive_of(sequence: str) -> str:
    """The archive a sequence is in."""
    return f"resources/archives/{ARCHIVE}"


def counts(index: int, stem: str, last: int) -> dict[str, bool]:
    """Whether an annotated frame counts: to DAVIS all but the first and the last.

    To the released code, all but the frames numbered 0 and 1 and the last.
    """
    number = int(stem) if stem.isdigit() else index
    return {"benchmark": 0 < index < last, "released": number > 1 and index < last}


def prepare(sequence: str, archive: Path, out: Path) -> None:
    """Lay out one sequence of the official archive; frames are copied byte by byte.

    Raises:
        ValueError: the archive lacks the sequence or some of its masks, or a file in it is damaged.
    """
    source = Archive(archive)
    frames = source.frames(FRAMES, sequence, (".jpg",))
    masks = source.names(f"{MASKS}/{sequence}", (".png",))
    source.check_masks(sequence, len(frames), len(masks))
    write_sequence(
        out,
        NAME,
        sequence,
        ((PurePosixPath(name).stem, source.read(name)) for name in frames),
        ((PurePosixPath(name).stem, _foreground(source, name)) for name in masks),
        {"archive": ARCHIVE, "sha256": recorded_sha256(archive)},
    )


def _foreground(source: Archive, name: str) -> np.ndarray:
    """Ground truth (H, W) of {0, 1}: some of the official masks are grey, some RGB, some RGBA."""
    return source.image(name, "RGB").any(-1).astype(np.uint8)
