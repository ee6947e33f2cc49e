"""The trajectory loss against float64 singular values, and what it must not depend on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtl.losses import perspective_loss, reconstruction_loss, trajectory_loss
from lrtl.losses.trajectory import excess_rank, sample_masks


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
@pytest.mark.parametrize("count", [300, 5000], ids=["one block", "three"])
def test_value_and_gradient_agree_with_svdvals(noise, low_rank, count):
    weights, tracks = problem(noise, low_rank, count=count)
    weights.requires_grad_()
    expected = reference(weights, tracks, 5)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), weights)
    value = excess_rank(weights, tracks, 5)
    (gradient,) = torch.autograd.grad(value.sum(), weights)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    error = (gradient - expected_gradient).norm() / expected_gradient.norm()
    assert error < 1e-4


@pytest.mark.parametrize(("noise", "low_rank"), [(0.0, None), (1e-3, 5)], ids=["full", "rank5"])
def test_squares_agree_with_the_truncated_decomposition(noise, low_rank):
    """Value and gradient of Eq. 3 as it is written, by U, s and V."""
    weights, tracks = problem(noise, low_rank)
    weights.requires_grad_()
    matrices = tracks[:, None] * weights[:, :, None]
    left, singular, right = (factor.detach() for factor in torch.linalg.svd(matrices, False))
    truncated = left[..., :5] * singular[..., None, :5] @ right[..., :5, :]
    # The truncation is optimal: what it changes by does not change the residual, to first order.
    expected = (matrices - truncated).square().sum((-2, -1))
    (expected_gradient,) = torch.autograd.grad(expected.sum(), weights)
    value = excess_rank(weights, tracks, 5, power=2)
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


@pytest.mark.parametrize("power", [1, 2])
def test_gradient_is_that_of_finite_differences(power):
    weights, tracks = problem(1.0, batch=1, segments=2, frames=4, count=20)
    weights.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: excess_rank(w, tracks, 3, power), weights)


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


@pytest.mark.parametrize("power", [1, 2])
def test_gradient_is_finite_where_singular_values_vanish(power):
    weights, tracks = problem(0.0, 2)
    weights = torch.zeros_like(weights).requires_grad_()
    (gradient,) = torch.autograd.grad(excess_rank(weights, tracks, 5, power).sum(), weights)
    assert torch.isfinite(gradient).all()
    weights = torch.ones_like(weights).requires_grad_()
    (gradient,) = torch.autograd.grad(excess_rank(weights, tracks, 5, power).sum(), weights)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() < 1.0


@pytest.mark.parametrize("power", [1, 2])
def test_gradient_is_finite_where_singular_values_coincide(power):
    """Eight equal singular values: which three are beyond the fifth is open, their sum is not."""
    tracks = 7 * torch.eye(8, dtype=torch.float64)[None]
    weights = torch.ones(1, 1, 8, dtype=torch.float64, requires_grad=True)
    value = excess_rank(weights, tracks, 5, power)
    (gradient,) = torch.autograd.grad(value.sum(), weights)
    assert value.item() == pytest.approx(3 * 7**power)
    assert torch.isfinite(gradient).all()
    assert gradient.sum().item() == pytest.approx(power * value.item())  # homogeneous in the masks


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


def scene(batch=1, frames=6, count=40, seed=0):
    """Masks (B, K, H, W), points (B, 2, N) and tracks (B, T, 2, N) without structure, float64."""
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    masks = torch.randn(batch, 3, 8, 9, **options).softmax(1)
    points = 2 * torch.rand(batch, 2, count, **options) - 1
    return masks, points, 400 * torch.rand(batch, frames, 2, count, **options)


def test_reconstruction_is_that_of_the_truncated_decomposition():
    masks, points, tracks = scene(batch=2)
    matrices = tracks.flatten(1, 2)[:, None] * sample_masks(masks, points)[:, :, None]
    left, singular, right = torch.linalg.svd(matrices, False)
    truncated = left[..., :3] * singular[..., None, :3] @ right[..., :3, :]
    expected = (matrices - truncated).square().sum((-2, -1)).mean() * 70_000 / 40
    value = reconstruction_loss(masks, points, tracks, 3)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)


def test_perspective_is_the_residual_of_the_homogeneous_matrix():
    """Against the whole (3T, N) matrix with its rows of ones."""
    masks, points, tracks = scene(batch=2)
    homogeneous = torch.cat([tracks, torch.ones_like(tracks[:, :, :1])], 2).flatten(1, 2)
    matrices = homogeneous[:, None] * sample_masks(masks, points)[:, :, None]
    beyond = torch.linalg.svdvals(matrices)[..., 4:]
    expected = beyond.square().sum(-1).mean() * 70_000 / 40
    value = perspective_loss(masks, points, tracks)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)


def test_perspective_vanishes_for_rigid_motion_at_constant_depth():
    """Points each at its own depth, the third row of every camera times them (Eq. 5)."""
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.float64}
    homogeneous = torch.rand(4, 40, **options)
    homogeneous[2] += 2  # depths
    homogeneous[3] = 1
    cameras = 400 * torch.rand(6, 2, 4, **options)  # rows of x and y; the third is 0, 0, 1, 0
    tracks = (cameras @ homogeneous / homogeneous[2])[None]
    points = 2 * torch.rand(1, 2, 40, **options) - 1
    masks = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    rigid = perspective_loss(masks, points, tracks)
    bent = perspective_loss(masks, points, tracks + torch.rand(tracks.shape, **options))
    assert rigid < 1e-9 * bent


@pytest.mark.parametrize(
    "loss",
    [lambda m, p, t: reconstruction_loss(m, p, t, 3), perspective_loss],
    ids=["reconstruction", "perspective"],
)
def test_squared_losses_have_right_gradients_and_ignore_repeated_tracks(loss):
    masks, points, tracks = scene()
    once = loss(masks, points, tracks)
    twice = loss(masks, points.repeat(1, 1, 2), tracks.repeat(1, 1, 1, 2))
    torch.testing.assert_close(once, twice)
    masks.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: loss(m, points, tracks) / 1e6, masks)
