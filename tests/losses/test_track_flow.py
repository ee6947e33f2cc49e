"""Tracks as flow against numpy's least squares at every time."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from lrtl.losses import track_flow_loss
from lrtl.losses.flow import MODELS
from lrtl.losses.trajectory import sample_masks

TERMS = {"constant": [0], "affine": [0, 1, 2], "quadratic": [0, 1, 2, 3, 4, 5]}


def problem(frames=5, count=60, segments=3):
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.float64}
    masks = torch.randn(2, segments, 6, 7, **options).softmax(1)
    points = 2 * torch.rand(2, 2, count, **options) - 1
    start = torch.tensor([853.0, 479.0])[:, None] * torch.rand(2, 1, 2, count, **options)
    return masks, points, start + 5 * torch.randn(2, frames, 2, count, **options).cumsum(1)


def reference(weights, tracks, model):
    """Eq. 2 as it is written, |M F - M E theta|^2, at every time; numpy arrays of one image."""
    total = 0
    for now, then in pairwise(tracks):
        x, y = now / 400
        basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)[:, TERMS[model]]
        for mask in weights[:, :, None]:
            embedded, flow = mask * basis, mask * (then - now).T
            theta = np.linalg.lstsq(embedded, flow, rcond=None)[0]
            total += ((flow - embedded @ theta) ** 2).sum()
    return total / (2 * tracks.shape[-1] * (len(tracks) - 1))


@pytest.mark.parametrize("model", MODELS)
def test_agrees_with_least_squares_at_every_time(model):
    masks, points, tracks = problem()
    weights = sample_masks(masks, points).numpy()
    images = zip(weights, tracks.numpy(), strict=True)
    expected = np.mean([reference(*image, model) for image in images])
    value = track_flow_loss(masks, points, tracks, model)
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_gradient_is_that_of_finite_differences():
    masks, points, tracks = problem(frames=3, count=25, segments=2)
    masks.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: track_flow_loss(m, points, tracks, "affine"), masks)


def test_vanishes_for_true_segments_and_ignores_repeated_tracks():
    """Two halves that move by their own affine motions from frame to frame."""
    masks = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[None, :, None]  # left and right, (1, 2, 1, 2)
    points = torch.rand(1, 2, 80, dtype=torch.float64)
    points[..., :40] -= 1  # half the tracks on the left; sampled where masks are not mixed:
    points[:, 0] = points[:, 0].sign()
    tracks = [torch.rand(1, 2, 80, dtype=torch.float64) * 400]
    for _ in range(4):
        left, right = tracks[-1].split(40, -1)
        tracks.append(torch.cat([1.01 * left + 2, 0.98 * right.flip(-2) + 9], -1))
    tracks = torch.stack(tracks, 1)  # (1, T, 2, N)
    masks = masks.double()
    assert track_flow_loss(masks, points, tracks, "affine") < 1e-3
    mixed = track_flow_loss(torch.full_like(masks, 0.5), points, tracks, "affine")
    assert mixed > 1
    twice = points.repeat(1, 1, 2), tracks.repeat(1, 1, 1, 2)
    torch.testing.assert_close(
        track_flow_loss(torch.full_like(masks, 0.5), *twice, "affine"), mixed
    )


def test_segments_without_tracks_and_tracks_that_stand_still_are_no_error():
    masks, points, tracks = problem()
    masks = torch.cat([masks, torch.zeros_like(masks[:, :1])], 1)
    for still in (tracks, tracks[:, :1].expand_as(tracks)):
        leaf = masks.clone().requires_grad_()
        value = track_flow_loss(leaf, points, still, "quadratic")
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(leaf.grad).all()
