"""Merging of components: its costs and cuts by definition, and known scenes."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtl.affinity import motion_affinity
from lrtl.datasets import demo
from lrtl.merge import ALIKE, GROUPINGS, grouping_costs, merge_components, normalised_cut

DEFAULT = ("correlation_clustering", "video")


def merged(masks, flow) -> list[bool]:
    """The foreground of a video by its motion."""
    return merge_components(masks, motion_affinity(masks, flow), *DEFAULT)[0].tolist()


@settings(deadline=None, max_examples=30)
@given(count=st.integers(2, 6), seed=st.integers(0, 1000))
def test_costs_by_definition(count, seed):
    affinity = np.random.default_rng(seed).random((count, count))
    affinity = (affinity + affinity.T) / 2
    groupings = np.array([[c >> k & 1 for k in range(count)] for c in range(1, 2**count - 1)], bool)
    for foreground, value in zip(groupings, grouping_costs(affinity, groupings), strict=True):
        expected = 0.0
        for i, j in itertools.combinations(range(count), 2):
            if foreground[i] != foreground[j]:
                expected += affinity[i, j] - ALIKE
            elif not foreground[i]:
                expected += ALIKE - affinity[i, j]
        assert value == pytest.approx(expected)


def test_too_many_components_are_refused():
    with pytest.raises(ValueError, match="groupings of 25 components, only of 2 to 16"):
        merge_components(torch.ones(1, 25, 8, 8) / 25, torch.ones(1, 25, 25), *DEFAULT)


@pytest.fixture(scope="module")
def scene():
    """The true object of `comet`, its background in three parts, and the exact flow."""
    comet = demo.scene("comet")
    times = range(4, 44, 8)
    labels = torch.stack([torch.from_numpy(comet.mask(t)) for t in times]).long()
    parts = torch.arange(labels.shape[-1]) * 3 // labels.shape[-1] + 1
    labels = torch.where(labels > 0, 0, parts)
    masks = torch.nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    return masks, torch.stack([torch.from_numpy(comet.flow(t, 1)) for t in times])


def test_parts_of_one_motion_are_joined(scene):
    masks, flow = scene
    affinity = motion_affinity(masks, flow).mean(0)
    assert affinity[1:, 1:].min() > 2 * affinity[0, 1:].max()
    assert merged(masks, flow) == [True, False, False, False]


def test_order_of_components_does_not_matter(scene):
    masks, flow = scene
    assert merged(masks[:, [2, 0, 3, 1]], flow) == [False, True, False, False]


def test_objects_that_move_apart_are_both_foreground():
    duet = demo.scene("duet")
    times = range(0, 44, 8)
    labels = torch.stack([torch.from_numpy(duet.mask(t)) for t in times]).long()
    right = torch.arange(labels.shape[-1]) > labels.shape[-1] // 2
    labels = torch.where((labels == 0) & right, 3, labels)
    masks = torch.nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    flow = torch.stack([torch.from_numpy(duet.flow(t, 1)) for t in times])
    assert merged(masks, flow) == [False, True, True, False]


def cut_value(affinity: np.ndarray, side: np.ndarray) -> float:
    """The normalised cut (Shi and Malik 2000) of a graph without loops."""
    weights = affinity * (1 - np.eye(len(affinity)))
    cut = weights[side][:, ~side].sum()
    return cut / weights[side].sum() + cut / weights[~side].sum()


def least_cut(affinity: np.ndarray) -> float:
    count = len(affinity)
    sides = [(code >> np.arange(count)) % 2 == 1 for code in range(1, 2 ** (count - 1))]
    return min(cut_value(affinity, side) for side in sides)


def random_affinity(count: int, seed: int, groups=None) -> np.ndarray:
    """Symmetric, 0 to 1; with `groups` 0.8 to 1 within them and 0 to 0.2 across."""
    affinity = np.random.default_rng(seed).random((count, count)).clip(1e-6)
    affinity = (affinity + affinity.T) / 2
    if groups is not None:
        same = groups[:, None] == groups
        affinity = 0.2 * affinity + 0.8 * same
    return affinity


@settings(deadline=None, max_examples=30)
@given(count=st.integers(2, 6), seed=st.integers(0, 1000))
def test_the_cut_against_all_cuts(count, seed):
    """Spectral clustering relaxes the cut: the least of three components, near it for more."""
    affinity = random_affinity(count, seed)
    side = normalised_cut(affinity, np.ones(count), np.ones(count))
    assert 0 < side.sum() < count
    factor = 1 + 1e-9 if count <= 3 else 1.3
    assert cut_value(affinity, side) <= factor * least_cut(affinity)


@settings(deadline=None, max_examples=30)
@given(split=st.integers(1, 4), seed=st.integers(0, 1000))
def test_clear_groups_are_cut_apart_in_any_order(split, seed):
    """Five components; the group with less of the border is the foreground."""
    groups = np.random.default_rng(seed).permutation(np.arange(5) < split)
    affinity = random_affinity(5, seed, groups)
    area = np.full(5, 0.2)
    share = np.where(groups, 0.1, 0.3)
    assert normalised_cut(affinity, share, area).tolist() == groups.tolist()
    assert cut_value(affinity, groups) == pytest.approx(least_cut(affinity))


def test_components_without_area_have_no_part_in_the_cut():
    """The affinity of the empty one is the floor, which would be cut off first."""
    affinity = random_affinity(4, 0, np.array([0, 0, 1, 2]))
    affinity[3, :3] = affinity[:3, 3] = 1e-12
    share, area = np.array([0.6, 0.4, 0.0, 0.0]), np.array([0.5, 0.3, 0.2, 0.0])
    assert normalised_cut(affinity, share, area)[:3].tolist() == [False, False, True]


def test_a_frame_of_one_component_has_no_foreground():
    area = np.array([0.0, 1.0, 0.0])
    side = normalised_cut(np.full((3, 3), 1e-12), area, area)
    assert side.tolist() == [True, False, True]


def test_two_components_are_told_apart_by_the_border():
    share, area = np.array([0.7, 0.3]), np.array([0.5, 0.5])
    assert normalised_cut(np.ones((2, 2)), share, area).tolist() == [False, True]


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_identical_components_still_make_two_groups(grouping, count):
    masks = torch.ones(2, count, 8, 8) / count
    foreground = merge_components(masks, torch.ones(2, count, count), grouping, "frame")
    assert foreground.shape == (2, count)
    assert (foreground.any(1) & ~foreground.all(1)).all()


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_a_decision_for_every_frame_follows_it(grouping):
    """Two components swap places half-way; the frames' mean could not tell them apart."""
    inner = torch.zeros(16, 16)
    inner[5:11, 5:11] = 1
    masks = torch.stack([inner, 1 - inner])[
        torch.tensor([[0, 1], [0, 1], [1, 0]])
    ]  # (3, 2, 16, 16)
    affinity = torch.full((3, 2, 2), 0.1)
    frames = merge_components(masks, affinity, grouping, "frame")
    assert frames.tolist() == [[True, False], [True, False], [False, True]]
    assert merge_components(masks, affinity, grouping, "video").tolist() == [[True, False]]
    for t in range(3):
        alone = merge_components(masks[t : t + 1], affinity[t : t + 1], grouping, "video")
        assert alone[0].tolist() == frames[t].tolist()
