"""Merging of components: its cost by definition, and known scenes."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtl.datasets import demo
from lrtl.merge import ALIKE, grouping_costs, merge_components, motion_affinity


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
        merge_components(torch.ones(1, 25, 8, 8) / 25, torch.zeros(1, 2, 8, 8), "motion")


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
    affinity = motion_affinity(masks, flow)
    assert affinity[1:, 1:].min() > 2 * affinity[0, 1:].max()
    assert merge_components(masks, flow, "motion").tolist() == [True, False, False, False]


def test_order_of_components_does_not_matter(scene):
    masks, flow = scene
    order = [2, 0, 3, 1]
    merged = merge_components(masks[:, order], flow, "motion")
    assert merged.tolist() == [False, True, False, False]


def test_objects_that_move_apart_are_both_foreground():
    duet = demo.scene("duet")
    times = range(0, 44, 8)
    labels = torch.stack([torch.from_numpy(duet.mask(t)) for t in times]).long()
    right = torch.arange(labels.shape[-1]) > labels.shape[-1] // 2
    labels = torch.where((labels == 0) & right, 3, labels)
    masks = torch.nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    flow = torch.stack([torch.from_numpy(duet.flow(t, 1)) for t in times])
    assert merge_components(masks, flow, "motion").tolist() == [False, True, True, False]
