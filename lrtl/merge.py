"""Merging K components to foreground and background, once per video and without ground truth.

Components are joined by a normalised cut (Shi and Malik 2000) of an affinity between them, a named
choice; of the two sides, the one with the smaller share of the frame's border is the foreground.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lrtl.losses.flow import quadratic_basis

BORDER = 2  # px, the width of the frame's border


def merge_components(masks: Tensor, flow: Tensor, affinity: str) -> np.ndarray:
    """Choose the foreground components of a video.

    Args:
        masks: (F, K, h, w) soft masks of its frames.
        flow: (F, 2, h, w) their flow to a later frame, in pixels.
        affinity: a key of `AFFINITIES`.

    Returns:
        (K,) bool, true for the components of the foreground; never all and never none.
    """
    side = normalised_cut(AFFINITIES[affinity](masks, flow).numpy())
    border = torch.ones(masks.shape[-2:], dtype=torch.bool)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    share = masks[:, :, border].mean((0, 2)).numpy()  # (K,)
    return side if share[side].sum() < share[~side].sum() else ~side


def motion_affinity(masks: Tensor, flow: Tensor) -> Tensor:
    """Affinity (K, K) from how little the flow residual grows when two components are joined.

    Per frame, quadratic motion models are fitted to each component and to each pair; the growth of
    the squared residual over the pair's harmonic area is a squared motion distance d2 in px^2, the
    residual of single components the noise s2. The affinity is the frames' mean of 1 / (1 + d2/s2).
    """
    height, width = flow.shape[-2:]
    basis = quadratic_basis(height, width, masks)  # (6, hw)
    weights, target = masks.double().flatten(2), flow.double().flatten(2)
    products = (basis[:, None] * basis[None]).flatten(0, 1)  # (36, hw)
    normal = (weights @ products.T).unflatten(-1, (6, 6))  # (F, K, 6, 6)
    moments = (weights[:, :, None] * target[:, None]) @ basis.T  # (F, K, 2, 6)
    energy = (weights * target.square().sum(1, keepdim=True)).sum(-1)  # (F, K)
    area = weights.sum(-1).clamp(min=1e-6)  # (F, K)

    single = _residual(normal, moments, energy)  # (F, K)
    joined = _residual(_pairs(normal), _pairs(moments), _pairs(energy))  # (F, K, K)
    growth = (joined - _pairs(single)).clamp(min=0)
    harmonic = area[:, :, None] * area[:, None] / _pairs(area)
    noise = (single.sum(1) / area.sum(1)).clamp(min=1e-4)  # (F,)
    return (1 / (1 + growth / harmonic / noise[:, None, None])).mean(0)


AFFINITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"motion": motion_affinity}


def normalised_cut(affinity: np.ndarray) -> np.ndarray:
    """The bipartition of a graph with the smallest normalised cut, of all that it has.

    Args:
        affinity: (K, K) symmetric and not negative; the diagonal is left out. 2 <= K <= 20, since
            all 2^(K-1) - 1 bipartitions are compared.

    Returns:
        (K,) bool, one of the two sides.
    """
    count = len(affinity)
    if not 2 <= count <= 20:
        raise ValueError(f"cannot compare all cuts of {count} components, 2 to 20 are possible")
    affinity = affinity * (1 - np.eye(count))
    codes = np.arange(1, 2 ** (count - 1))
    sides = (codes[:, None] >> np.arange(count)) % 2 == 1  # (cuts, K)
    cut = np.einsum("ci,ij,cj->c", sides, affinity, ~sides)
    degree = affinity.sum(1)
    volume, rest = sides @ degree, ~sides @ degree
    tiny = np.finfo(float).tiny
    return sides[np.argmin(cut / np.maximum(volume, tiny) + cut / np.maximum(rest, tiny))]


def _residual(normal: Tensor, moments: Tensor, energy: Tensor) -> Tensor:
    """Squared residual left by the least-squares models of weighted normal equations."""
    ridge = 1e-6 * torch.eye(6, dtype=normal.dtype)
    theta = torch.linalg.solve(normal + ridge, moments.mT)  # (..., 6, 2)
    return (energy - (moments.mT * theta).sum((-1, -2))).clamp(min=0)


def _pairs(values: Tensor) -> Tensor:
    """Sums over pairs of components: (F, K, ...) to (F, K, K, ...)."""
    return values[:, :, None] + values[:, None]
