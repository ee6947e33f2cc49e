"""Shared tracks against the tracker's own and against exact ones: coverage, cost, cells."""

import numpy as np
import pytest

from lrtl.datasets import demo
from lrtl.datasets.render import SIZE
from lrtl.motion.store import TrackStore
from lrtl.motion.tracks import ChainedFlow, track_sequence
from tests.conftest import tracks_config

RADIUS, STRIDE = 6, 8
CELLS = (-(-SIZE[0] // STRIDE), -(-SIZE[1] // STRIDE))


@pytest.fixture(scope="module", params=["paper", "released"])
def shared(request, exact_flow, tmp_path_factory):
    """Shared tracks of `comet`, and the point-frames that were spent on them."""
    spent, original = [], ChainedFlow.track
    config = tracks_config(RADIUS, STRIDE, queries="shared", boundary=request.param)

    def counting(self, points, frame, first, last):
        spent.append(points.shape[1] * (last - first + 1))
        return original(self, points, frame, first, last)

    path = tmp_path_factory.mktemp("tracks") / "shared.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChainedFlow, "track", counting)
        track_sequence(exact_flow, config, path)
    assert [p.name for p in path.parent.iterdir()] == ["shared.zarr"]
    return TrackStore.open(path), sum(spent)


def test_every_frame_is_covered_by_one_track_a_cell(shared):
    store, _ = shared
    for frame in range(store.attributes["frames"]):
        positions, visibility, window, index = store.read(frame)
        assert window[index] == frame
        assert visibility[index].all()
        x, y = np.rint(positions[index]).astype(int) // STRIDE
        cells = np.unique(y * CELLS[1] + x)
        assert len(cells) == len(x)
        assert len(cells) >= 0.95 * CELLS[0] * CELLS[1]


def test_tracks_are_those_of_the_points_they_pass(shared):
    scene, (store, _) = demo.scene("comet"), shared
    for frame in (0, 20, 47):
        positions, visibility, window, index = store.read(frame)
        truth, seen = scene.tracks(frame, positions[index].astype(float))
        both = visibility & seen[window]
        error = np.hypot(*np.moveaxis(positions - truth[window], 1, 0))[both]
        assert np.median(error) < 0.1
        assert both.sum() > 0.95 * visibility.sum()


def test_far_fewer_points_are_tracked(shared):
    store, spent = shared
    every_frame = store.attributes["frames"] * CELLS[0] * CELLS[1] * (2 * RADIUS + 1)
    assert every_frame > 2.5 * spent
