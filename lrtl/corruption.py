"""Corrupting ground-truth masks along three axes (appendix D of the LRTL paper)."""

import numpy as np
import torch
from torch import Tensor


def restructure(labels: np.ndarray, change: int, rng: np.random.Generator) -> np.ndarray:
    """Merge or split objects: s of the paper.

    Args:
        labels: (H, W), 0 the background.
        change: s < 0 sets |s| objects, drawn at random, to the background; s > 0 cuts s objects one
            after the other in two, along x or y at random through the middle of what they show.

    Raises:
        ValueError: there are fewer objects than are to go.
    """
    labels = labels.copy()
    objects = np.unique(labels[labels > 0])
    if len(objects) < max(-change, 1):
        raise ValueError(f"{len(objects)} objects, cannot change {change}")
    if change < 0:
        labels[np.isin(labels, rng.choice(objects, -change, replace=False))] = 0
    for _ in range(change):
        y, x = np.nonzero(labels == rng.choice(np.unique(labels[labels > 0])))
        along = (y, x)[rng.integers(2)]
        beyond = along > along.mean()
        labels[y[beyond], x[beyond]] = labels.max() + 1
    return labels


def add_noise(
    labels: np.ndarray, share: float, classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Set each pixel of labels, with probability `share`, to one of `classes` at random: eta."""
    noise = rng.integers(0, classes, labels.shape)
    return np.where(rng.random(labels.shape) < share, noise, labels)


def soften(labels: np.ndarray, classes: int, logit: float, temperature: float) -> Tensor:
    """Soft masks (K, H, W) of labels (H, W): softmax(l / tau), `logit` at the label and 0 else."""
    masks = torch.nn.functional.one_hot(torch.from_numpy(labels).long(), classes).double()
    return (masks.permute(2, 0, 1) * logit / temperature).softmax(0)
