"""Scores of masks written by hand, and the errors for predictions that cannot be scored."""

import importlib.util
import io
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lrtl.crf import REFINERS, dense_crf
from lrtl.datasets.layout import write_mask, write_sequence
from lrtl.metrics import jaccard
from lrtl.score import check_sequences, score, score_sequence

HEIGHT, WIDTH, LENGTH = 12, 16, 6
STEMS = [f"{t:05d}" for t in range(LENGTH)]
COLUMNS = [
    "sequence",
    "frame",
    "object",
    "J",
    "J_gt_choice",
    "J_oracle",
    "F",
    "benchmark",
    "released",
]


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
    assert rows["benchmark"].tolist() == [False, True, True, True, True, False]
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
    assert [row["benchmark"] for row in rows] == [False, True, False]


def test_the_released_protocol_goes_by_the_number_in_the_name(folders, tmp_path):
    stems = [f"{t + 1:05d}" for t in range(LENGTH)]
    write(tmp_path / "later", stems)
    for kind in folders[1:]:
        for old, new in reversed(list(zip(STEMS, stems, strict=True))):
            (kind / f"{old}.png").rename(kind / f"{new}.png")
    rows = score_sequence(tmp_path / "later", *folders[1:])
    assert [row["released"] for row in rows] == [False, True, True, True, True, False]
    assert [row["benchmark"] for row in rows] == [False, True, True, True, True, False]


@pytest.mark.parametrize("kind", [1, 2])
def test_a_missing_prediction_is_named(folders, kind):
    (folders[kind] / "00003.png").unlink()
    message = rf"{folders[kind].name}/00003.png is missing.*write it, all 0 where nothing was"
    with pytest.raises(ValueError, match=message):
        score_sequence(*folders)


@pytest.mark.parametrize("kind", [1, 2])
def test_a_prediction_of_another_size_is_named_with_both_sizes(folders, kind):
    write_mask(folders[kind] / "00002.png", np.zeros((HEIGHT, WIDTH - 1), np.uint8))
    with pytest.raises(ValueError, match=r"00002.png is \(12, 15\).* expected \(12, 16\)"):
        score_sequence(*folders)


def test_a_mask_that_is_not_binary_is_named(folders):
    write_mask(folders[1] / "00001.png", truth(1))
    with pytest.raises(ValueError, match=r"00001.png has the values 0, 1, 2, expected 0 and one"):
        score_sequence(*folders)


def test_a_mask_may_be_grey_and_its_foreground_any_value(folders):
    expected = score_sequence(*folders)
    for t, stem in enumerate(STEMS):
        grey = np.where(truth(t) == 1, 255, 0).astype(np.uint8)
        Image.fromarray(grey, "L").save(folders[1] / f"{stem}.png")
    assert score_sequence(*folders) == expected


def test_frames_that_do_not_count_may_lack_their_mask(folders):
    for stem in (STEMS[0], STEMS[-1]):
        (folders[1] / f"{stem}.png").unlink()
    assert [row["frame"] for row in score_sequence(*folders)] == STEMS[1:-1]


def test_without_components_there_is_no_oracle(folders):
    rows = score_sequence(*folders[:2])
    assert all("J_oracle" not in row for row in rows)
    assert [row["J"] for row in rows] == [row["J"] for row in score_sequence(*folders)]


def test_a_refined_mask_is_scored_beside_the_mask(folders):
    row = score_sequence(*folders, lambda frame, mask: mask | True)[1]
    assert row["J"] == 0.5 and row["J_crf"] == 24 / (HEIGHT * WIDTH)


def test_the_crf_says_what_it_needs(folders):
    if importlib.util.find_spec("pydensecrf"):
        pytest.skip("pydensecrf2 is installed")
    with pytest.raises(ValueError, match=r"needs pydensecrf2 .*pip install 'lrtl\[crf\]'"):
        score_sequence(*folders, REFINERS["gwm"])


def test_the_crf_moves_a_mask_to_the_edge_of_its_object():
    pytest.importorskip("pydensecrf", reason="pydensecrf2 is not installed")
    ball = np.zeros((60, 90), bool)
    ball[15:45, 30:60] = True
    noise = np.random.default_rng(0).normal(0, 3, (60, 90, 3))
    frame = (np.where(ball[..., None], 200, 80) + noise).astype(np.uint8)
    rough = np.roll(ball, 4, 1)
    assert jaccard(rough, ball) < 0.8 and jaccard(dense_crf(frame, rough), ball) > 0.98


@pytest.fixture
def lrtl_score(folders, tmp_path):
    """`lrtl score` of a folder of masks with `ball`, against prepared `ball` and `cone`."""
    masks, data = tmp_path / "theirs", folders[0].parent
    masks.mkdir()
    folders[1].rename(masks / "ball")
    write(data / "cone")

    def run(*arguments, data=data, masks=masks):
        command = [sys.executable, "-m", "lrtl", "score", masks, "--dataset", "davis"]
        command = [*command, "--data", data, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True)

    return run


def test_a_folder_of_masks_is_scored_from_the_command_line(lrtl_score, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    run = lrtl_score("--names", "ball")
    assert run.returncode == 0, run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    assert lines[0] == ["mean", "recall", "decay", "of", "all", "frames"]
    assert lines[1:3] == [["J", "50.00", "0.00", "0.00", "50.00"], ["J_gt_choice"] + ["50.00"] * 2]
    assert lines[3][0] == "F" and len(lines[3]) == 5
    assert " ".join(lines[4]) == "means over 1 sequences, 4 frames that count"
    assert sorted(tmp_path.rglob("*")) == before  # nothing is written
    with_file = lrtl_score("--names", "ball", "--out", tmp_path / "scores.csv")
    assert with_file.stdout == run.stdout
    assert pd.read_csv(tmp_path / "scores.csv")["J"].tolist() == [0.5] * LENGTH


def test_sequences_that_are_not_there_are_named_with_those_that_are(lrtl_score, tmp_path):
    run = lrtl_score("--names", "ball,cone")
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1
    expected = "theirs lacks 1 of 2 sequences, cone; score what is there with --names ball\n"
    assert run.stderr.endswith(expected)
    run = lrtl_score("--names", "cone", masks=tmp_path / "nowhere")
    assert "nowhere lacks 1 of 1 sequences, cone; none is in all of" in run.stderr
    run = lrtl_score(data=tmp_path / "nowhere")
    assert "there is no folder" in run.stderr and "snakemake" in run.stderr


def test_by_default_all_sequences_with_ground_truth_are_looked_for(tmp_path):
    data, masks = tmp_path / "data", tmp_path / "masks"
    for folder in (data / "dog", data / "goat", masks / "dog"):
        folder.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"data lacks 1 of 3 sequences, cows; .* --names dog$"):
        check_sequences(["dog", "goat", "cows"], ["dog", "goat", "cows"], [data, masks])
    with pytest.raises(ValueError, match=r"masks lacks 1 of 1 sequences, goat; .* --names dog$"):
        check_sequences(["goat"], ["dog", "goat", "cows"], [data, masks])
    check_sequences(["dog"], ["dog", "goat", "cows"], [data, masks])
    with pytest.raises(ValueError, match="no ground truth"):
        check_sequences([], [], [data, masks])


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
