"""Scores of known masks, and the errors of missing and malformed ones."""

import numpy as np
import pandas as pd
import pytest

from lrtl.datasets.layout import Sequence, write_mask
from lrtl.score import score


@pytest.fixture
def run(comet, tmp_path):
    """Folders with the truth as mask; components: the object's left and right half, background."""
    masks, components = tmp_path / "masks", tmp_path / "components"
    for index, stem in enumerate(comet.frames):
        truth = comet.mask(index)
        half = np.arange(comet.width) < np.nonzero(truth)[1].mean()
        write_mask(masks / f"{stem}.png", truth)
        write_mask(components / f"{stem}.png", np.where(truth, np.where(half, 1, 2), 0))
    return comet, masks, components, tmp_path / "scores.csv"


def read(comet: Sequence, masks, components, out) -> pd.DataFrame:
    score([comet.folder], [masks], [components], out)
    return pd.read_csv(out, dtype={"frame": str})


def test_the_truth_scores_one_and_protocols_leave_frames_out(run):
    rows = read(*run)
    assert len(rows) == 48
    assert (rows[["J", "J_gt_choice", "J_oracle"]] == 1).all(axis=None)
    assert rows.loc[~rows["davis"], "frame"].tolist() == ["00000", "00047"]
    assert rows.loc[~rows["released"], "frame"].tolist() == ["00000", "00001", "00047"]


def test_the_complement_scores_by_ground_truth_choice_alone(run):
    comet, masks, _, _ = run
    for index, stem in enumerate(comet.frames):
        write_mask(masks / f"{stem}.png", 1 - comet.mask(index))
    rows = read(*run)
    assert rows["J"].max() == 0
    assert rows["J_gt_choice"].min() == 1


def test_a_missing_mask_is_named(run):
    (run[1] / "00030.png").unlink()
    with pytest.raises(ValueError, match=r"00030\.png is missing"):
        read(*run)


def test_a_mask_of_another_size_or_more_values_is_named(run):
    write_mask(run[1] / "00030.png", np.zeros((10, 10)))
    with pytest.raises(ValueError, match=r"00030\.png is \(10, 10\) px .*expected \(180, 320\)"):
        read(*run)
    write_mask(run[1] / "00030.png", np.full((180, 320), 2))
    with pytest.raises(ValueError, match="has the value 2, expected 0 and 1"):
        read(*run)
