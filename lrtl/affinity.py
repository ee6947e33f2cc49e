"""Affinity of components: how well two of them go together in a frame, from 0 to 1.

That of a component to itself means nothing and is not used.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lrtl.losses.flow import normal_equations, quadratic_basis, squared_residuals
from lrtl.models.dino import ARCHITECTURES

AFFINITIES = ("motion", *ARCHITECTURES)


def motion_affinity(masks: Tensor, flow: Tensor) -> Tensor:
    """Affinity (F, K, K) from how little the flow residual grows when two components are joined.

    Per frame, quadratic motion models are fitted to each component and to each pair; the growth of
    the squared residual over the pair's harmonic area is a squared motion distance d2 in px^2, the
    residual of single components the noise s2. The affinity is 1 / (1 + d2/s2).

    Args:
        masks: (F, K, h, w) soft masks.
        flow: (F, 2, h, w) flow to a later frame, in pixels.
    """
    height, width = flow.shape[-2:]
    basis = quadratic_basis(height, width, masks)  # (6, hw)
    weights, target = masks.double().flatten(2), flow.double().flatten(2)
    normal, moments = normal_equations(weights, target, basis)  # (F, K, 6, 6), (F, K, 6, 2)
    energy = (weights * target.square().sum(1, keepdim=True)).sum(-1)  # (F, K)
    area = weights.sum(-1).clamp(min=1e-6)  # (F, K)

    single = _residual(normal, moments, energy)  # (F, K)
    joined = _residual(_pairs(normal), _pairs(moments), _pairs(energy))  # (F, K, K)
    growth = (joined - _pairs(single)).clamp(min=0)
    harmonic = area[:, :, None] * area[:, None] / _pairs(area)
    noise = (single.sum(1) / area.sum(1)).clamp(min=1e-4)  # (F,)
    return 1 / (1 + growth / harmonic / noise[:, None, None])


def appearance_affinity(masks: Tensor, keys: Tensor, floor: float) -> Tensor:
    """Affinity (F, K, K): cosine between the mean keys of two components (GWM, Eq. 6).

    Args:
        masks: (F, K, h, w) soft masks, weights of the mean.
        keys: (F, C, h', w') of `DinoKeys`; enlarged to the masks' size.
        floor: epsilon, the smallest affinity; also that of a component without any mass.
    """
    keys = F.interpolate(keys, masks.shape[-2:], mode="bilinear")  # (F, C, h, w)
    sums = torch.einsum("fkhw,fchw->fkc", masks, keys)  # as good as means for a cosine
    directions = F.normalize(sums, dim=2)
    return (directions @ directions.mT).clamp(min=floor)


def departure(foreground: Tensor, flow: Tensor) -> Tensor:
    """How far the foreground's flow is from the background's quadratic motion model.

    Args:
        foreground: (F, h, w) soft masks.
        flow: (F, 2, h, w) flow to a later frame, in pixels.

    Returns:
        (F,) root mean square over the foreground of every frame, in pixels.
    """
    basis = quadratic_basis(*flow.shape[-2:], flow)  # (6, hw)
    inside = foreground.flatten(1)  # (F, hw)
    residuals = squared_residuals(1 - inside[:, None], flow.flatten(2), basis)  # (F, 1, hw)
    return ((inside * residuals[:, 0]).sum(1) / inside.sum(1).clamp(min=1e-6)).sqrt()


def _residual(normal: Tensor, moments: Tensor, energy: Tensor) -> Tensor:
    """Squared residual left by the least-squares models of weighted normal equations."""
    ridge = 1e-6 * torch.eye(6, dtype=normal.dtype)
    theta = torch.linalg.solve(normal + ridge, moments)  # (..., 6, 2)
    return (energy - (moments * theta).sum((-1, -2))).clamp(min=0)


def _pairs(values: Tensor) -> Tensor:
    """Sums over pairs of components: (F, K, ...) to (F, K, K, ...)."""
    return values[:, :, None] + values[:, None]
