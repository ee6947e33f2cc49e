"""Merging K components to foreground and background, once per video and without ground truth.

Background components should be alike and unlike the foreground's, by an affinity that is a named
choice; foreground components need not be alike, so that several objects can move on their own (a
normalised cut would keep one of them). What moves on its own seldom touches the frame's border for
the length of a video: a foreground component pays its share of the border over that of the area.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lrtl.losses.flow import quadratic_basis

BORDER = 2  # px, the width of the frame's border
ALIKE = 0.2  # affinity of two motions that are two standard deviations of the noise apart


def merge_components(masks: Tensor, flow: Tensor, affinity: str) -> np.ndarray:
    """Choose the foreground components of a video.

    Args:
        masks: (F, K, h, w) soft masks of its frames; 2 <= K <= 16, since all 2^K - 2 groupings are
            compared.
        flow: (F, 2, h, w) their flow to a later frame, in pixels.
        affinity: a key of `AFFINITIES`.

    Returns:
        (K,) bool, true for the components of the foreground; never all and never none.
    """
    count = masks.shape[1]
    if not 2 <= count <= 16:
        raise ValueError(f"cannot compare all groupings of {count} components, only of 2 to 16")
    border = torch.ones(masks.shape[-2:], dtype=torch.bool)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    share = masks[:, :, border].mean((0, 2)).numpy()  # (K,), sums to one
    area = masks.mean((0, 2, 3)).numpy()
    price = share / area.clip(1e-3)  # one where border and area are shared alike
    codes = np.arange(1, 2**count - 1)
    groupings = (codes[:, None] >> np.arange(count)) % 2 == 1  # (groupings, K)
    costs = grouping_costs(AFFINITIES[affinity](masks, flow).numpy(), groupings)
    return groupings[np.argmin(costs + groupings @ price)]


def motion_affinity(masks: Tensor, flow: Tensor) -> Tensor:
    """Affinity (K, K) from how little the flow residual grows when two components are joined.

    Per frame, quadratic motion models are fitted to each component and to each pair; the growth of
    the squared residual over the pair's harmonic area is a squared motion distance d2 in px^2, the
    residual of single components the noise s2. The affinity is the frames' mean of 1 / (1 + d2/s2);
    that of a component to itself is one.
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
    affinity = (1 / (1 + growth / harmonic / noise[:, None, None])).mean(0)
    return affinity.fill_diagonal_(1)


AFFINITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"motion": motion_affinity}


def grouping_costs(affinity: np.ndarray, groupings: np.ndarray) -> np.ndarray:
    """Cost of foregrounds: correlation clustering (Bansal et al. 2004) of the background alone.

    A pair of components costs A - ALIKE if it is parted by the grouping, ALIKE - A if both are
    background, and nothing if both are foreground.

    Args:
        affinity: (K, K), symmetric, 0 to 1.
        groupings: (n, K) bool, the foreground components.
    """
    attraction = affinity - ALIKE
    np.fill_diagonal(attraction, 0)
    parted = np.einsum("ni,ij,nj->n", groupings, attraction, ~groupings)
    return parted - np.einsum("ni,ij,nj->n", ~groupings, attraction, ~groupings) / 2


def _residual(normal: Tensor, moments: Tensor, energy: Tensor) -> Tensor:
    """Squared residual left by the least-squares models of weighted normal equations."""
    ridge = 1e-6 * torch.eye(6, dtype=normal.dtype)
    theta = torch.linalg.solve(normal + ridge, moments.mT)  # (..., 6, 2)
    return (energy - (moments.mT * theta).sum((-1, -2))).clamp(min=0)


def _pairs(values: Tensor) -> Tensor:
    """Sums over pairs of components: (F, K, ...) to (F, K, K, ...)."""
    return values[:, :, None] + values[:, None]
