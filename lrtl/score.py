"""Masks -> one row of scores per annotated frame; here ground truth is read."""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pandas as pd

from lrtl.datasets import DATASETS
from lrtl.datasets.layout import Sequence, read_mask
from lrtl.files import checked, write_csv
from lrtl.metrics import boundary_measure, jaccard, oracle_jaccard

Refine = Callable[[np.ndarray, np.ndarray], np.ndarray]  # a frame and its mask to a better mask


def score(
    sequences: list[Path],
    masks: list[Path],
    components: list[Path] | None,
    out: Path | None = None,
    refine: Refine | None = None,
) -> pd.DataFrame:
    """Score masks in DAVIS's layout; arguments are folders in the same order of sequences.

    Columns, also those of the CSV file `out`: `sequence, frame, object`; `J` of the mask as
    predicted, `J_gt_choice` the better of the mask and its complement (the papers' matching), with
    `components` `J_oracle`, the best union of components or either of these two, since a merged
    mask, the sum of soft components, is not always such a union; `F`, the boundary measure of the
    mask; with `refine` `J_crf`, J of what it makes of the mask; all per frame, 0 to 1; `benchmark`
    and `released`, whether the frame counts under the dataset's own protocol (DAVIS's leaves out
    first and last) and under the released code's: see `counts` of its module.

    Raises:
        ValueError: a prediction is missing, of another size, not indexed or not binary, the file is
            named; or a sequence has no ground truth.
    """
    folders = zip(sequences, masks, components or [None] * len(masks), strict=True)
    rows = pd.DataFrame([row for paths in folders for row in score_sequence(*paths, refine)])
    rows = rows.round(6)
    if out:
        write_csv(rows, out)
    return rows


def check_sequences(names: Collection[str], known: Collection[str], folders: list[Path]) -> None:
    """Raise ValueError unless every folder has every sequence; it says what all of them have.

    Args:
        names: the sequences to be scored.
        known: those of the dataset that have ground truth.
        folders: of prepared sequences, of masks, of components.
    """
    if not names:
        raise ValueError("the dataset has no ground truth to score against; name another one")
    whole = [n for n in dict.fromkeys([*names, *known]) if all((f / n).is_dir() for f in folders)]
    remedy = f"score what is there with --names {','.join(whole)}"
    if not whole:
        remedy = f"none is in all of {', '.join(map(str, folders))}; each is a folder in them"
    for folder in folders:
        lacking = [name for name in names if not (folder / name).is_dir()]
        if lacking:
            count = f"{len(lacking)} of {len(names)} sequences"
            raise ValueError(f"{folder} lacks {count}, {', '.join(lacking)}; {remedy}")


def score_sequence(
    folder: Path, masks: Path, components: Path | None = None, refine: Refine | None = None
) -> list[dict]:
    """Rows of the annotated frames of one sequence; objects are merged to one foreground.

    Frames that count under no protocol, as the first and the last, may lack their mask.
    """
    sequence = Sequence.open(folder)
    if not sequence.annotated:
        raise ValueError(f"{folder} has no ground truth to score against; leave it out")
    for predicted in filter(None, (masks, components)):
        checked(predicted)
    size, last = (sequence.height, sequence.width), len(sequence.frames) - 1
    counts, rows = DATASETS[sequence.dataset].counts, []
    for index, stem in enumerate(sequence.frames):
        ids = sequence.mask(index)
        if ids is None:
            continue
        protocols = counts(index, stem, last)
        if not any(protocols.values()) and not (masks / f"{stem}.png").exists():
            continue
        mask, truth = _foreground(masks / f"{stem}.png", size), ids > 0
        value, complement = jaccard(mask, truth), jaccard(~mask, truth)
        row = {
            "sequence": sequence.name,
            "frame": stem,
            "object": 1,
            "J": value,
            "J_gt_choice": max(value, complement),
        }
        if components is not None:
            labels = _prediction(components / f"{stem}.png", size)
            row["J_oracle"] = max(value, complement, oracle_jaccard(labels, truth))
        row["F"] = boundary_measure(mask, truth)
        if refine is not None:
            row["J_crf"] = jaccard(refine(sequence.frame(index), mask), truth)
        rows.append(row | protocols)
    return rows


def _foreground(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A binary mask (H, W) bool; its foreground may be any value but 0."""
    mask = _prediction(path, size)
    values = np.unique(mask)
    if len(values) > 2 or (len(values) == 2 and values[0] > 0):
        found = ", ".join(map(str, values[:5]))
        raise ValueError(f"{path} has the values {found}, expected 0 and one other")
    return mask > 0


def _prediction(path: Path, size: tuple[int, int]) -> np.ndarray:
    if not path.exists():
        remedy = "write it, all 0 where nothing was found"
        raise ValueError(f"{path} is missing, its frame has ground truth; {remedy}")
    return read_mask(path, size)
