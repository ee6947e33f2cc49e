"""Objects of synthetic clips with exact tracks, and of the demo's two objects that touch."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtl.config import ObjectsConfig
from lrtl.datasets import demo, render
from lrtl.datasets.layout import (
    Sequence,
    encode_jpeg,
    read_mask,
    write_mask,
    write_sequence,
)
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.tracks import track_sequence
from lrtl.objects import Tracklet, find_objects, find_regions, number_objects, write_objects
from tests.conftest import tracks_config

SIZE = (60, 100)
FIRST, HALF = 12, 24  # frames of `duet`; its objects touch in the middle
CONFIG = ObjectsConfig(smallest=0.002, gap=6, overlap=0.1, shortest=4)


def square(x, y=30, radius=7):
    """A mask (H, W) with a square around (x, y)."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.maximum(abs(rows - y), abs(columns - x)) <= radius


def points_of(places, gap=CONFIG.gap):
    """Exact tracks of every pixel of squares on a still background.

    `places` has for every frame the centre (x, y) of each square; the last square is in front.
    """

    def of(frame):
        frames = range(frame, max(frame - gap, 0) - 1, -1)
        grid = np.stack(np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))).reshape(2, -1)
        layer = layers(frame)[grid[1], grid[0]]
        pixels = np.repeat(grid[None], len(frames), 0)
        visible = np.ones((len(frames), grid.shape[1]), bool)
        for row, t in enumerate(frames):
            for number, ((x, y), (x0, y0)) in enumerate(zip(places[t], places[frame], strict=True)):
                pixels[row][:, layer == number + 1] += [[x - x0], [y - y0]]
            x, y = pixels[row]
            visible[row] = (x >= 0) & (x < SIZE[1]) & (y >= 0) & (y < SIZE[0])
            x, y = x.clip(0, SIZE[1] - 1), y.clip(0, SIZE[0] - 1)
            visible[row] &= layers(t)[y, x] == layer
        chosen = visible[1:].any(0)
        return pixels[:, :, chosen], visible[:, chosen]

    def layers(t):
        image = np.zeros(SIZE, int)
        for number, (x, y) in enumerate(places[t]):
            image[square(x, y)] = number + 1
        return image

    return of, [layers(t) for t in range(len(places))]


def found(places, masks=None, config=CONFIG):
    """Objects (F, H, W) of the squares, or of other masks with the squares' motion, and truth."""
    of, layers = points_of(places, config.gap)
    masks = [image > 0 for image in layers] if masks is None else masks
    objects = np.stack(list(find_objects(iter(masks), of, config)))
    assert not objects[~np.stack(masks)].any()
    return objects, np.stack(layers)


def test_objects_that_pass_each_other_keep_their_ids():
    """Their regions touch for some frames; one hides a part of the other."""
    places = [[(15 + 3 * t, 24), (80 - 3 * t, 34)] for t in range(22)]
    objects, truth = found(places)
    ones = [find_regions(image > 0, 0)[0].max() for image in truth]
    assert min(ones) == 1 and ones[0] == ones[-1] == 2
    assert objects.max() == 2
    assert (objects == truth).all(0).mean() > 0.9
    for t in range(22):
        assert (objects[t] == truth[t])[truth[t] > 0].mean() > 0.9
    np.testing.assert_array_equal(objects[[0, -1]], truth[[0, -1]])


@pytest.mark.parametrize(("missed", "ids"), [(5, 1), (6, 2)])
def test_an_object_missed_for_less_than_the_gap_keeps_its_id(missed, ids):
    places = [[(20 + 2 * t, 30)] for t in range(20)]
    masks = [square(20 + 2 * t) for t in range(20)]
    for t in range(8, 8 + missed):
        masks[t] = np.zeros(SIZE, bool)
    objects, _ = found(places, masks)
    assert objects[7].max() == 1 and objects[-1].max() == ids
    assert not objects[8 : 8 + missed].any()


def test_an_object_that_is_covered_keeps_its_id():
    """The second square stands in front of the first for three frames."""
    places = [[(50, 30), (10 + 8 * t, 30)] for t in range(11)]
    objects, truth = found(places)
    assert not (truth[5] == 1).any()
    assert objects[-1][30, 50] == objects[0][30, 50] == 2
    assert objects[-1][30, 90] == objects[0][30, 10] == 1


def test_what_splits_off_for_long_is_an_object_and_a_flicker_is_none():
    """The foreground falls in two at column 30: for three frames, or until the end."""
    places = [[(30, 30)]] * 12
    for length, ids in ((3, 1), (9, 2)):
        masks = [square(30) for _ in range(12)]
        for t in range(3, 3 + length):
            masks[t][:, 31] = False
        objects, _ = found(places, masks)
        assert objects.max() == ids
        assert (objects[0][masks[0]] == 1).all()
        np.testing.assert_array_equal(objects > 0, masks)
        assert len(np.unique(objects[4][masks[4]])) == ids


def test_what_joins_soon_belongs_to_what_it_joins():
    places = [[(30, 30)]] * 12
    masks = [square(30) for _ in range(12)]
    for t in range(3):
        masks[t][:, 31] = False
    objects, _ = found(places, masks)
    np.testing.assert_array_equal(objects, masks)


def test_specks_and_what_shows_seldom_are_left_out():
    places = [[(30, 30)]] * 8
    masks = [square(30) | square(60, radius=1) for _ in range(8)]
    masks[4] = masks[4] | square(80)
    objects, _ = found(places, masks)
    np.testing.assert_array_equal(objects, [square(30)] * 8)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_short_clips_and_empty_masks(length):
    places = [[(30, 30), (60, 30)]] * length
    objects, truth = found(places)
    np.testing.assert_array_equal(objects, truth)
    empty, _ = found(places, [np.zeros(SIZE, bool)] * length)
    assert empty.dtype == np.uint8 and not empty.any()
    whole, _ = found(places, [np.ones(SIZE, bool)] * length)
    assert (whole == 1).all()


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_objects_of_any_masks_lie_in_the_foreground(seed):
    """Ids count from 1 without gaps, and are the same every time."""
    rng = np.random.default_rng(seed)
    places = [[(50, 30)]] * 6
    masks = [
        sum(square(*rng.integers([[100, 60]])[0], rng.integers(2, 12)) for _ in range(3)) > 0
        for _ in range(6)
    ]
    objects, _ = found(places, masks)
    assert set(np.unique(objects[objects > 0])) == set(range(1, objects.max() + 1))
    again, _ = found(places, masks)
    np.testing.assert_array_equal(objects, again)


def test_numbers_of_tracklets_by_hand():
    """1 and 4 are objects; 2 joins 4, 3 nothing, 5 and 6 each other."""
    alone, joins = [9, 1, 2, 8, 1, 1], [0, 4, 0, 1, 6, 5]
    tracklets = {
        n: Tracklet(10, *about) for n, about in enumerate(zip(alone, joins, strict=True), 1)
    }
    assert number_objects(tracklets, 5).tolist() == [0, 1, 2, 0, 2, 0, 0]
    many = {n: Tracklet(10, 9) for n in range(1, 257)}
    with pytest.raises(ValueError, match=r"there are 256 objects, .* raise objects\.smallest"):
        number_objects(many, 5)


@pytest.fixture(scope="module")
def duet(tmp_path_factory) -> tuple[Sequence, Path]:
    """Half of the demo's `duet`, its true foreground, and tracks by its exact flow."""
    folder, scene = tmp_path_factory.mktemp("duet"), demo.scene("duet")
    black = encode_jpeg(np.zeros((*render.SIZE, 3), np.uint8))
    masks = [(f"{t:05d}", scene.mask(FIRST + t)) for t in range(HALF)]
    frames = [(name, black) for name, _ in masks]
    write_sequence(folder / "duet", "demo", "duet", frames, masks, {})
    sequence = Sequence.open(folder / "duet")
    about = {"gaps": [-1, 1], "estimator": "exact", "weights_sha256": None, "updates": 1}
    store = FlowStore.build(folder / "flow.zarr", HALF, render.SIZE, about)
    for t, name in enumerate(sequence.frames):
        for index, gap in enumerate((-1, 1)):
            if 0 <= t + gap < HALF:
                store.write(index, t, scene.flow(FIRST + t, gap))
        write_mask(folder / "masks" / f"{name}.png", sequence.mask(t) > 0)
    store.finish()
    track_sequence(folder / "flow.zarr", tracks_config(10, 6), folder / "tracks.zarr")
    return sequence, folder


def test_the_objects_of_duet_are_those_of_the_ground_truth(duet, tmp_path, capsys):
    sequence, folder = duet
    config = ObjectsConfig(smallest=0.002, gap=10, overlap=0.1, shortest=8)
    tracks = TrackStore.open(folder / "tracks.zarr")
    write_objects(sequence, folder / "masks", tracks, config, tmp_path / "objects")
    assert "duet: number of objects 2, stability 0.9" in capsys.readouterr().out
    together = 0
    for t, name in enumerate(sequence.frames):
        objects, truth = read_mask(tmp_path / "objects" / f"{name}.png"), sequence.mask(t)
        np.testing.assert_array_equal(objects > 0, truth > 0)
        assert (objects == truth)[truth > 0].mean() > 0.97
        together += find_regions(truth > 0, 0)[0].max() == 1
    assert together > 3


def test_what_does_not_fit_is_named(duet, tmp_path):
    sequence, folder = duet
    config = ObjectsConfig(smallest=0.002, gap=11, overlap=0.1, shortest=8)
    tracks = TrackStore.open(folder / "tracks.zarr")
    with pytest.raises(ValueError, match=r"tracks\.zarr, frame 11: .*lower objects\.gap or raise"):
        write_objects(sequence, folder / "masks", tracks, config, tmp_path / "objects")
    assert not (tmp_path / "objects").exists()
    short = Sequence(**vars(sequence) | {"frames": sequence.frames[:9]})
    with pytest.raises(ValueError, match=r"tracks\.zarr has 24 frames, duet has 9; delete"):
        write_objects(short, folder / "masks", tracks, config, tmp_path / "objects")
    with pytest.raises(ValueError, match=r"overlap is 0\.0, expected a share above 0"):
        ObjectsConfig(smallest=0.002, gap=6, overlap=0.0, shortest=4)
