"""Clustering of a frame's trajectories, on ones whose groups are known."""

import numpy as np
import pytest
import yaml

from lrtl.baselines.clustering import METHODS, cluster, spectral
from lrtl.config import MoviConfig
from lrtl.metrics import adjusted_rand
from tests.test_config import ROOT


def settings(**changes) -> MoviConfig:
    """The defaults, changed."""
    values = yaml.safe_load((ROOT / "config.yaml").read_text())["movi"] | changes
    return MoviConfig(**values | {"clusters": tuple(values["clusters"])})


def moving_patches(size=24, frames=12):
    """Tracks (T, 2, H, W) of a background and two patches that turn and scale differently."""
    rng = np.random.default_rng(0)
    labels = np.zeros((size, size), int)
    labels[3:12, 3:12], labels[12:22, 10:22] = 1, 2
    grid = np.mgrid[:size, :size][::-1].reshape(2, -1) / size
    tracks = np.empty((frames, 2, size * size), np.float32)
    for group in range(3):
        on = labels.ravel() == group
        walk = np.cumsum(rng.standard_normal((frames, 2, 2)) * 0.12, 0)
        walk -= walk[:1]
        shift = np.cumsum(rng.standard_normal((frames, 2, 1)) * 0.1, 0)
        tracks[:, :, on] = (np.eye(2) + walk) @ grid[:, on] + shift - shift[:1]
    return tracks.reshape(frames, 2, size, size), labels


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_subspaces_of_exact_trajectories_are_found(method, stride):
    tracks, labels = moving_patches()
    found = cluster(tracks, method, settings(clusters=[2, 3], stride=stride))
    assert found.shape == (2, *labels.shape)
    assert found.dtype == np.uint8
    assert [len(np.unique(maps)) for maps in found] == [2, 3]
    assert adjusted_rand(found[1], labels) > 0.8


def test_k_means_sees_offsets_not_places():
    tracks, labels = moving_patches()
    translations = tracks[:, :, :1, :1] * np.array([0, 1, -2])[labels]
    tracks = tracks[:1] + translations - translations[:1]
    found = cluster(tracks.astype(np.float32), "kmeans", settings(clusters=[3]))[0]
    assert adjusted_rand(found, labels) == 1


def test_spectral_clustering_of_blocks():
    coefficients = np.kron(np.eye(4), np.ones((6, 6))) + 1e-3
    two, four = spectral(coefficients, (2, 4))
    assert len(np.unique(two)) == 2
    assert adjusted_rand(four, np.repeat(np.arange(4), 6)) == 1
