"""The trajectory loss against float64 singular values, and what it must not depend on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtl.losses.trajectory import excess_rank, sample_masks, trajectory_loss


def reference(weights, tracks, rank):
    """Sum of singular values beyond the rank-th, by float64 svdvals."""
    matrices = tracks.double()[:, None] * weights.double()[:, :, None]
    return torch.linalg.svdvals(matrices)[..., rank:].sum(-1)


def problem(noise, low_rank=None, batch=2, segments=3, frames=11, count=300, seed=0):
    """Weights (B, K, N) and float64 track matrices (B, 2T, N) in pixels."""
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    shape = (batch, 2 * frames, count)
    if low_rank is None:
        tracks = 400 * torch.rand(shape, **options)
    else:
        left = torch.randn(batch, 2 * frames, low_rank, **options)
        tracks = 100 * left @ torch.randn(batch, low_rank, count, **options)
    tracks = tracks + noise * torch.randn(shape, **options)
    return torch.rand(batch, segments, count, **options), tracks


@pytest.mark.parametrize(
    ("noise", "low_rank"), [(0.0, None), (1e-3, 5), (1e-3, 3)], ids=["full", "rank5", "rank3"]
)
def test_value_and_gradient_agree_with_svdvals(noise, low_rank):
    weights, tracks = problem(noise, low_rank)
    weights.requires_grad_()
    expected = reference(weights, tracks, 5)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), weights)
    value = excess_rank(weights, tracks, 5)
    (gradient,) = torch.autograd.grad(value.sum(), weights)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    error = (gradient - expected_gradient).norm() / expected_gradient.norm()
    assert error < 1e-4


def test_float32_inputs_lose_nothing_but_their_own_rounding():
    weights, tracks = problem(1e-3, 5)
    weights, tracks = weights.float(), tracks.float()
    expected = reference(weights, tracks, 5)
    value = excess_rank(weights, tracks, 5)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0)


def test_gradient_is_that_of_finite_differences():
    weights, tracks = problem(1.0, batch=1, segments=2, frames=4, count=20)
    weights.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: excess_rank(w, tracks, 3), weights)


def test_singular_matrices_of_real_windows():
    """Reflected windows repeat frames, and a segment may hold fewer tracks than coordinates."""
    weights, tracks = problem(1e-2, 6, segments=4)
    tracks = torch.cat([tracks, tracks[:, :8]], 1)
    weights[:, 1] = 1e-6
    weights[:, 2] = 1e-6
    weights[:, 2, :7] = 1
    expected = reference(weights, tracks, 5)
    value = excess_rank(weights.requires_grad_(), tracks, 5)
    largest = reference(weights, tracks, 0)
    assert ((value - expected).abs() / largest).max() < 1e-6
    (gradient,) = torch.autograd.grad(value.sum(), weights)
    assert torch.isfinite(gradient).all()


def test_gradient_is_finite_where_singular_values_vanish():
    weights, tracks = problem(0.0, 2)
    weights = torch.zeros_like(weights).requires_grad_()
    (gradient,) = torch.autograd.grad(excess_rank(weights, tracks, 5).sum(), weights)
    assert torch.isfinite(gradient).all()
    weights = torch.ones_like(weights).requires_grad_()
    (gradient,) = torch.autograd.grad(excess_rank(weights, tracks, 5).sum(), weights)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() < 1.0


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(0.1, 10), seed=st.integers(0, 100))
def test_scales_with_the_tracks_and_ignores_their_order(scale, seed):
    weights, tracks = problem(1.0, seed=seed)
    value = excess_rank(weights, tracks, 5)
    torch.testing.assert_close(excess_rank(weights, scale * tracks, 5), scale * value)
    order = torch.randperm(tracks.shape[-1])
    torch.testing.assert_close(excess_rank(weights[..., order], tracks[..., order], 5), value)


def test_repeating_the_tracks_leaves_the_loss_as_it_is():
    """The released code fills up to 70,000 tracks by repetition: the weight means the same."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(1, 2, 8, 8, generator=generator)
    points = 2 * torch.rand(1, 2, 50, generator=generator) - 1
    tracks = 100 * torch.rand(1, 6, 2, 50, generator=generator)
    once = trajectory_loss(masks, points, tracks, 5)
    twice = trajectory_loss(masks, points.repeat(1, 1, 2), tracks.repeat(1, 1, 1, 2), 5)
    torch.testing.assert_close(once, twice)


def test_loss_is_the_released_codes_at_its_number_of_tracks():
    """Mean over K and B of the sums, in pixels, unnormalised, for exactly 70,000 tracks."""
    weights, tracks = problem(1.0, batch=1, segments=1, frames=3, count=70_000)
    masks = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    points = torch.zeros(1, 2, 70_000, dtype=torch.float64)
    value = trajectory_loss(masks, points, tracks.unflatten(1, (3, 2)), 4)
    expected = reference(torch.full_like(weights, 1 - 1e-6), tracks, 4).mean()  # the mask's clamp
    torch.testing.assert_close(value, expected)


def test_masks_are_sampled_at_pixel_centres():
    masks = torch.arange(12.0).view(1, 1, 3, 4)
    points = torch.tensor([[[-1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]]])
    expected = torch.tensor([[[0.0, 11.0, 5.5]]])
    torch.testing.assert_close(sample_masks(masks, points), expected)
