"""Trails of hand-made tracks, and sheets of tiny stores."""

import numpy as np
import pytest
from PIL import Image

from lrtl.datasets.layout import Sequence, encode_jpeg, write_sequence
from lrtl.figures import motion_sheet
from lrtl.figures.motion import flow_sheet, track_sheet
from lrtl.figures.trails import INK, draw_trails, time_colours
from lrtl.figures.wheel import flow_colours
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.windows import reflected_window

SIZE, LENGTH = (36, 64), 7
CELL = (280, round(280 * SIZE[0] / SIZE[1]))  # of a sheet
LEFT, TOP = 30, 64  # of the first picture of a sheet


def flow_store(path, gaps=(-1, 1), length=LENGTH):
    """The left half moves 2 px to the right from frame to frame, the right half rests."""
    store = FlowStore.build(path, length, SIZE, {"gaps": list(gaps), "estimator": "exact"})
    for index, gap in enumerate(gaps):
        for t in range(max(-gap, 0), length - max(gap, 0)):
            flow = np.zeros((2, *SIZE))
            flow[0, :, : SIZE[1] // 2] = 2 * gap
            store.write(index, t, flow)
    store.finish()
    return FlowStore.open(path)


def track_store(path, length=LENGTH, radius=2):
    """A point that moves 4 px to the right from frame to frame and one that rests."""
    about = {"tracker": "exact", "height": SIZE[0], "width": SIZE[1]}
    store = TrackStore.build(path, length, 2 * radius + 1, 2, about)
    for t in range(length):
        window, row = reflected_window(t, radius, length)
        positions = np.full((len(window), 2, 2), 26.0)
        positions[:, :, 0] = np.stack([30 + 4.0 * (window - t), np.full(len(window), 10)], 1)
        store.write(t, positions, np.ones((len(window), 2), bool), window, row)
    store.finish()
    return TrackStore.open(path)


@pytest.fixture
def sequence(tmp_path):
    jpeg = encode_jpeg(np.full((*SIZE, 3), (60, 120, 60), np.uint8))
    frames = [(f"{t:05d}", jpeg) for t in range(LENGTH)]
    write_sequence(tmp_path / "grass", "test", "grass", frames, [], {})
    return Sequence.open(tmp_path / "grass")


def read(path):
    return np.array(Image.open(path))


def cell(sheet, row, column):
    y, x = TOP + row * (CELL[1] + 4), LEFT + column * (CELL[0] + 4)
    return sheet[y : y + CELL[1], x : x + CELL[0]].astype(int)


def test_time_runs_from_dark_to_bright():
    brightness = time_colours(5).astype(int) @ [299, 587, 114]
    assert len(brightness) == 11 and (np.diff(brightness) > 0).all()


def test_a_trail_has_the_colours_of_its_times():
    picture = np.full((40, 100, 3), 255, np.uint8)
    offsets = np.arange(-2, 3)
    positions = np.stack([50 + 20.0 * offsets, np.full(5, 20)], 1)[..., None]  # (T, 2, 1)
    draw_trails(picture, positions, np.ones((5, 1), bool), offsets, 2)
    colours = time_colours(2)
    for x, colour in ((20, colours[0]), (40, colours[1]), (60, colours[3]), (80, colours[4])):
        assert picture[20, x].tolist() == colour.tolist()
    assert picture[20, 50].tolist() == list(INK)
    assert (picture[:17] == 255).all() and (picture[24:] == 255).all()
    assert (picture[:, :8] == 255).all() and (picture[:, 93:] == 255).all()


def test_a_trail_is_broken_where_its_track_is_hidden():
    picture = np.full((40, 100, 3), 255, np.uint8)
    offsets = np.arange(-2, 3)
    positions = np.stack([50 + 20.0 * offsets, np.full(5, 20)], 1)[..., None]
    visible = np.array([True, False, True, True, False])[:, None]
    draw_trails(picture, positions, visible, offsets, 2)
    assert (picture[:, :46] == 255).all() and (picture[:, 75:] == 255).all()
    assert picture[20, 60].tolist() == time_colours(2)[3].tolist()


def test_what_is_hidden_in_the_frame_and_what_is_crowded_is_left_out():
    offsets = np.arange(-1, 2)
    alone = np.full((3, 2, 3), 20.0)
    alone[:, 0, 1] += 0.5  # in the same cell of the grid
    alone[:, 0, 2] = 60
    visible = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1]], bool)
    many, one = (np.full((40, 100, 3), 255, np.uint8) for _ in range(2))
    draw_trails(many, alone, visible, offsets, 1)
    draw_trails(one, alone[..., :1], visible[:, :1], offsets, 1)
    assert (many == one).all() and not (one == 255).all()
    nothing = np.full((40, 100, 3), 255, np.uint8)
    draw_trails(nothing, alone, np.zeros_like(visible), offsets, 1)
    assert (nothing == 255).all()


def test_a_sheet_of_flow_has_a_row_for_every_gap(tmp_path):
    flow_sheet(
        flow_store(tmp_path / "flow.zarr", (-2, -1, 1, 2)), None, "grass", tmp_path / "a.png"
    )
    sheet = read(tmp_path / "a.png")
    assert sheet.shape == (TOP + 4 * (CELL[1] + 4), LEFT + 3 * (CELL[0] + 4), 3)  # frames 2 to 4
    for row, gap in enumerate((-2, -1, 1, 2)):
        expected = flow_colours(np.array([[[2.0 * gap]], [[0.0]]]), 4)[0, 0]
        assert np.abs(cell(sheet, row, 1)[80, 40] - expected).max() <= 1
        assert (cell(sheet, row, 1)[80, 240] == 255).all()


def test_a_pair_that_is_not_there_stays_white(tmp_path):
    flow_sheet(flow_store(tmp_path / "flow.zarr", length=2), None, "two", tmp_path / "a.png")
    sheet = read(tmp_path / "a.png")
    white = [[(cell(sheet, row, column) == 255).all() for column in (0, 1)] for row in (0, 1)]
    assert white == [[True, False], [False, True]]
    store = flow_store(tmp_path / "none.zarr", (3,), length=2)
    with pytest.raises(ValueError, match=r"none.zarr has no flow"):
        flow_sheet(store, None, "two", tmp_path / "b.png")


def test_trails_stand_on_frames_or_on_grey(sequence, tmp_path):
    store = track_store(tmp_path / "tracks.zarr")
    track_sheet(store, sequence, "grass", tmp_path / "a.png")
    track_sheet(store, None, "grass", tmp_path / "b.png")
    green, grey = cell(read(tmp_path / "a.png"), 0, 2)[5, 5], cell(read(tmp_path / "b.png"), 0, 2)
    assert green[1] > green[0] + 20
    assert grey[5, 5].tolist() == [240, 240, 240]
    x, y = ((np.array([30, 10]) * 279) / (63, 35)).round().astype(int)  # of the query point
    y = round(10 / 35 * (CELL[1] - 1))
    later = grey[y - 1 : y + 2, x + 27 : x + 30].reshape(-1, 3)  # 6 to 7 px ahead: the second step
    earlier = grey[y - 1 : y + 2, x - 30 : x - 27].reshape(-1, 3)
    assert np.abs(later - time_colours(2)[4]).sum(1).min() < 60
    assert np.abs(earlier - time_colours(2)[0]).sum(1).min() < 60
    assert (grey[y, x + 45 :] == 240).all() and (grey[y, : x - 45] == 240).all()


def test_a_motion_sheet_has_frames_flow_and_tracks(sequence, tmp_path):
    stores = flow_store(tmp_path / "flow.zarr", (-2, 1, 2)), track_store(tmp_path / "tracks.zarr")
    motion_sheet(sequence, *stores, tmp_path / "a.png")
    sheet = read(tmp_path / "a.png")
    assert sheet.shape[0] == TOP + 3 * (CELL[1] + 4)
    assert cell(sheet, 1, 0)[80, 40].tolist() == [255, 0, 0]  # of gap 1, its radius is the motion
    assert (tmp_path / "a.png.sha256").exists()


def test_stores_of_another_sequence_are_named(sequence, tmp_path):
    flow, tracks = flow_store(tmp_path / "flow.zarr"), track_store(tmp_path / "tracks.zarr", 9)
    with pytest.raises(ValueError, match=r"tracks.zarr has 9 frames, .*grass has 7; name the seq"):
        motion_sheet(sequence, flow, tracks, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
