"""The temporal smoothness loss against Eq. 7 point by point; masks that move; visibility."""

import numpy as np
import pytest
import torch

from lrtl.losses import smoothness_loss


def pixel_points(x, y, width, height):
    """Pixel coordinates as (1, 2, N) in [-1, 1]."""
    return torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1])[None]


def bilinear(mask, x, y):
    """The value of a mask (H, W) at a point in [-1, 1], beyond which its border goes on."""
    height, width = mask.shape
    x = np.clip((x + 1) / 2 * (width - 1), 0, width - 1)
    y = np.clip((y + 1) / 2 * (height - 1), 0, height - 1)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    a, b = x - left, y - top
    upper = (1 - a) * mask[top, left] + a * mask[top, left + 1]
    lower = (1 - a) * mask[top + 1, left] + a * mask[top + 1, left + 1]
    return (1 - b) * upper + b * lower


def eq_7(masks, later, points, later_points, visible):
    """Point by point in float64: means over tracks, then over pairs; divided by 4 as released."""
    pairs = []
    for pair in range(len(masks)):
        tracks = []
        for n in np.flatnonzero(visible[pair]):
            squared = 0.0
            for here, there in zip(masks[pair], later[pair], strict=True):
                m = bilinear(here, *points[pair, :, n])
                squared += (m - bilinear(there, *later_points[pair, :, n])) ** 2
            tracks.append(squared / 4)
        pairs.append(np.mean(tracks) if tracks else 0.0)
    return np.mean(pairs)


@pytest.fixture
def example():
    """Two pairs of masks of 3 segments, 6 x 9; of 11 tracks some leave the frame."""
    generator = torch.Generator().manual_seed(0)
    masks, later = torch.rand(2, 2, 3, 6, 9, generator=generator, dtype=torch.float64).softmax(2)
    points = 2.4 * torch.rand(2, 2, 2, 11, generator=generator, dtype=torch.float64) - 1.2
    visible = torch.rand(2, 11, generator=generator) < 0.6
    return masks, later, *points, visible


def test_is_eq_7_point_by_point(example):
    expected = eq_7(*(tensor.numpy() for tensor in example))
    assert smoothness_loss(*example).item() == pytest.approx(expected, rel=1e-12)
    single = (tensor.float() if tensor.is_floating_point() else tensor for tensor in example)
    assert smoothness_loss(*single).item() == pytest.approx(expected, rel=1e-5)


def test_gradients_are_those_of_differences(example):
    masks, later, *rest = example
    inputs = masks.requires_grad_(), later.requires_grad_()
    assert torch.autograd.gradcheck(lambda *pair: smoothness_loss(*pair, *rest), inputs)


def test_vanishes_when_masks_move_with_the_tracks():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(1, 3, 10, 20, generator=generator).softmax(1)
    later = masks.roll(4, -1)
    x, y = torch.arange(5.0, 12.0), torch.arange(1.0, 8.0)
    visible = torch.ones(1, 7, dtype=torch.bool)
    here, there = pixel_points(x, y, 20, 10), pixel_points(x + 4, y, 20, 10)
    assert smoothness_loss(masks, later, here, there, visible) < 1e-10
    assert smoothness_loss(masks, later, here, here, visible) > 1e-4


def test_counts_visible_tracks_of_the_same_pair_alone():
    """Each pair's mean is over its own visible tracks, whatever the other pair's are."""
    masks, later = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    later[1] = 2
    points = torch.zeros(2, 2, 5)
    visible = torch.zeros(2, 5, dtype=torch.bool)
    visible[0, :1] = True
    visible[1, :3] = True
    value = smoothness_loss(masks, later, points, points, visible)
    torch.testing.assert_close(value, torch.tensor((1.0 + 4.0) / 2 / 4))


def test_a_pair_without_common_tracks_counts_as_zero():
    masks = torch.rand(1, 2, 4, 4).requires_grad_()
    points = torch.zeros(1, 2, 3)
    visible = torch.zeros(1, 3, dtype=torch.bool)
    value = smoothness_loss(masks, 1 - masks, points, points, visible)
    value.backward()
    assert value == 0
    assert torch.isfinite(masks.grad).all()
