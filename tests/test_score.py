"""Scores of masks written by hand, and the errors for predictions that cannot be scored."""

import io
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lrtl.datasets.layout import write_mask, write_sequence
from lrtl.score import score, score_sequence

HEIGHT, WIDTH, LENGTH = 12, 16, 6
STEMS = [f"{t:05d}" for t in range(LENGTH)]
COLUMNS = ["sequence", "frame", "object", "J", "J_gt_choice", "J_oracle", "davis", "released"]


def truth(t):
    """Two objects side by side, 3 rows x 8 columns together, a row lower every frame."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[t : t + 3, 4:8], ids[t : t + 3, 8:12] = 1, 2
    return ids


def jpeg():
    file = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(file, "jpeg")
    return file.getvalue()


def write(folder, stems=STEMS, annotated=range(LENGTH)):
    masks = [(stems[t], truth(t)) for t in annotated]
    write_sequence(folder, "davis", folder.name, [(s, jpeg()) for s in stems], masks, {})


@pytest.fixture
def folders(tmp_path):
    """Predictions: the first object alone; components: both objects and what is around them."""
    folders = [tmp_path / "sequences" / "ball", tmp_path / "masks", tmp_path / "components"]
    write(folders[0])
    for t, stem in enumerate(STEMS):
        write_mask(folders[1] / f"{stem}.png", truth(t) == 1)
        write_mask(folders[2] / f"{stem}.png", truth(t))
    return folders


def test_one_row_per_frame(folders, tmp_path):
    out = tmp_path / "scores" / "seed0.csv"
    score(*([folder] for folder in folders), out)
    rows = pd.read_csv(out, dtype={"frame": str})
    assert rows.columns.tolist() == COLUMNS
    assert rows["frame"].tolist() == STEMS
    assert set(rows["sequence"]) == {"ball"} and set(rows["object"]) == {1}
    assert rows["davis"].tolist() == [False, True, True, True, True, False]
    assert rows["released"].tolist() == [False, False, True, True, True, False]
    assert sorted(os.listdir(out.parent)) == ["seed0.csv", "seed0.csv.sha256"]


def test_objects_are_one_foreground(folders):
    for row in score_sequence(*folders):
        assert row["J"] == row["J_gt_choice"] == 0.5
        assert row["J_oracle"] == 1


def test_ground_truth_may_choose_the_complement(folders):
    for t, stem in enumerate(STEMS):
        write_mask(folders[1] / f"{stem}.png", truth(t) == 0)
    rows = score_sequence(*folders)
    assert {row["J"] for row in rows} == {0}
    assert {row["J_gt_choice"] for row in rows} == {1}


def test_only_annotated_frames_count(folders, tmp_path):
    write(tmp_path / "few", annotated=[0, 3, 5])
    rows = score_sequence(tmp_path / "few", *folders[1:])
    assert [row["frame"] for row in rows] == ["00000", "00003", "00005"]
    assert [row["davis"] for row in rows] == [False, True, False]


def test_the_released_protocol_goes_by_the_number_in_the_name(folders, tmp_path):
    stems = [f"{t + 1:05d}" for t in range(LENGTH)]
    write(tmp_path / "later", stems)
    for kind in folders[1:]:
        for old, new in reversed(list(zip(STEMS, stems, strict=True))):
            (kind / f"{old}.png").rename(kind / f"{new}.png")
    rows = score_sequence(tmp_path / "later", *folders[1:])
    assert [row["released"] for row in rows] == [False, True, True, True, True, False]
    assert [row["davis"] for row in rows] == [False, True, True, True, True, False]


@pytest.mark.parametrize("kind", [1, 2])
def test_a_missing_prediction_is_named(folders, kind):
    (folders[kind] / "00003.png").unlink()
    with pytest.raises(ValueError, match=rf"{folders[kind].name}/00003.png is missing"):
        score_sequence(*folders)


@pytest.mark.parametrize("kind", [1, 2])
def test_a_prediction_of_another_size_is_named_with_both_sizes(folders, kind):
    write_mask(folders[kind] / "00002.png", np.zeros((HEIGHT, WIDTH - 1), np.uint8))
    with pytest.raises(ValueError, match=r"00002.png is \(12, 15\).* expected \(12, 16\)"):
        score_sequence(*folders)


def test_a_mask_that_is_not_binary_is_named(folders):
    write_mask(folders[1] / "00001.png", 255 * (truth(1) > 0))
    with pytest.raises(ValueError, match=r"00001.png has the value 255, expected 0 and 1"):
        score_sequence(*folders)


def test_a_mask_in_colour_is_named(folders):
    Image.new("RGB", (WIDTH, HEIGHT)).save(folders[1] / "00001.png")
    with pytest.raises(ValueError, match=r"00001.png has 3 channels, expected an indexed"):
        score_sequence(*folders)


def test_a_sequence_without_ground_truth_cannot_be_scored(folders, tmp_path):
    write(tmp_path / "none", annotated=[])
    with pytest.raises(ValueError, match="none has no ground truth"):
        score_sequence(tmp_path / "none", *folders[1:])


def test_nothing_is_written_when_a_sequence_fails(folders, tmp_path):
    (folders[1] / "00003.png").unlink()
    with pytest.raises(ValueError):
        score(*([folder] for folder in folders), tmp_path / "scores" / "seed0.csv")
    assert not (tmp_path / "scores").exists()
