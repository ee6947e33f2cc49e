"""Merging K components to foreground and background without ground truth, per video or frame.

Both groupings start from an affinity of components and end with the frame's border: what moves on
its own seldom touches it for the length of a video, so that the foreground's share of the border
over its share of the area should be low.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lrtl.config import CLUSTERED

BORDER = 2  # px, the width of the frame's border
ALIKE = 0.2  # affinity of two motions that are two standard deviations of the noise apart
DECISIONS = ("video", "frame")


def merge_components(masks: Tensor, affinity: Tensor, grouping: str, decision: str) -> np.ndarray:
    """Choose the foreground components of a video, once or in every frame.

    Args:
        masks: (F, K, h, w) soft masks of its frames, K >= 2.
        affinity: (F, K, K) affinity of components in these frames.
        grouping: a key of `GROUPINGS`.
        decision: one of `DECISIONS`; `video` averages affinity, border and area over frames.

    Returns:
        (1, K) or (F, K) bool, true for the components of the foreground; never all and never none.
    """
    frames = range(len(masks))
    units = [slice(None)] if decision == "video" else [slice(t, t + 1) for t in frames]
    border = torch.ones(masks.shape[-2:], dtype=torch.bool)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    foreground = []
    for unit in units:
        share = masks[unit][:, :, border].mean((0, 2)).numpy()  # (K,), sums to one
        area = masks[unit].mean((0, 2, 3)).numpy()
        foreground.append(GROUPINGS[grouping](affinity[unit].mean(0).numpy(), share, area))
    return np.stack(foreground)


def correlation_clustering(affinity: np.ndarray, share: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Foreground (K,) of the lowest cost, a price for each of its components added.

    Background components should be alike and unlike the foreground's; foreground components need
    not be alike, so that several objects can move on their own. All 2^K - 2 groupings are compared.
    What counts as alike was set for motion; DINO's keys have not been tried.

    Args:
        affinity: (K, K), symmetric, 0 to 1; 2 <= K <= `CLUSTERED`.
        share: (K,) each component's share of the frame's border.
        area: (K,) and of its area.
    """
    count = len(area)
    if not 2 <= count <= CLUSTERED:
        expected = f"only of 2 to {CLUSTERED}"
        raise ValueError(f"cannot compare all groupings of {count} components, {expected}")
    price = share / area.clip(1e-3)  # one where border and area are shared alike
    codes = np.arange(1, 2**count - 1)
    groupings = (codes[:, None] >> np.arange(count)) % 2 == 1  # (groupings, K)
    return groupings[np.argmin(grouping_costs(affinity, groupings) + groupings @ price)]


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


def normalised_cut(affinity: np.ndarray, share: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Foreground (K,): of the two sides of a normalised cut, the one with less of the border.

    Both sides should be alike within themselves, so that one of two objects that move apart is
    lost. The cut is the papers' spectral clustering; they let ground truth choose the side.
    Components without area have no part in the cut; if only one has any, they are the foreground.

    Args:
        affinity: (K, K), symmetric, above 0.
        share: (K,) each component's share of the frame's border.
        area: (K,) and of its area.
    """
    from sklearn.cluster import SpectralClustering  # a second, that others need not wait

    present = np.flatnonzero(area)
    labels = np.arange(len(present)) == 0
    if len(present) > 2:
        cut = SpectralClustering(n_clusters=2, affinity="precomputed", random_state=0)
        labels = cut.fit_predict(affinity[np.ix_(present, present)])
    side = np.zeros(len(area), bool)
    side[present] = labels
    prices = [share[s].sum() / area[s].sum().clip(1e-12) for s in (side, ~side)]
    return side if prices[0] < prices[1] else ~side


GROUPINGS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "correlation_clustering": correlation_clustering,
    "normalised_cut": normalised_cut,
}
