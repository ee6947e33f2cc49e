"""K-means and subspace clustering of a frame's trajectories, as the LRTL paper runs them (E.4)."""

import warnings
from collections.abc import Iterable

import numpy as np
from sklearn.cluster import KMeans
from sklearn.manifold import spectral_embedding
from sklearn.neighbors import KNeighborsClassifier

from lrtl.baselines.subspace import least_squares, low_rank, sparse
from lrtl.config import MoviConfig


def cluster(tracks: np.ndarray, method: str, config: MoviConfig) -> np.ndarray:
    """Cluster a frame's trajectories once for each number of clusters in the config.

    Args:
        tracks: (T, 2, H, W) float32, in frame widths and heights, a trajectory for each pixel.
        method: a key of `METHODS`.

    Returns:
        Labels (C, H, W) uint8 for the C numbers of clusters. Subspace clustering takes every
        `stride`-th trajectory in x and y, n in all, and n x n matrices (see `subspace`); the others
        get the label of the nearest of these, by distance over all T positions.
    """
    frames, _, height, width = tracks.shape
    everything = tracks.reshape(2 * frames, -1).T  # (HW, 2T)
    if method == "kmeans":
        offsets = (tracks - tracks[:1]).reshape(2 * frames, -1).T  # (HW, 2T)
        labels = _kmeans((offsets for _ in config.clusters), config.clusters)
        return np.stack(labels).reshape(-1, height, width)
    chosen = tracks[:, :, :: config.stride, :: config.stride].reshape(2 * frames, -1)  # (2T, n)
    labels = spectral(METHODS[method](chosen, config), config.clusters)
    if config.stride > 1:
        nearest = KNeighborsClassifier(1).fit(chosen.T, np.stack(labels, 1))
        labels = nearest.predict(everything).T
    return np.stack(labels).reshape(-1, height, width)


def spectral(coefficients: np.ndarray, counts: tuple[int, ...]) -> list[np.ndarray]:
    """Spectral clustering of |C| + |C|^T into each number of clusters; labels (n,) each."""
    affinity = np.abs(coefficients) + np.abs(coefficients).T
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Graph is not fully connected")
        axes = spectral_embedding(
            affinity, n_components=max(counts), drop_first=False, random_state=0
        )
    return _kmeans((axes[:, :count] for count in counts), counts)


def _kmeans(points: Iterable[np.ndarray], counts: tuple[int, ...]) -> list[np.ndarray]:
    """K-means labels of points (n, D), one set of points for each number of clusters."""
    return [
        KMeans(count, n_init=4, random_state=0).fit_predict(x).astype(np.uint8)
        for x, count in zip(points, counts, strict=True)
    ]


METHODS = {  # trajectories (2T, n) to coefficients (n, n)
    "ssc": lambda data, c: sparse(data, c.ssc_alpha, c.ssc_subspaces == "affine"),
    "lrr": lambda data, c: low_rank(data, c.lrr_penalty, c.lrr_growth, c.lrr_iterations),
    "lsr": lambda data, c: least_squares(data, c.lsr_penalty),
}
