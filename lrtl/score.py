"""Masks -> one row of scores per annotated frame; here ground truth is read."""

from pathlib import Path

import numpy as np
import pandas as pd

from lrtl.datasets import DATASETS
from lrtl.datasets.layout import Sequence, read_mask
from lrtl.files import write_csv
from lrtl.metrics import jaccard, oracle_jaccard


def score(sequences: list[Path], masks: list[Path], components: list[Path], out: Path) -> None:
    """Score the masks of one run; arguments are folders in the same order of sequences.

    Columns of `out`: `sequence, frame, object`; `J` of the mask as predicted, `J_gt_choice` the
    better of the mask and its complement (the papers' matching), `J_oracle` the best union of
    components or either of these two, since a merged mask, the sum of soft components, is not
    always such a union; all per frame, 0 to 1; `davis` and `released`, whether the frame counts
    under the dataset's own protocol (DAVIS's leaves out first and last) and under the released
    code's: see `counts` of its module.

    Raises:
        ValueError: a prediction is missing, of another size, not indexed or not binary, the file is
            named; or a sequence has no ground truth.
    """
    folders = zip(sequences, masks, components, strict=True)
    rows = [row for paths in folders for row in score_sequence(*paths)]
    write_csv(pd.DataFrame(rows), out)


def score_sequence(folder: Path, masks: Path, components: Path) -> list[dict]:
    """Rows of the annotated frames of one sequence; objects are merged to one foreground."""
    sequence = Sequence.open(folder)
    if not sequence.annotated:
        raise ValueError(f"{folder} has no ground truth to score against; leave it out")
    size, last = (sequence.height, sequence.width), len(sequence.frames) - 1
    counts, rows = DATASETS[sequence.dataset].counts, []
    for index, stem in enumerate(sequence.frames):
        ids = sequence.mask(index)
        if ids is None:
            continue
        truth = ids > 0
        mask = _prediction(masks / f"{stem}.png", size)
        if mask.max() > 1:
            raise ValueError(f"{masks / stem}.png has the value {mask.max()}, expected 0 and 1")
        labels = _prediction(components / f"{stem}.png", size)
        value, complement = jaccard(mask > 0, truth), jaccard(mask == 0, truth)
        rows.append(
            {
                "sequence": sequence.name,
                "frame": stem,
                "object": 1,
                "J": round(value, 6),
                "J_gt_choice": round(max(value, complement), 6),
                "J_oracle": round(max(value, complement, oracle_jaccard(labels, truth)), 6),
                **counts(index, stem, last),
            }
        )
    return rows


def _prediction(path: Path, size: tuple[int, int]) -> np.ndarray:
    if not path.exists():
        raise ValueError(f"{path} is missing, its frame has ground truth; segment it again")
    return read_mask(path, size)
