"""The three alterations of masks on labels made by hand."""

import numpy as np
import pytest
import torch

from lrtl.corruption import add_noise, restructure, soften

LABELS = np.zeros((40, 50), int)
LABELS[5:15, 5:15], LABELS[20:36, 10:30], LABELS[8:12, 30:44] = 1, 2, 3


@pytest.mark.parametrize("change", [-3, -1, 0, 1, 4])
def test_structure_changes_the_number_of_segments(change):
    rng = np.random.default_rng(0)
    changed = restructure(LABELS, change, rng)
    assert len(np.unique(changed)) == 4 + change
    same = changed == LABELS
    assert same[LABELS == 0].all()
    if change < 0:
        assert (changed[~same] == 0).all()
    assert LABELS.max() == 3


def test_a_segment_is_cut_through_its_middle():
    one = np.where(LABELS == 2, 1, 0)
    halves = {
        tuple(np.bincount(restructure(one, 1, np.random.default_rng(i)).ravel())[1:])
        for i in range(9)
    }
    assert halves == {(160, 160)}
    with pytest.raises(ValueError, match="3 objects, cannot change -4"):
        restructure(LABELS, -4, np.random.default_rng(0))


def test_noise_is_uniform_at_its_share():
    labels = np.full((400, 400), 30)
    noisy = add_noise(labels, 0.25, 20, np.random.default_rng(1))
    assert (noisy != labels).mean() == pytest.approx(0.25, abs=0.01)
    counts = np.bincount(noisy[noisy != labels], minlength=20)
    assert counts.shape == (20,)
    np.testing.assert_allclose(counts / counts.sum(), 1 / 20, atol=0.005)
    np.testing.assert_array_equal(add_noise(labels, 0, 20, np.random.default_rng(1)), labels)


def test_temperature_raises_the_entropy_only():
    masks = [soften(LABELS, 5, 4.0, temperature) for temperature in (0.5, 1, 4)]
    entropies = [-(m * m.log()).sum(0).mean() for m in masks]
    assert entropies == sorted(entropies)
    for m in masks:
        torch.testing.assert_close(m.sum(0), torch.ones(40, 50, dtype=torch.float64))
        np.testing.assert_array_equal(m.argmax(0).numpy(), LABELS)
    inside = np.exp(4) / (np.exp(4) + 4)
    assert masks[1].max().item() == pytest.approx(inside)
