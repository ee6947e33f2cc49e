"""J, F, the oracle and statistics against brute force and their definitions."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import adjusted_rand_score

from lrtl.metrics import (
    adjusted_rand,
    bootstrap_interval,
    boundary_measure,
    foreground_rand,
    jaccard,
    oracle_jaccard,
    statistics,
)

SIZE = (5, 6)
unhurried = settings(deadline=None)  # other jobs may share the machine
masks = arrays(bool, SIZE)
components = arrays(np.uint8, SIZE, elements=st.integers(0, 5))


def brute_force(labels, truth):
    names = range(int(labels.max()) + 1)
    unions = (np.isin(labels, u) for n in range(7) for u in combinations(names, n))
    return max(jaccard(union, truth) for union in unions)


def decay_of_bins(values):
    """Four bins of frames, 1-based bounds rounded half up, each with both of its bounds."""
    bounds = [int(1 + i * (len(values) - 1) / 4 + 0.5 + 1e-10) for i in range(5)]
    bins = [[values[frame - 1] for frame in range(bounds[i], bounds[i + 1] + 1)] for i in range(4)]
    return sum(bins[0]) / len(bins[0]) - sum(bins[3]) / len(bins[3])


def edge(mask):
    """Pixels that have a pixel of the other kind to the right, below or below right of them."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            block = mask[y : min(y + 2, height), x : min(x + 2, width)]
            found[y, x] = (block != mask[y, x]).any()
    return found


def slow_boundary_measure(prediction, truth):
    """F by the distance of every boundary pixel to the nearest of the other boundary."""
    found, wanted = edge(prediction), edge(truth)
    if not found.any() or not wanted.any():
        return float(found.any() == wanted.any())
    bound = np.ceil(0.008 * (truth.shape[0] ** 2 + truth.shape[1] ** 2) ** 0.5)
    precision = (distance_transform_edt(~wanted)[found] <= bound).mean()
    recall = (distance_transform_edt(~found)[wanted] <= bound).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def blobs(seed, size):
    """A mask of three discs, of which some may lie at the frame's edge."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    mask = np.zeros(size, bool)
    for _ in range(3):
        centre, radius = rng.uniform((0, 0), size), rng.uniform(3, 30)
        mask |= (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
    return mask


@pytest.mark.parametrize("seed", range(6))
def test_boundaries_match_within_the_bound_by_distance(seed):
    size = (120, 217)  # a bound of 2 px
    truth = blobs(seed, size)
    for prediction in (blobs(seed + 100, size), np.roll(truth, 3, 1), truth):
        expected = slow_boundary_measure(prediction, truth)
        assert boundary_measure(prediction, truth) == pytest.approx(expected, abs=1e-12)


@unhurried
@given(masks, masks)
def test_the_boundary_measure_of_small_masks(prediction, truth):
    expected = slow_boundary_measure(prediction, truth)
    assert boundary_measure(prediction, truth) == pytest.approx(expected, abs=1e-12)
    assert boundary_measure(truth, prediction) == pytest.approx(expected, abs=1e-12)


def test_boundaries_of_davis_match_within_eight_pixels():
    truth = np.zeros((480, 854), bool)
    truth[100:300, 200:500] = True
    assert boundary_measure(np.roll(truth, 8, 1), truth) == 1
    assert boundary_measure(np.roll(truth, 9, 1), truth) < 0.7
    assert boundary_measure(~truth, truth) == 1  # the complement has the same boundary
    nothing = np.zeros_like(truth)
    assert boundary_measure(nothing, nothing) == boundary_measure(~nothing, nothing) == 1
    assert boundary_measure(nothing, truth) == boundary_measure(truth, nothing) == 0


def test_the_interval_of_a_mean():
    values = np.random.default_rng(1).normal(50, 10, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / 20  # by the normal distribution
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval([7.0, 7.0]) == (7, 7)
    assert np.isnan(bootstrap_interval([7.0])).all()


def test_jaccard_by_hand():
    prediction = np.array([[1, 1, 0], [0, 0, 0]], bool)
    truth = np.array([[0, 1, 1], [0, 0, 1]], bool)
    assert jaccard(prediction, truth) == 1 / 4
    assert jaccard(truth, truth) == 1
    assert jaccard(~truth, truth) == 0


def test_nothing_found_where_nothing_is_scores_one():
    nothing = np.zeros(SIZE, bool)
    assert jaccard(nothing, nothing) == 1
    assert jaccard(~nothing, nothing) == 0
    assert oracle_jaccard(np.zeros(SIZE, np.uint8), nothing) == 1


@unhurried
@given(masks, masks)
def test_jaccard_is_symmetric_and_a_share(first, second):
    assert jaccard(first, second) == jaccard(second, first)
    assert 0 <= jaccard(first, second) <= 1
    assert (jaccard(first, second) == 1) == np.array_equal(first, second)


@unhurried
@given(components, masks)
def test_the_oracle_is_the_best_of_all_unions(labels, truth):
    assert oracle_jaccard(labels, truth) == pytest.approx(brute_force(labels, truth), abs=1e-12)


@unhurried
@given(components, masks, st.lists(st.booleans(), min_size=6, max_size=6))
def test_the_oracle_is_above_any_union_and_its_complement(labels, truth, chosen):
    union = np.array(chosen)[labels]
    best = max(jaccard(union, truth), jaccard(~union, truth))
    assert oracle_jaccard(labels, truth) >= best - 1e-12


@unhurried
@given(components, masks, st.permutations(range(6)))
def test_the_oracle_ignores_the_numbering_of_components(labels, truth, order):
    renamed = np.array(order, np.uint8)[labels]
    assert oracle_jaccard(renamed, truth) == pytest.approx(oracle_jaccard(labels, truth), abs=1e-12)


@unhurried
@given(components, masks)
def test_the_oracle_gains_from_finer_components(labels, truth):
    finer = labels * 2 + np.arange(SIZE[1], dtype=np.uint8) % 2
    assert oracle_jaccard(finer, truth) >= oracle_jaccard(labels, truth) - 1e-12


def test_statistics_by_hand():
    found = statistics([1.0, 0.8, 0.6, 0.5, 0.4, 0.2, 0.2, 0.1, 0.0])  # bins 1-3, 3-5, 5-7, 7-9
    assert found["mean"] == pytest.approx(3.8 / 9)
    assert found["recall"] == pytest.approx(3 / 9)  # 0.5 is not above 0.5
    assert found["decay"] == pytest.approx(0.8 - 0.1)


@unhurried
@given(st.lists(st.floats(0, 1), min_size=1, max_size=300))
def test_decay_is_that_of_the_public_evaluator(values):
    assert statistics(values)["decay"] == pytest.approx(decay_of_bins(values), abs=1e-9)


@unhurried
@given(st.integers(1, 12).flatmap(lambda n: arrays(float, 4 * n + 1, elements=st.floats(0, 1))))
def test_backwards_in_time_decay_is_gain(values):
    backwards = statistics(values[::-1])
    assert backwards["decay"] == pytest.approx(-statistics(values)["decay"], abs=1e-12)


def rand_of_pairs(labels, truth):
    """The index over all pairs of pixels: (agreements - expected) / (largest - expected)."""
    pairs = list(combinations(range(labels.size), 2))
    a = np.array([labels.ravel()[i] == labels.ravel()[j] for i, j in pairs], float)
    b = np.array([truth.ravel()[i] == truth.ravel()[j] for i, j in pairs], float)
    expected = a.sum() * b.sum() / len(pairs)
    largest = (a.sum() + b.sum()) / 2
    return 1.0 if largest == expected else ((a * b).sum() - expected) / (largest - expected)


@unhurried
@given(components, components)
def test_rand_index_is_that_of_pairs_and_of_scikit_learn(labels, truth):
    value = adjusted_rand(labels, truth)
    assert value == pytest.approx(rand_of_pairs(labels, truth), abs=1e-12)
    assert value == adjusted_rand_score(truth.ravel(), labels.ravel())
    renamed = np.array([4, 9, 2, 0, 7, 1], np.uint8)[labels]
    assert adjusted_rand(renamed, truth) == pytest.approx(value, abs=1e-12)


def test_rand_index_of_the_foreground_per_frame_and_per_video():
    truth = np.array([[[0, 1, 1], [0, 2, 2]], [[0, 1, 1], [0, 2, 2]]])
    swapped = np.array([0, 2, 1])
    labels = np.stack([truth[0], swapped[truth[1]]])  # right in either frame, not through the video
    assert [adjusted_rand(*frame) for frame in zip(labels, truth, strict=True)] == [1, 1]
    assert foreground_rand(labels, truth) < 0.1
    everything_wrong_behind = np.where(truth > 0, truth, [[[3], [4]], [[5], [6]]])
    assert foreground_rand(everything_wrong_behind, truth) == 1
    assert np.isnan(foreground_rand(labels, np.zeros_like(truth)))
