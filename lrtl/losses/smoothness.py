"""The temporal smoothness loss of "Learning segmentation from point trajectories", Eq. 7."""

from torch import Tensor

from lrtl.losses.trajectory import sample_masks


def smoothness_loss(
    masks: Tensor, later: Tensor, points: Tensor, later_points: Tensor, visible: Tensor
) -> Tensor:
    """Squared difference of two frames' masks along the tracks of the first (Eq. 7).

    One direction; the training sums it over both. Summed over segments, averaged over the tracks
    that are visible in both frames, then over the pairs. As in the released code the sum is over
    K and divided by 4, its number of components, whatever K is here.

    Args:
        masks: (B, K, H, W) soft masks of the frames the tracks start from.
        later: (B, K, H, W) soft masks of the other frames.
        points: (B, 2, N) where the tracks are in `masks`, (x, y) in [-1, 1] (align_corners=True).
        later_points: (B, 2, N) where they are in `later`.
        visible: (B, N) bool, whether a track is visible in both.

    Returns:
        Scalar; zero for a pair without a common track.
    """
    difference = sample_masks(masks, points) - sample_masks(later, later_points)  # (B, K, N)
    squared = difference.square().sum(1) * visible  # (B, N)
    counted = visible.sum(-1).clamp(min=1)  # (B,)
    return (squared.sum(-1) / counted).mean() / 4
