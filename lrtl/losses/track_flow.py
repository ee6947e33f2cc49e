"""Tracks as flow, the alternative of "Learning segmentation from point trajectories", Sec. 5.3."""

import torch
from torch import Tensor

from lrtl.losses.flow import MODELS, monomials, squared_residuals
from lrtl.losses.trajectory import sample_segments

CENTRE = (427.0, 240.0)  # px of a 854 x 480 frame; only the rounding depends on it


def track_flow_loss(masks: Tensor, points: Tensor, tracks: Tensor, model: str) -> Tensor:
    """Flow loss (Eq. 2) of the tracks' steps from each time to the next.

    At each time every segment's model is fitted to the steps over the points' positions then; a
    track keeps the weight of its query point. Squared residuals, weighted by squared masks, are
    summed over segments and averaged over tracks, directions and times, like the flow loss's over
    pixels: a weight means the same for any N and T.

    Args:
        masks: (B, K, H, W) soft masks, any size.
        points: (B, 2, N) where the tracks are in the masks' frame, (x, y) in [-1, 1] from the
            first to the last pixel centre (align_corners=True).
        tracks: (B, T, 2, N) positions in pixels of a 854 x 480 frame.
        model: a key of `lrtl.losses.flow.MODELS`.

    Returns:
        Scalar, squared pixels a frame.
    """
    weights = sample_segments(masks, points).square()  # (B, K, N)
    steps = tracks.diff(dim=1).to(masks.dtype)  # (B, T - 1, 2, N)
    places = (tracks.double() - tracks.new_tensor(CENTRE)[:, None]) / CENTRE[0]  # (B, T, 2, N)
    residuals = torch.zeros_like(weights)
    for time in range(steps.shape[1]):
        basis = monomials(*places[:, time].unbind(1))[: MODELS[model]].movedim(0, 1)  # (B, P, N)
        residuals += squared_residuals(weights, steps[:, time], basis)
    return (weights * residuals).sum() / steps.numel()
