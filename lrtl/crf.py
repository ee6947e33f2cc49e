"""A dense CRF on binary masks (Krähenbühl and Koltun 2011), part of some published figures."""

import numpy as np

CONFIDENCE = 0.7  # that a pixel's label is right, pydensecrf's default for labels
ITERATIONS = 10


def dense_crf(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Refine a binary mask (H, W) bool to the edges of its frame (H, W, 3) uint8, RGB.

    The kernels are those of GWM's published notebook. There the CRF starts from soft masks; here
    from the mask as it was written, every pixel with the same confidence.

    Raises:
        ValueError: pydensecrf is not installed.
    """
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError as error:
        remedy = "install it with `pip install 'lrtl[crf]'` or set evaluation.crf to none"
        raise ValueError(f"the dense CRF needs pydensecrf2 ({error}); {remedy}") from error
    height, width = mask.shape
    share = np.where(mask, CONFIDENCE, 1 - CONFIDENCE).astype(np.float32).ravel()
    field = DenseCRF2D(width, height, 2)
    field.setUnaryEnergy(-np.log(np.stack([1 - share, share])))  # (2, HW)
    field.addPairwiseGaussian(sxy=1, compat=3)
    field.addPairwiseBilateral(sxy=67, srgb=3, rgbim=np.ascontiguousarray(frame), compat=4)
    background, foreground = np.array(field.inference(ITERATIONS))  # (HW,) each
    return (foreground > background).reshape(height, width)


REFINERS = {"none": None, "gwm": dense_crf}
