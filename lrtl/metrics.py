"""Region similarity J of binary masks and its statistics over a sequence; pure functions."""

import warnings

import numpy as np

RECALL_THRESHOLD = 0.5
DECAY_BINS = 4


def jaccard(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two boolean masks (H, W); 1 if both are empty.

    Perazzi et al., "A benchmark dataset and evaluation methodology for video object segmentation",
    CVPR 2016, Sec. 5. The released LRTL code gives 0 where both are empty.
    """
    union = np.count_nonzero(prediction | truth)
    return np.count_nonzero(prediction & truth) / union if union else 1.0


def oracle_jaccard(components: np.ndarray, truth: np.ndarray) -> float:
    """The best J that any union of components reaches on a frame.

    Args:
        components: (H, W) uint8, the component of each pixel.
        truth: (H, W) bool.

    Adding a component with intersection i and surplus s to a union changes J = I / (|truth| + S)
    for the better only if i / s > J, so the best union takes components in the order of i / s, and
    it is among the prefixes of that order.
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
    """Mean, recall and decay of a sequence's J values, as DAVIS-2016 defines them.

    Recall is the share of frames above 0.5; decay is the mean of the first quarter of the frames
    minus that of the last, the quarters sharing their boundary frames.
    """
    values = np.asarray(values, float)
    bounds = np.round(np.linspace(1, len(values), DECAY_BINS + 1) + 1e-10).astype(int) - 1
    first, last = values[: bounds[1] + 1], values[bounds[-2] :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no value: all nan
        return {
            "mean": float(np.nanmean(values)),
            "recall": float(np.mean(values > RECALL_THRESHOLD)),
            "decay": float(np.nanmean(first) - np.nanmean(last)),
        }
