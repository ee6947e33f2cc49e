"""The tracks a frame is trained on: windows cut out of stored ones, and neighbours' tracks."""

from dataclasses import replace

import numpy as np
import pytest

from lrtl.motion.reading import moving_average, read_tracks
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.tracks import track_sequence
from lrtl.samples import Motion, Quads
from tests.conftest import tracks_config
from tests.small import LOSSES, NETWORK, TRAINING

RADIUS = 6


@pytest.fixture(scope="module", params=["paper", "released"])
def boundary(request):
    return request.param


@pytest.fixture(scope="module")
def stores(exact_flow, boundary, tmp_path_factory):
    """Tracks of `comet` by radius, over windows of one boundary."""
    folder, stores = tmp_path_factory.mktemp("tracks"), {}
    for radius in (RADIUS - 1, RADIUS):
        path = folder / f"{radius}.zarr"
        track_sequence(exact_flow, tracks_config(radius, 16, boundary=boundary), path)
        stores[radius] = TrackStore.open(path)
    return stores


def window_of(frame, context, frames, boundary):
    """A frame's window from the definition: a video reflected at its ends, or a shifted cut."""
    if boundary == "paper":
        return np.pad(np.arange(frames), context, mode="reflect")[frame : frame + 2 * context + 1]
    start = np.clip(frame - context, 0, frames - 2 * context - 1)
    return np.arange(start, start + 2 * context + 1)


def test_a_shorter_context_is_that_of_a_store_made_with_it(stores):
    short, long = stores[RADIUS - 1], stores[RADIUS]
    losses = replace(LOSSES, context=RADIUS - 1)
    for frame in range(short.attributes["frames"]):
        made = read_tracks(short, frame, losses)
        cut = read_tracks(long, frame, losses)
        for one, other in zip(made, cut, strict=True):
            np.testing.assert_array_equal(one, other)


def test_neighbours_add_the_tracks_queried_at_theirs(stores, boundary):
    """Every stored position at its video frame, and those visible in the frame, by hand."""
    store, context = stores[RADIUS], RADIUS - 1
    frames = store.attributes["frames"]
    scale = np.array([[853 / (store.attributes["width"] - 1)]])
    losses = replace(LOSSES, context=context, neighbours=1)
    for frame in range(frames):
        first = min(max(frame - 1, 0), frames - 3)
        expected, shown = [], []
        window = window_of(frame, context, frames, boundary)
        for source in range(first, first + 3):
            positions, visibility, stored, _ = store.read(source)
            rows = [int(np.flatnonzero(stored == t)[-1]) for t in window]
            expected.append(positions[rows])
            shown.append(visibility[rows])
        expected, shown = np.concatenate(expected, -1), np.concatenate(shown, -1)
        tracks = read_tracks(store, frame, losses)
        np.testing.assert_array_equal(tracks.window, window)
        assert window[tracks.query_index] == frame
        columns = np.arange(expected.shape[-1])
        drawn = tracks.pixels(tracks.positions(columns))
        np.testing.assert_allclose(drawn[:, 0], expected[:, 0] * scale, rtol=1e-5, atol=1e-4)
        usable = shown[tracks.query_index] & (shown.mean(0) >= LOSSES.track_visibility)
        np.testing.assert_array_equal(tracks.usable, np.flatnonzero(usable))
        assert not usable.all()


def test_a_context_beyond_the_stored_windows_is_refused(comet, exact_flow, stores):
    store = stores[RADIUS]
    motion = Motion.load(comet, FlowStore.open(exact_flow), store, NETWORK.input_size)
    quads = Quads([motion], replace(LOSSES, context=5, neighbours=1), TRAINING)
    batch = quads.batch(np.random.default_rng(0))
    assert batch["tracks"].shape == (4, 11, 2, 64)
    for changes in ({"context": 7}, {"neighbours": 1}, {"context": 6, "neighbours": 1}):
        with pytest.raises(ValueError, match=r"tracks reach only 6 .*raise tracks\.radius"):
            Quads([motion], replace(LOSSES, **changes), TRAINING)
    with pytest.raises(ValueError, match="quad_offset is 5, tracks reach only 4"):
        Quads([motion], replace(LOSSES, context=4), TRAINING)
    with pytest.raises(ValueError, match=r"frame 20: frames 13 to 27 .* through frames 14 to 26"):
        read_tracks(store, 20, replace(LOSSES, context=7))


def test_moving_average_is_shorter_at_the_ends():
    values = np.arange(6.0)[:, None] ** 2
    expected = [values[max(i - 1, 0) : i + 2].mean() for i in range(6)]
    np.testing.assert_allclose(moving_average(values, 3)[:, 0], expected)
    np.testing.assert_array_equal(moving_average(values, 1), values)
    integers = np.random.default_rng(0).integers(-(2**20), 2**20, (41, 2, 9), np.int32)
    average = np.stack([integers[max(i - 5, 0) : i + 6].mean(0) for i in range(41)])
    np.testing.assert_allclose(moving_average(integers, 11), average, rtol=1e-6)
