"""Losses of track matrices, "Learning segmentation from point trajectories" (NeurIPS 2024).

Each track is weighted by the mask value at its query point, and what is beyond a low rank in the
weighted matrix of a segment is penalised. All take the mean over segments and images.

Args of all:
    masks: (B, K, H, W) soft masks, any size.
    points: (B, 2, N) where the tracks are in the masks' frame, (x, y) in [-1, 1] from the first to
        the last pixel centre (align_corners=True).
    tracks: (B, T, 2, N) positions in pixels of a 854 x 480 frame.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lrtl.losses.blocks import blocks

RELEASED_TRACKS = 70_000  # tracks per image in the released code, the scale of its weight
MASK_FLOOR = 1e-6  # the released code clamps sampled masks to [1e-6, 1 - 1e-6]
PERSPECTIVE_RANK = 4  # of W_t X diag(1/d), the cameras and the homogeneous points of Eq. 5


def trajectory_loss(masks: Tensor, points: Tensor, tracks: Tensor, rank: int) -> Tensor:
    """Sum of the singular values beyond the `rank`-th (Eq. 4), the papers' loss with rank 5.

    Scaled by sqrt(70000 / N), so that a weight means what it means in the released code, which
    always draws 70,000 tracks, whatever N is here.

    Returns:
        Scalar in the units of `tracks`, in the dtype of `masks`.
    """
    excess = excess_rank(sample_segments(masks, points), tracks.flatten(1, 2), rank)  # (B, K)
    return excess.mean() * (RELEASED_TRACKS / tracks.shape[-1]) ** 0.5


def reconstruction_loss(masks: Tensor, points: Tensor, tracks: Tensor, rank: int) -> Tensor:
    """Squared residual of the singular value decomposition truncated to `rank` (Eq. 3).

    That is the sum of the squared singular values beyond it (Eckart and Young). Scaled by
    70000 / N, as squares are.

    Returns:
        Scalar, squared units of `tracks`, in the dtype of `masks`.
    """
    excess = excess_rank(sample_segments(masks, points), tracks.flatten(1, 2), rank, power=2)
    return excess.mean() * RELEASED_TRACKS / tracks.shape[-1]


def perspective_loss(masks: Tensor, points: Tensor, tracks: Tensor) -> Tensor:
    """Squared residual of rigid motion in perspective at constant depth (Eq. 6).

    The homogeneous track matrix (3T, N) of a segment, rows x, y and 1 of each time, is to be
    W_t X diag(d)^-1 with a depth d per point that holds for all times. X is free, and with it the
    scale of its columns: d needs no estimate, and the best fit is the truncation to rank 4. The
    masks weight whole homogeneous columns, the 1 in pixels too. Scaled by 70000 / N.

    Returns:
        Scalar, squared units of `tracks`, in the dtype of `masks`.
    """
    frames = tracks.shape[1]
    # T equal rows of ones and one row of sqrt(T) have the same singular values.
    ones = torch.full_like(tracks[:, 0, :1], frames**0.5)  # (B, 1, N)
    homogeneous = torch.cat([tracks.flatten(1, 2), ones], 1)  # (B, 2T + 1, N)
    sampled = sample_segments(masks, points)
    excess = excess_rank(sampled, homogeneous, PERSPECTIVE_RANK, power=2)  # (B, K)
    return excess.mean() * RELEASED_TRACKS / tracks.shape[-1]


def sample_segments(masks: Tensor, points: Tensor) -> Tensor:
    """Weights (B, K, N) of tracks in segments: masks at the points, away from 0 and 1."""
    return sample_masks(masks, points).clamp(MASK_FLOOR, 1 - MASK_FLOOR)


def sample_masks(masks: Tensor, points: Tensor) -> Tensor:
    """Sample masks (B, K, H, W) bilinearly at points (B, 2, N) in [-1, 1]: (B, K, N)."""
    grid = points.transpose(1, 2)[:, None]  # (B, 1, N, 2)
    return F.grid_sample(masks, grid, padding_mode="border", align_corners=True)[:, :, 0]


def excess_rank(weights: Tensor, tracks: Tensor, rank: int, power: int = 1) -> Tensor:
    """Sum of the singular values beyond the `rank`-th of column-weighted track matrices.

    Args:
        weights: (B, K, N), the weight of each track in each segment.
        tracks: (B, D, N) track matrices, D = 2T coordinates of N points.
        rank: singular values left out, largest first.
        power: 1, or 2 to sum their squares.

    Returns:
        (B, K), differentiable in `weights`. Value and gradient come from the float64 Gram matrix;
        singular values below its resolution, 1.5e-8 of the largest, count as they are found but
        carry no gradient, which is not defined where they vanish. That of squares is everywhere.
    """
    return _ExcessRank.apply(weights, tracks, rank, power)


class _ExcessRank(torch.autograd.Function):
    """Of P diag(w^2) P^T = U diag(s^2) U^T: d sum(s^q) / d w_n = w_n |(q s^(q-2))^1/2 U^T p_n|^2.

    The coordinates are first rotated to the principal axes of all tracks: rows then differ in size
    as singular values do, so that the Gram matrix keeps the small ones to their own precision, not
    to the largest one's. A block of an image's tracks at a time, and again for the gradient:
    nothing here holds a weighted, rotated or float64 copy of a track matrix.
    """

    @staticmethod
    def forward(ctx, weights: Tensor, tracks: Tensor, rank: int, power: int) -> Tensor:
        axes = _principal_axes(tracks)  # (B, D, D)
        images = zip(weights, tracks, axes, strict=True)
        grams = torch.stack([_gram(*image) for image in images])  # (B, K, D, D)
        vectors, singular = _square_root_svd(grams)  # descending
        if power == 1:
            floor = singular[..., :1] * torch.finfo(torch.float64).eps ** 0.5
            scale = torch.where(singular > floor, singular.clamp(min=1e-300).rsqrt(), 0.0)
        else:
            scale = torch.full_like(singular, 2**0.5)
        basis = (vectors * scale[..., None, :])[..., rank:]
        basis = basis.mT @ axes[:, None]  # (B, K, D - rank, D), of unrotated tracks
        ctx.save_for_backward(weights, tracks, basis)
        return singular[..., rank:].pow(power).sum(-1).to(weights.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        weights, tracks, basis = ctx.saved_tensors
        result = torch.empty_like(weights)
        for image, track, out in zip(basis, tracks, result, strict=True):
            for block, part in blocks(track, out):
                part.copy_((image @ block.double()).square_().sum(-2))
        return result * weights * gradient[..., None], None, None, None


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


def _principal_axes(tracks: Tensor) -> Tensor:
    """Eigenvectors (B, D, D) of the Gram matrices of tracks (B, D, N): rows, large to small."""
    grams = 0
    for (block,) in blocks(tracks):
        block = block.double()
        grams = grams + block @ block.mT
    return torch.linalg.eigh(grams)[1].flip(-1).mT


def _gram(weights: Tensor, tracks: Tensor, axes: Tensor) -> Tensor:
    """Gram matrices P diag(w^2) P^T (K, D, D) of weighted, rotated tracks, in their lower half.

    The upper right block is left out: the factorisation reads the lower half alone.
    """
    half = len(tracks) // 2
    gram = axes.new_zeros(len(weights), *axes.shape)
    for block, weight in blocks(tracks, weights):
        weighted = (axes @ block.double()) * weight.double()[:, None]  # (K, D, C)
        top, bottom = weighted[:, :half], weighted[:, half:]
        gram[:, :half, :half] += top @ top.mT
        gram[:, half:] += bottom @ weighted.mT
    return gram
