"""SegTrackv2 (Li et al. 2013): 14 sequences, every one scored, of one to six objects.

Frames are PNG or BMP and become JPEG in the common layout; whatever else lies in the archive, as
`JPEGImages/CSI_NY.jpg`, is not read. Papers count 947, 976 or 1,066 frames: `worm` and
`bird_of_paradise` have 154 and 97 in the lists of 976, 243 and 98 in those of 1,066; there is none
of 947. Since papers disagree no count of frames is demanded: all of the archive are taken, and
their number is printed beside the published ones. Every object has a mask in every frame; an
archive where masks lack is refused, unless they are as many as a list has: the shorter lists may
count masks. Which of the six penguins the papers' ground truth had is not known; here it has them
all.
"""

import csv
from importlib.resources import files
from pathlib import Path, PurePosixPath

import numpy as np

from lrtl.datasets.archive import Archive, by_number
from lrtl.datasets.fetch import recorded_sha256
from lrtl.datasets.layout import encode_jpeg, write_sequence

NAME = "segtrackv2"
ARCHIVE = "SegTrackv2.zip"
_LINES = (files("lrtl.datasets") / "data" / "segtrackv2.csv").read_text().splitlines()
# The frames of each sequence in the published lists of 976 and of 1,066.
PUBLISHED = {r["sequence"]: {int(r["of_976"]), int(r["of_1066"])} for r in csv.DictReader(_LINES)}
SEQUENCES = SCORED = tuple(PUBLISHED)

FRAMES = "SegTrackv2/JPEGImages"
MASKS = "SegTrackv2/GroundTruth"
IMAGES = (".png", ".bmp")


def archive_of(sequence: str) -> str:
    """The archive a sequence is in."""
    return f"resources/archives/{ARCHIVE}"


def counts(index: int, stem: str, last: int) -> dict[str, bool]:
    """Whether an annotated frame counts: all do; to the released code all with flow to the next."""
    return {"benchmark": True, "released": index < last}


def prepare(sequence: str, archive: Path, out: Path) -> None:
    """Lay out one sequence of the official archive.

    Raises:
        ValueError: the archive lacks the sequence or some of its masks, or a file in it is damaged.
    """
    if sequence not in SEQUENCES:
        known = ", ".join(SEQUENCES)
        raise ValueError(f"unknown SegTrackv2 sequence {sequence!r}; there are {known}")
    source = Archive(archive)
    frames = by_number(source.frames(FRAMES, sequence, IMAGES))
    objects = _objects(source, sequence)
    for number, masks in enumerate(objects, 1):
        if len(masks) not in PUBLISHED[sequence]:
            source.check_masks(f"{sequence}, object {number}", len(frames), len(masks))
    annotated = sorted(set().union(*objects))
    found = f"{sequence} has {len(frames)} frames, {len(annotated)} of them annotated"
    print(f"{found}; {_counts(source, sequence)}")
    stems = {number: PurePosixPath(name).stem for number, name in frames.items()}
    write_sequence(
        out,
        NAME,
        sequence,
        ((stems[n], encode_jpeg(source.image(name, "RGB"))) for n, name in frames.items()),
        ((stems.get(n, str(n)), _ids(source, objects, n)) for n in annotated),
        {"archive": ARCHIVE, "sha256": recorded_sha256(archive)},
    )


def _counts(source: Archive, sequence: str) -> str:
    """The published counts of frames, and how many the archive has."""
    listed = " or ".join(map(str, sorted(PUBLISHED[sequence])))
    total = sum(len(source.names(f"{FRAMES}/{name}", IMAGES)) for name in SEQUENCES)
    return (
        f"published lists have {listed}; {source.path} has {total} frames of all sequences, papers "
        "count 947, 976 or 1,066"
    )


def _objects(source: Archive, sequence: str) -> list[dict[int, str]]:
    """Masks of each object by frame number: folders 1, 2, ... or, of a single object, none."""
    folder = f"{MASKS}/{sequence}"
    numbers = sorted(int(name) for name in source.folders(folder) if name.isdigit())
    folders = [f"{folder}/{number}" for number in numbers] or [folder]
    return [by_number(source.names(name, IMAGES)) for name in folders]


def _ids(source: Archive, objects: list[dict[int, str]], number: int) -> np.ndarray:
    """Ids (H, W) of a frame: k where the k-th object is, the last of those that overlap.

    Masks are of 0 and 255 with grey edges, or of 0 and 1; the released code takes as foreground
    what is above 128, or above 0.
    """
    masks = {k: source.image(m[number], "L") for k, m in enumerate(objects, 1) if number in m}
    if len({mask.shape for mask in masks.values()}) > 1:
        sizes = ", ".join(str(mask.shape) for mask in masks.values())
        raise ValueError(f"{source.path}: objects' masks of frame {number} have sizes {sizes}")
    ids = np.zeros_like(next(iter(masks.values())))
    for k, mask in masks.items():
        ids[mask > (128 if mask.max() > 1 else 0)] = k
    return ids
