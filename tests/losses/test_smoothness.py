"""The temporal smoothness loss on masks that move, and its weighting by visibility."""

import torch

from lrtl.losses import smoothness_loss


def pixel_points(x, y, width, height):
    """Pixel coordinates as (1, 2, N) in [-1, 1]."""
    return torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1])[None]


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
