"""Region similarity J and boundary measure F of binary masks, their statistics, and Rand indices.

J and F are those of Perazzi et al., "A benchmark dataset and evaluation methodology for video
object segmentation", CVPR 2016, Sec. 5. Pure functions.
"""

import cv2
import numpy as np

BOUND = 0.008  # of the diagonal, the distance in px at which boundaries still match
RECALL_THRESHOLD = 0.5
DECAY_BINS = 4
BOOTSTRAPS = 10_000


def jaccard(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two boolean masks (H, W); 1 if both are empty.

    The released LRTL code gives 0 where both are empty.
    """
    union = np.count_nonzero(prediction | truth)
    return np.count_nonzero(prediction & truth) / union if union else 1.0


def boundary_measure(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Harmonic mean F of the precision and recall of a mask's boundary; masks (H, W) bool.

    Precision is the share of the prediction's boundary within 0.008 diagonals, rounded up to whole
    px, of the truth's boundary; recall is the converse. F is 1 if neither mask has a boundary.
    """
    found, wanted = boundary(prediction), boundary(truth)
    radius = int(np.ceil(BOUND * np.hypot(*truth.shape)))
    offsets = np.arange(-radius, radius + 1) ** 2
    disk = (offsets[:, None] + offsets <= radius**2).astype(np.uint8)
    precision = _share(found, cv2.dilate(wanted.view(np.uint8), disk))
    recall = _share(wanted, cv2.dilate(found.view(np.uint8), disk))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask (H, W) bool that differ from the one to the right, below or diagonally so.

    Beyond the frame its last row and column go on: a mask has no boundary along the frame's edge.
    """
    wide = np.pad(mask, (0, 1), "edge")
    right, below, across = wide[:-1, 1:], wide[1:, :-1], wide[1:, 1:]
    return (mask != right) | (mask != below) | (mask != across)


def _share(boundary: np.ndarray, near: np.ndarray) -> float:
    """Share of a boundary's pixels that are `near`; 1 of none."""
    count = np.count_nonzero(boundary)
    return np.count_nonzero(near[boundary]) / count if count else 1.0


def oracle_jaccard(components: np.ndarray, truth: np.ndarray) -> float:
    """The best J that any of the 2^K unions of K components reaches on a frame.

    Args:
        components: (H, W) uint8, the component of each pixel.
        truth: (H, W) bool.

    A component has i pixels inside the truth and s outside; a union with sums I and S has
    J = I / (|truth| + S). If J* is the best, I - J* S is at most J* |truth|, with equality for the
    best union, and it is largest for the components with i / s > J*: a prefix of the components
    in falling order of i / s. The best prefix is therefore the best union.
    """
    size = int(components.max()) + 1
    inside = np.bincount(components[truth], minlength=size)
    surplus = np.bincount(components.ravel(), minlength=size) - inside
    with np.errstate(divide="ignore", invalid="ignore"):
        order = np.argsort(-np.nan_to_num(inside / surplus, posinf=np.inf), kind="stable")
    total = np.count_nonzero(truth)
    if total == 0:
        return 1.0
    return float((np.cumsum(inside[order]) / (total + np.cumsum(surplus[order]))).max())


def statistics(values: np.ndarray) -> dict[str, float]:
    """Mean, recall and decay of a sequence's J or F, as the DAVIS-2016 evaluator computes them.

    Recall is the share of frames above 0.5; decay is the mean of the first quarter of the frames
    minus that of the last, the quarters sharing their boundary frames.

    Args:
        values: (n,) J or F of the frames that count, in order, at least one.
    """
    values = np.asarray(values, float)
    bounds = np.round(np.linspace(1, len(values), DECAY_BINS + 1) + 1e-10).astype(int) - 1
    first, last = values[: bounds[1] + 1], values[bounds[-2] :]
    return {
        "mean": float(values.mean()),
        "recall": float((values > RECALL_THRESHOLD).mean()),
        "decay": float(first.mean() - last.mean()),
    }


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean: percentiles of 10,000 means of values drawn with replacement.

    Args:
        values: (n,) one per sequence; of fewer than two the interval is not a number.

    The draws are the same every time. What differs between seeds is no part of it.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(0).integers(len(values), size=(BOOTSTRAPS, len(values)))
    low, high = np.percentile(np.asarray(values, float)[draws].mean(1), [2.5, 97.5])
    return float(low), float(high)


def adjusted_rand(labels: np.ndarray, truth: np.ndarray) -> float:
    """Adjusted Rand index (ARI) of two labellings of the same pixels, any shape; 1 if they agree.

    Hubert and Arabie, "Comparing partitions", 1985: 0 is expected of random labels with these
    cluster sizes. Give it a frame (H, W), or a video (T, H, W) where a label must last.
    """
    from sklearn.metrics import adjusted_rand_score  # a second, that others need not wait

    return float(adjusted_rand_score(truth.ravel(), labels.ravel()))


def foreground_rand(labels: np.ndarray, truth: np.ndarray) -> float:
    """ARI over the pixels that the ground truth does not call background, 0; nan without any."""
    foreground = truth > 0
    return adjusted_rand(labels[foreground], truth[foreground]) if foreground.any() else np.nan
