"""Region similarity J of binary masks, its statistics, and Rand indices; pure functions."""

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
    """Mean, recall and decay of a sequence's J values, as the DAVIS-2016 evaluator computes them.

    Recall is the share of frames above 0.5; decay is the mean of the first quarter of the frames
    minus that of the last, the quarters sharing their boundary frames. Perazzi et al. 2016, Sec. 5.

    Args:
        values: (F,) J of the frames that count, in order, at least one.
    """
    values = np.asarray(values, float)
    bounds = np.round(np.linspace(1, len(values), DECAY_BINS + 1) + 1e-10).astype(int) - 1
    first, last = values[: bounds[1] + 1], values[bounds[-2] :]
    return {
        "mean": float(values.mean()),
        "recall": float((values > RECALL_THRESHOLD).mean()),
        "decay": float(first.mean() - last.mean()),
    }


def adjusted_rand(labels: np.ndarray, truth: np.ndarray) -> float:
    """Adjusted Rand index (ARI) of two labellings of the same pixels, any shape; 1 if they agree.

    Hubert and Arabie, "Comparing partitions", 1985: 0 is expected of random labels with these
    cluster sizes. Give it a frame (H, W), or a video (T, H, W) where a label must last.
    """
    from sklearn.metrics import adjusted_rand_score  # here, as it takes a second to import

    return float(adjusted_rand_score(truth.ravel(), labels.ravel()))


def foreground_rand(labels: np.ndarray, truth: np.ndarray) -> float:
    """ARI over the pixels that the ground truth does not call background, 0; nan without any."""
    foreground = truth > 0
    return adjusted_rand(labels[foreground], truth[foreground]) if foreground.any() else np.nan
