"""Chained tracks against exact ones, their windows and their query grid."""

import numpy as np
import pytest

from lrtl.config import Part
from lrtl.datasets import demo
from lrtl.datasets.render import SIZE
from lrtl.motion.grids import query_grid
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.tracks import ChainedFlow, track_sequence
from lrtl.motion.windows import reflected_window, shifted_window
from tests.conftest import assert_same_bytes, tracks_config


@pytest.fixture(scope="module")
def scene():
    return demo.scene("comet")


def test_chained_exact_flow_gives_exact_tracks(scene, exact_flow):
    points = query_grid(SIZE, 8, 0)
    positions, visible = ChainedFlow(FlowStore.open(exact_flow)).track(points, 24, 14, 34)
    truth, seen = scene.tracks(24, points.astype(float))
    truth, seen = truth[14:35], seen[14:35]
    both = visible & seen
    error = np.hypot(*np.moveaxis(positions - truth, 1, 0))[both]
    assert np.median(error) < 0.05
    assert np.quantile(error, 0.95) < 0.5
    # What is said to be visible is; what is visible is mostly found.
    assert (seen & visible).sum() > 0.97 * visible.sum()
    assert (seen & visible).sum() > 0.9 * seen.sum()


def test_points_that_leave_are_not_held_at_the_border(scene, exact_flow):
    points = query_grid(SIZE, 4, 0)
    positions, visible = ChainedFlow(FlowStore.open(exact_flow)).track(points, 0, 0, 40)
    x, y = positions[-1]
    outside = (x < 0) | (y < 0) | (x > SIZE[1] - 1) | (y > SIZE[0] - 1)
    assert outside.sum() > 50
    assert not visible[-1][outside].any()
    at_border = (x == 0) | (y == 0) | (x == SIZE[1] - 1) | (y == SIZE[0] - 1)
    assert at_border.mean() < 0.01


@pytest.mark.parametrize("frames", [3, 9, 20])
@pytest.mark.parametrize("build", [reflected_window, shifted_window])
def test_windows_hold_the_query_frame_and_frames_of_the_video(build, frames):
    for frame in range(frames):
        window, index = build(frame, 4, frames)
        assert len(window) == 9
        assert window[index] == frame
        assert window.min() >= 0
        assert window.max() < frames
        assert set(np.abs(np.diff(window))) == {1}


def test_windows_at_the_ends():
    assert reflected_window(1, 3, 10)[0].tolist() == [2, 1, 0, 1, 2, 3, 4]
    assert shifted_window(1, 3, 10) == (pytest.approx(np.arange(7)), 1)
    assert shifted_window(9, 3, 10)[0].tolist() == list(range(3, 10))


@pytest.mark.parametrize("queries", ["every_frame", "shared"])
@pytest.mark.parametrize("boundary", ["paper", "released"])
def test_a_video_shorter_than_the_window(scene, exact_flow, tmp_path, boundary, queries):
    """48 frames in a window of 61, as SegTrackv2 has 21 in one of 41."""
    config = tracks_config(radius=30, stride=40, boundary=boundary, queries=queries)
    track_sequence(exact_flow, config, tmp_path / "tracks.zarr")
    store = TrackStore.open(tmp_path / "tracks.zarr")
    for frame in (0, 20, 47):
        positions, visibility, window, index = store.read(frame)
        assert (len(window), window[index]) == (61, frame)
        true, visible = scene.tracks(frame, positions[index])
        both = visibility & visible[window]
        error = np.abs(positions - true[window]).max(1)[both]
        assert both.mean() > 0.5
        assert np.median(error) < 1


def test_query_grids_cover_every_pixel_once_in_a_cycle():
    count = np.zeros((22, 30), int)
    for frame in range(16):
        x, y = query_grid((22, 30), 4, frame).astype(int)
        count[y, x] += 1
    assert (count == 1).all()
    assert query_grid((480, 854), 4, 0).shape == (2, 25_680)
    assert query_grid((480, 854), 4, 2).shape == (2, 25_560)
    assert query_grid((480, 854), 4, 1)[:, 0].tolist() == [1, 0]  # x is fastest


@pytest.mark.parametrize("queries", ["every_frame", "shared"])
def test_parts_of_a_sequence_make_the_store_that_one_job_makes(exact_flow, tmp_path, queries):
    config = tracks_config(radius=5, stride=16, queries=queries)
    track_sequence(exact_flow, config, tmp_path / "one.zarr")
    for part in ("2/2", "1/2"):
        track_sequence(exact_flow, config, tmp_path / "parts.zarr", Part.parse(part))
        assert not (tmp_path / "parts.zarr").exists()
    track_sequence(exact_flow, config, tmp_path / "parts.zarr")
    assert_same_bytes(tmp_path / "one.zarr", tmp_path / "parts.zarr")


@pytest.mark.parametrize("queries", ["every_frame", "shared"])
def test_sequence_store_resumes_to_the_same_bytes(exact_flow, tmp_path, monkeypatch, queries):
    config = tracks_config(radius=5, stride=16, queries=queries)
    track_sequence(exact_flow, config, tmp_path / "whole.zarr")
    original, calls, kills = TrackStore.write, [], (3, 20)

    def failing(self, frame, *arguments):
        calls.append(frame)
        if len(calls) in kills:
            raise KeyboardInterrupt
        original(self, frame, *arguments)

    monkeypatch.setattr(TrackStore, "write", failing)
    for _ in kills:
        with pytest.raises(KeyboardInterrupt):
            track_sequence(exact_flow, config, tmp_path / "cut.zarr")
        assert not (tmp_path / "cut.zarr").exists()
    track_sequence(exact_flow, config, tmp_path / "cut.zarr")
    if queries == "every_frame":  # one unit done twice after each kill
        assert len(calls) == FlowStore.open(exact_flow).attributes["frames"] + len(kills)
    assert_same_bytes(tmp_path / "whole.zarr", tmp_path / "cut.zarr")
