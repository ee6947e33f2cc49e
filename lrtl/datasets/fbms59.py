"""FBMS-59 (Ochs et al. 2014): 59 sequences of 13,860 frames, 720 of them annotated.

All are trained on; the 30 of the test set, with 367 annotated frames, are scored. Ground truth is
of two kinds. Colour, `{frame}_gt.ppm`: the background is white; a pgm of the same name has lost
objects, and a ppm with PROB in its name is no ground truth. Grey, `{frame}.pgm`: the background is
dark, in some sequences darker than in others. The definition file `*Def.dat` lists the annotated
frames once more and is not read. Frames go by the number in their name, which need not begin at 1:
`tennis` has 454 to 919.
"""

import csv
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from lrtl.datasets.archive import Archive, by_number
from lrtl.datasets.fetch import recorded_sha256
from lrtl.datasets.layout import write_sequence

NAME = "fbms59"
_LINES = (files("lrtl.datasets") / "data" / "fbms59.csv").read_text().splitlines()
PUBLISHED = {row["sequence"]: row for row in csv.DictReader(_LINES)}
SEQUENCES = tuple(PUBLISHED)
SCORED = tuple(name for name, row in PUBLISHED.items() if row["set"] == "Testset")

# Grey levels, 0 to 1, as the papers' data preparation (charigyang/motiongrouping) has them.
WHITE = 0.99  # background of colour masks lies above
DARK = 0.1  # background of all masks lies at or below
DARK_OF = {"marple2": 0.4, "marple7": 0.05}


def archive_of(sequence: str) -> str:
    """The archive a sequence is in, that of the training or of the test set."""
    return f"resources/archives/FBMS_{_published(sequence)['set']}.zip"


def counts(index: int, stem: str, last: int) -> dict[str, bool]:
    """Whether an annotated frame counts: all do; to the released code all with flow to the next."""
    return {"benchmark": True, "released": index < last}


def prepare(sequence: str, archive: Path, out: Path) -> None:
    """Lay out one sequence of its official archive; frames are copied byte by byte.

    Raises:
        ValueError: the archive lacks the sequence, has other numbers of its frames and masks than
            are published, or a file in it is damaged.
    """
    source, published = Archive(archive), _published(sequence)
    frames = by_number(source.frames(published["set"], sequence, (".jpg",)))
    masks = _masks(source, f"{published['set']}/{sequence}/GroundTruth")
    found = f"{len(frames)} frames and {len(masks)} masks"
    expected = f"{published['frames']} frames and {published['annotated']} masks"
    if found != expected:
        raise ValueError(
            f"{archive} has {found} of {sequence}, published are {expected}; use the whole "
            "official archive"
        )
    stems = {number: PurePosixPath(name).stem for number, name in frames.items()}
    dark = DARK_OF.get(sequence, DARK)
    colours = {stems.get(n, str(n)): _colours(source, name, dark) for n, name in masks.items()}
    write_sequence(
        out,
        NAME,
        sequence,
        ((stems[n], source.read(name)) for n, name in frames.items()),
        _object_ids(f"{NAME}/{sequence}", colours),
        {"archive": Path(archive_of(sequence)).name, "sha256": recorded_sha256(archive)},
    )


def _published(sequence: str) -> dict[str, str]:
    """What is published of a sequence: its set and the numbers of its frames and masks."""
    if sequence not in PUBLISHED:
        known = ", ".join(SEQUENCES)
        raise ValueError(f"unknown FBMS-59 sequence {sequence!r}; there are {known}")
    return PUBLISHED[sequence]


def _masks(source: Archive, folder: str) -> dict[int, str]:
    """Ground truth by frame number: the colour masks, or the grey ones where none is in colour."""
    colour = [n for n in source.names(folder, (".ppm",)) if "PROB" not in PurePosixPath(n).name]
    return by_number(colour or source.names(folder, (".pgm",)))


def _colours(source: Archive, name: str, dark: float) -> np.ndarray:
    """Colours (H, W) int32 of a mask's objects, 0xRRGGBB; 0 is background."""
    rgb = source.image(name, "RGB")
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) / 255
    white = WHITE if PurePosixPath(name).suffix.lower() == ".ppm" else 1
    colours = rgb.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)  # (H, W)
    return np.where((grey > dark) & (grey <= white), colours, 0)


def _object_ids(label: str, masks: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Number the colours of a sequence, one id per colour in all its masks."""
    colours = np.unique([0, *(colour for mask in masks.values() for colour in np.unique(mask))])
    if len(colours) > 256:
        raise ValueError(f"{label}: its masks have {len(colours) - 1} colours, expected objects")
    for stem, mask in masks.items():
        yield stem, np.searchsorted(colours, mask).astype(np.uint8)
