"""The trajectory loss: speed and errors against singular value decompositions."""

import statistics
import time

import torch

from lrtl.losses.trajectory import excess_rank

RUNS = 7


def trajectory_loss_speed():
    """Forward and backward at the papers' size against float32 svdvals."""
    generator = torch.Generator().manual_seed(0)
    tracks = 400 * torch.rand(2, 82, 25_680, generator=generator)
    weights = torch.rand(2, 4, 25_680, generator=generator)
    times = {excess_rank: [], svdvals_excess: []}
    for _ in range(RUNS + 1):
        for loss, taken in times.items():
            start = time.perf_counter()
            gradient(loss, weights, tracks)
            taken.append(time.perf_counter() - start)
    ours, theirs = (statistics.median(taken[1:]) for taken in times.values())
    case = "forward and backward, B=2, K=4, T=41, N=25680, 2 threads"
    yield "trajectory_loss_seconds", ours, "s", case
    yield "trajectory_loss_speedup", theirs / ours, "ratio", f"float32 svdvals, {case}"


def trajectory_loss_errors():
    """The largest relative errors against float64 svdvals, on two kinds of tracks."""
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.float64}
    noise = torch.randn(1, 82, 4000, **options)
    low_rank = torch.randn(1, 82, 5, **options) @ torch.randn(1, 5, 4000, **options)
    weights = torch.rand(1, 4, 4000, **options)
    errors = []
    for tracks in (400 * torch.rand(1, 82, 4000, **options), 100 * low_rank + 1e-3 * noise):
        expected, expected_gradient = gradient(svdvals_excess, weights, tracks)
        value, found = gradient(excess_rank, weights, tracks)
        error = (found - expected_gradient).norm() / expected_gradient.norm()
        errors.append(((value / expected - 1).abs().max().item(), error.item()))
    value, slope = (max(column) for column in zip(*errors, strict=True))
    reference = "float64 svdvals, well-conditioned and rank-5 tracks with noise of 1e-3 px"
    yield "trajectory_loss_value_error", value, "relative", reference
    yield "trajectory_loss_gradient_error", slope, "relative", reference


def svdvals_excess(weights, tracks, rank):
    """The loss by singular values of the weighted matrices, in their own precision."""
    return torch.linalg.svdvals(tracks[:, None] * weights[:, :, None])[..., rank:].sum(-1)


def gradient(loss, weights, tracks):
    """Value (B, K) and gradient of a loss."""
    weights = weights.detach().requires_grad_()
    value = loss(weights, tracks, 5)
    return value.detach(), torch.autograd.grad(value.sum(), weights)[0]
