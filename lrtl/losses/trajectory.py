"""The trajectory loss of "Learning segmentation from point trajectories" (NeurIPS 2024), Eq. 4."""

import torch
import torch.nn.functional as F
from torch import Tensor

RELEASED_TRACKS = 70_000  # tracks per image in the released code, the scale of its weight
MASK_FLOOR = 1e-6  # the released code clamps sampled masks to [1e-6, 1 - 1e-6]
COLUMNS = 2048  # tracks per block of the Gram matrix: a block stays in a core's cache


def trajectory_loss(masks: Tensor, points: Tensor, tracks: Tensor, rank: int) -> Tensor:
    """Low-rank loss of the track matrices of K segments (Eq. 4), mean over segments and images.

    Each track is weighted by the mask value at its query point; singular values beyond the
    `rank`-th of the weighted matrices are summed. Scaled by sqrt(70000 / N), so that a weight means
    what it means in the released code, which always draws 70,000 tracks, whatever N is here.

    Args:
        masks: (B, K, H, W) soft masks, any size.
        points: (B, 2, N) where the tracks are in the masks' frame, (x, y) in [-1, 1] from the
            first to the last pixel centre (align_corners=True).
        tracks: (B, T, 2, N) positions in pixels of a 854 x 480 frame.
        rank: r, the number of singular values left free; the paper's 5.

    Returns:
        Scalar in the units of `tracks`, in the dtype of `masks`.
    """
    sampled = sample_masks(masks, points).clamp(MASK_FLOOR, 1 - MASK_FLOOR)  # (B, K, N)
    excess = excess_rank(sampled, tracks.flatten(1, 2), rank)  # (B, K)
    return excess.mean() * (RELEASED_TRACKS / tracks.shape[-1]) ** 0.5


def sample_masks(masks: Tensor, points: Tensor) -> Tensor:
    """Sample masks (B, K, H, W) bilinearly at points (B, 2, N) in [-1, 1]: (B, K, N)."""
    grid = points.transpose(1, 2)[:, None]  # (B, 1, N, 2)
    return F.grid_sample(masks, grid, padding_mode="border", align_corners=True)[:, :, 0]


def excess_rank(weights: Tensor, tracks: Tensor, rank: int) -> Tensor:
    """Sum of the singular values beyond the `rank`-th of column-weighted track matrices.

    Args:
        weights: (B, K, N), the weight of each track in each segment.
        tracks: (B, D, N) track matrices, D = 2T coordinates of N points.
        rank: singular values left out, largest first.

    Returns:
        (B, K), differentiable in `weights`. Value and gradient come from the float64 Gram matrix;
        singular values below its resolution, 1.5e-8 of the largest, count as they are found but
        carry no gradient, which is not defined where they vanish.
    """
    return _ExcessRank.apply(weights, tracks, rank)


class _ExcessRank(torch.autograd.Function):
    """For P diag(w^2) P^T = U diag(s^2) U^T, d sum(s) / d w_n = w_n |diag(s^-1/2) U^T p_n|^2.

    The coordinates are first rotated to the principal axes of all tracks: rows then differ in size
    as singular values do, so that the Gram matrix keeps the small ones to their own precision, not
    to the largest one's. Nothing here holds a weighted copy of the track matrix.
    """

    @staticmethod
    def forward(ctx, weights: Tensor, tracks: Tensor, rank: int) -> Tensor:
        tracks = tracks.double()
        _, axes = torch.linalg.eigh(tracks @ tracks.mT)  # ascending
        tracks = axes.flip(-1).mT @ tracks  # (B, D, N), rows from large to small
        vectors, singular = _square_root_svd(_gram(weights.double(), tracks))  # descending
        floor = singular[..., :1] * torch.finfo(torch.float64).eps ** 0.5
        inverse = torch.where(singular > floor, singular.clamp(min=1e-300).rsqrt(), 0.0)
        ctx.save_for_backward(weights, tracks, (vectors * inverse[..., None, :])[..., rank:])
        return singular[..., rank:].sum(-1).to(weights.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        weights, tracks, basis = ctx.saved_tensors  # basis (B, K, D, D - rank)
        basis = basis.mT.contiguous()
        result = torch.empty_like(weights)
        for start in range(0, tracks.shape[-1], COLUMNS):
            block = tracks[:, None, :, start : start + COLUMNS]  # (B, 1, D, C)
            result[..., start : start + COLUMNS] = (basis @ block).square_().sum(-2)
        return result * weights * gradient[..., None], None, None


def _square_root_svd(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvectors U and square roots s of the eigenvalues, descending: G = U diag(s^2) U^T.

    From the singular values of G's Cholesky factor, which keeps small ones that an eigensolver
    loses in the rounding of the largest. A numerically singular G, as of repeated frames or of a
    segment without tracks, has none: there it is the eigensolver, to 1e-8 of the largest.
    """
    factor, failed = torch.linalg.cholesky_ex(gram)
    failed = failed > 0  # (B, K)
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    vectors, singular, _ = torch.linalg.svd(factor.where(~failed[..., None, None], identity))
    if failed.any():
        values, axes = torch.linalg.eigh(gram)  # ascending
        roots = values.clamp(min=0).sqrt().flip(-1)
        vectors = vectors.where(~failed[..., None, None], axes.flip(-1))
        singular = singular.where(~failed[..., None], roots)
    return vectors, singular


def _gram(weights: Tensor, tracks: Tensor) -> Tensor:
    """Gram matrices P diag(w^2) P^T (B, K, D, D) of weighted track matrices, in their lower half.

    The upper right block is left out: the factorisation reads the lower half alone.
    """
    dimensions = tracks.shape[1]
    half = dimensions // 2
    gram = weights.new_zeros(*weights.shape[:2], dimensions, dimensions)
    for start in range(0, tracks.shape[-1], COLUMNS):
        columns = slice(start, start + COLUMNS)
        weighted = tracks[:, None, :, columns] * weights[:, :, None, columns]  # (B, K, D, C)
        top, bottom = weighted[:, :, :half], weighted[:, :, half:]
        gram[:, :, :half, :half] += top @ top.mT
        gram[:, :, half:] += bottom @ weighted.mT
    return gram
