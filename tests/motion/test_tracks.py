"""Chained tracks against exact ones, their windows and their query grid."""

import numpy as np
import pytest

from lrtl.config import TracksConfig
from lrtl.datasets import demo
from lrtl.datasets.render import SIZE
from lrtl.motion.grids import query_grid
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.tracks import (
    ChainedFlow,
    reflected_window,
    shifted_window,
    track_sequence,
)


@pytest.fixture(scope="module")
def scene():
    return demo.scene("comet")


@pytest.fixture(scope="module")
def exact_flow(scene, tmp_path_factory):
    """A store of the renderer's exact flow of gap 1 and -1."""
    about = {"gaps": [-1, 1], "estimator": "exact", "weights_sha256": None, "updates": 1}
    path = tmp_path_factory.mktemp("flow") / "exact.zarr"
    store = FlowStore.build(path, scene.length, SIZE, about)
    for t in range(scene.length):
        for index, gap in enumerate((-1, 1)):
            if 0 <= t + gap < scene.length:
                store.write(index, t, scene.flow(t, gap))
    store.finish()
    return FlowStore.open(path)


def test_chained_exact_flow_gives_exact_tracks(scene, exact_flow):
    points = query_grid(SIZE, 8, 0)
    positions, visible = ChainedFlow(exact_flow).track(points, 24, 14, 34)
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
    positions, visible = ChainedFlow(exact_flow).track(points, 0, 0, 40)
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


def test_query_grids_cover_every_pixel_once_in_a_cycle():
    count = np.zeros((22, 30), int)
    for frame in range(16):
        x, y = query_grid((22, 30), 4, frame).astype(int)
        count[y, x] += 1
    assert (count == 1).all()
    assert query_grid((480, 854), 4, 0).shape == (2, 25_680)
    assert query_grid((480, 854), 4, 2).shape == (2, 25_560)
    assert query_grid((480, 854), 4, 1)[:, 0].tolist() == [1, 0]  # x is fastest


def test_sequence_store_resumes_to_the_same_bytes(exact_flow, tmp_path, monkeypatch):
    config = TracksConfig(
        "chained_flow",
        size=SIZE,
        radius=5,
        stride=16,
        boundary="paper",
        auxiliary="none",
        points_per_call=1000,
        precision="float32",
    )
    track_sequence(exact_flow.path, config, tmp_path / "whole.zarr")
    original, calls = TrackStore.write, []

    def failing(self, frame, *arguments):
        calls.append(frame)
        if len(calls) == 20:
            raise KeyboardInterrupt
        original(self, frame, *arguments)

    monkeypatch.setattr(TrackStore, "write", failing)
    with pytest.raises(KeyboardInterrupt):
        track_sequence(exact_flow.path, config, tmp_path / "cut.zarr")
    assert not (tmp_path / "cut.zarr").exists()
    track_sequence(exact_flow.path, config, tmp_path / "cut.zarr")
    assert len(calls) == exact_flow.attributes["frames"] + 1  # one unit done twice
    files = [p.relative_to(tmp_path / "whole.zarr") for p in (tmp_path / "whole.zarr").rglob("*")]
    for file in files:
        if (tmp_path / "whole.zarr" / file).is_file():
            whole, cut = (tmp_path / n / file for n in ("whole.zarr", "cut.zarr"))
            assert whole.read_bytes() == cut.read_bytes(), file
