"""`lrtl show` of every kind of product, wherever it lies, and what it refuses."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lrtl.datasets.layout import encode_jpeg, write_mask, write_sequence
from lrtl.figures.segments import COMPONENTS
from lrtl.files import whole_folder, write_csv
from lrtl.show import CHARTS, SHOWN, show
from tests.figures.test_motion import CELL, LENGTH, SIZE, cell, flow_store, track_store

STEMS = [f"{t:05d}" for t in range(LENGTH)]
TABLES = {
    "scores/test/lrtl/seed0.csv": {"sequence": "grass", "frame": "00000", "J": 0.5},
    "runs/test/lrtl/seed0/metrics.csv": {"step": 0, "loss": 1.0, "rate": 1.0, "gradient_norm": 1.0},
    "test_sequences.csv": {
        **{"experiment": "lrtl", "sequence": "grass", "network": "unet", "source": "measured"},
        **{"J": 50.0, "J_std": None, "J_gt_choice": 50.0, "J_oracle": 60.0},
    },
    "test_table.csv": {
        **{"experiment": "lrtl", "network": "unet", "source": "measured"},
        **{"J": 50.0, "J_std": 1.0, "J_gt_choice": 50.0, "J_oracle": 60.0},
    },
    "tables/lrtl_table9.csv": {
        **{"row": "UNet", "dataset": "davis"},
        **{"J": 50.0, "J_std": None, "J_as_paper": 50.0, "J_paper": 80.6},
    },
    "movi_table.csv": {
        **{"method": "lrtl", "source": "measured"},
        **{"ARI": 50.0, "ARI_std": 1.0, "FG_ARI": 50.0, "FG_ARI_std": 1.0},
    },
    "landscape/test/grass.csv": {
        **{"sequence": "grass", "frame": "00000", "tracks": 9},
        **{"true": 0.9, "halves": 1.0, "shifted": 1.0, "random": 1.2},
    },
    "tables/lrtl_speed.csv": {
        **{"experiment": "unet", "network": "unet", "fps": 5.0, "fps_paper": 6.4}
    },
}
FOLDERS = [
    "datasets/test/grass",
    "flow/test/grass/exact.zarr",
    "tracks/test/grass/exact.zarr",
    "masks/test/lrtl/seed0/grass",
    "components/test/lrtl/seed0/grass",
    "runs/test/lrtl/seed0",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of results with a product of every kind."""
    results = tmp_path_factory.mktemp("made") / "results"
    jpeg = encode_jpeg(np.full((*SIZE, 3), (60, 120, 60), np.uint8))
    truth = [(STEMS[0], left_half(1))]
    write_sequence(results / FOLDERS[0], "test", "grass", [(s, jpeg) for s in STEMS], truth, {})
    flow_store(results / FOLDERS[1])
    track_store(results / FOLDERS[2])
    for folder, ids in ((FOLDERS[3], left_half(1)), (FOLDERS[4], left_half(2) + 1)):
        with whole_folder(results / folder) as new:
            for stem in STEMS:
                write_mask(new / f"{stem}.png", ids)
    for name, row in TABLES.items():
        write_csv(pd.DataFrame([row]), results / name)
    return results


@pytest.fixture
def results(made, tmp_path, monkeypatch):
    """A copy of it, and another folder to work in."""
    shutil.copytree(made, tmp_path / "results")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "results"


def left_half(value):
    ids = np.zeros(SIZE, np.uint8)
    ids[:, : SIZE[1] // 2] = value
    return ids


def read(path):
    return np.array(Image.open(path))


@pytest.mark.parametrize("name", [*FOLDERS, *TABLES])
def test_every_product_has_a_picture_wherever_it_lies(results, tmp_path, name):
    moved = tmp_path / ("thing.csv" if name.endswith(".csv") else "thing")
    (results / name).rename(moved)
    assert str(show(moved)) == "thing.png"
    assert read("thing.png").std() > 5
    assert sorted(os.listdir()) == ["thing.png", "thing.png.sha256"]


def test_every_chart_is_tried():
    rows = [set(row) for row in TABLES.values()]
    found = {next(chart for columns, chart in CHARTS if columns <= row) for row in rows}
    assert found == {chart for _, chart in CHARTS}


def test_frames_are_found_beside_a_product_or_named(results, tmp_path):
    """The same masks in the folder of results, with its sequence named, and alone."""
    masks = results / FOLDERS[3]
    show(masks, tmp_path / "beside.png")
    masks.rename(tmp_path / "masks")
    show(tmp_path / "masks", tmp_path / "named.png", results / FOLDERS[0])
    show(tmp_path / "masks", tmp_path / "alone.png")
    beside, named, alone = (
        cell(read(tmp_path / f"{name}.png"), 0, 0) for name in ("beside", "named", "alone")
    )
    assert (beside == named).all()
    assert np.abs(beside[60, 250] - [60, 120, 60]).max() < 5
    assert beside[60, 60].tolist() == named[60, 60].tolist() != alone[60, 60].tolist()
    assert alone[60, 250].tolist() == [255, 255, 255]


def test_several_ids_have_their_colours_and_none_is_left_as_it_is(results):
    folder = results / "objects"
    for index, stem in enumerate(STEMS):
        write_mask(folder / f"{stem}.png", left_half(1 + index % 2))
    show(folder, sequence=results / FOLDERS[0])
    sheet = read("objects.png")
    for column, index in enumerate((0, 1, 2, 4, 5, 6)):
        left, right = cell(sheet, 0, column)[60, [60, 250]]
        expected = 0.35 * np.array([60, 120, 60]) + 0.65 * COMPONENTS[1 + index % 2]
        assert np.abs(left - expected).max() < 5
        assert np.abs(right - [60, 120, 60]).max() < 5


def test_the_first_component_has_its_colour(results):
    folder = results / FOLDERS[4]
    for stem in STEMS:
        write_mask(folder / f"{stem}.png", left_half(3))
    (folder / "SHA256SUMS").unlink()
    show(folder)
    left, right = cell(read("grass.png"), 0, 0)[60, [60, 250]]
    for found, index in ((left, 3), (right, 0)):
        expected = 0.35 * np.array([60, 120, 60]) + 0.65 * COMPONENTS[index]
        assert np.abs(found - expected).max() < 5


def test_ground_truth_is_outlined(results):
    show(results / FOLDERS[0])
    sheet, middle = read("grass.png"), slice(CELL[0] // 2 - 8, CELL[0] // 2 + 8)
    outlined = [cell(sheet, 0, column)[60, middle, 2].max() > 200 for column in range(6)]
    assert outlined == [True, False, False, False, False, False]


def test_a_picture_replaces_only_what_is_named(results, tmp_path):
    table = results / "test_table.csv"
    show(table)
    with pytest.raises(ValueError, match=r"test_table.png is there already; name .* with -o"):
        show(table)
    show(table, tmp_path / "work/test_table.png")
    before = sorted(p for p in results.rglob("*"))
    for name in ("new.png", "00000.png"):
        with pytest.raises(ValueError, match=rf"{name} is in .*grass, which is to be shown"):
            show(results / FOLDERS[3], results / FOLDERS[3] / name)
    with pytest.raises(ValueError, match=r"grass/new.png is in .*datasets/test/grass"):
        show(results / FOLDERS[3], results / FOLDERS[0] / "new.png", results / FOLDERS[0])
    with pytest.raises(ValueError, match=r"test_table.csv is no name of a PNG"):
        show(table, table)
    assert sorted(p for p in results.rglob("*")) == before


def test_damaged_products_are_named_with_a_remedy(results):
    def refused(name, message):
        with pytest.raises(ValueError, match=message):
            show(results / name)

    def flip(name):
        data = bytearray((results / name).read_bytes())
        data[len(data) // 2] ^= 1
        (results / name).write_bytes(data)

    flip("test_table.csv")
    refused(
        "test_table.csv",
        r"test_table.csv is damaged; delete .*test_table.csv and run its rule again",
    )
    flip(f"{FOLDERS[3]}/00003.png")
    refused(FOLDERS[3], r"00003.png is damaged; delete .*grass and run its rule again")
    flip(f"{FOLDERS[0]}/frames/00002.jpg")
    refused(FOLDERS[0], r"grass is not a prepared sequence .*00002.jpg is damaged.*again")
    shutil.rmtree(results / "datasets")
    for folder, array in ((FOLDERS[1], "flow"), (FOLDERS[2], "steps")):
        shard = next(p for p in (results / folder / array / "c").rglob("*") if p.is_file())
        shard.write_bytes(shard.read_bytes()[:-9])
        refused(folder, rf"exact.zarr: array {array}.* is damaged .*run its rule again")
        (results / folder / "zarr.json").unlink()
        refused(folder, r"exact.zarr is not a whole .*zarr.json is missing.*again")
    assert not os.listdir()


def test_what_has_no_picture_is_told_what_has(results, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "short.csv").write_text("step,loss,gradient_norm\n")
    (tmp_path / "nothing.csv").write_text("")
    for path, message in (
        (tmp_path / "none", "there is no .*none"),
        (tmp_path / "empty", "empty is nothing that can be shown"),
        (tmp_path / "other.csv", "other.csv has the columns a, b"),
    ):
        with pytest.raises(ValueError, match=f"{message}; what can be( shown)?: {SHOWN}"):
            show(path)
    masks = results / "masks/test/lrtl/seed0"
    with pytest.raises(ValueError, match=r"show what is in it, for instance .*seed0/grass; what"):
        show(masks)
    with pytest.raises(ValueError, match=r"short.csv has no rows; run its rule again"):
        show(tmp_path / "short.csv")
    with pytest.raises(ValueError, match=r"nothing.csv cannot be read as a table"):
        show(tmp_path / "nothing.csv")


def test_a_sequence_that_does_not_fit_is_named(results):
    frames = [("a", encode_jpeg(np.zeros((*SIZE, 3), np.uint8)))] * 2
    frames[1] = ("b", frames[1][1])
    write_sequence(results / "other", "test", "other", frames, [], {})
    with pytest.raises(ValueError, match=r"00000.png is of no frame of .*other; name the sequence"):
        show(results / FOLDERS[3], sequence=results / "other")
    with pytest.raises(ValueError, match=r"exact.zarr has 7 frames, .*other has 2; name the seq"):
        show(results / FOLDERS[1], sequence=results / "other")
    with pytest.raises(ValueError, match=r"test_table.csv is drawn without frames"):
        show(results / "test_table.csv", sequence=results / "other")


def test_the_command_says_where_the_picture_is(results):
    command = [sys.executable, "-m", "lrtl", "show", results / FOLDERS[2], "--threads", "1"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "exact.png\n"), run.stderr
    assert Image.open("exact.png").width > 1000
