"""How steadily a foreground follows its points: what says without ground truth that it is doubtful.

Points that lie on an object stay on it. Where a foreground comes and goes, or jumps between
regions, few of the points that it holds in one frame were in it some frames before.
"""

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

DOUBTFUL = 0.4  # J of such runs on DAVIS was 13 on average, and 61 of others: see docs/products.md
Points = tuple[np.ndarray, np.ndarray]  # what `objects.read_points` returns


def stability(
    foregrounds: Iterable[np.ndarray], points_of: Callable[[int], Points], gap: int
) -> float | None:
    """Intersection over union of a foreground and that of `gap` frames before, counted in points.

    Args:
        foregrounds: masks (H, W) bool of the frames of a clip.
        points_of: frame index to what `read_points` returns for `gap`.
        gap: frames; the first frames of the clip are compared with its first.

    Returns:
        0 to 1, over all frames and the points that are visible in both; None if none is ever in
        the foreground.
    """
    inter = union = 0
    earlier: deque[np.ndarray] = deque(maxlen=gap)
    for frame, foreground in enumerate(foregrounds):
        if earlier:
            pixels, visible = points_of(frame)
            (x, y), (x0, y0) = pixels[[0, len(earlier)]][:, :, visible[[0, len(earlier)]].all(0)]
            now, then = foreground[y, x], earlier[0][y0, x0]
            inter += np.count_nonzero(now & then)
            union += np.count_nonzero(now | then)
        earlier.append(foreground)
    return inter / union if union else None
