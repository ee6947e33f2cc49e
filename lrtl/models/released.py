"""Checkpoints the authors released: MaskFormer over DINO's keys, trained on a data set each.

Published under the names in `lrtl/datasets/fetch.py`, in detectron2's format, without DINO's
weights. Ground truth chose the step they are of.
"""

from pathlib import Path

import numpy as np
import torch

from lrtl.models.maskformer import MaskFormer
from lrtl.weights import load_weights, renamed

NAMES = {
    r"criterion\.": None,
    r".*\.mask_querie_comb\.": None,  # never used
    r".*\.mask_features\.\d\.norm\.": None,  # all are the pyramid's coarsest
    r"sem_seg_head\.(pixel_decoder|predictor)\.": "",
    r"adapter_1": "pyramid.laterals.0",
    r"adapter_2": "pyramid.laterals.1",
    r"adapter_3": "pyramid.laterals.2",
    r"layer_1": "pyramid.outputs.0",
    r"layer_2": "pyramid.outputs.1",
    r"layer_3": "pyramid.outputs.2",
    r"layer_4": "pyramid.outputs.3",
    r"(pyramid\.\w+\.\d)\.weight": r"\1.0.weight",
    r"(pyramid\.\w+\.\d)\.norm": r"\1.1",
    r"mask_features\.0": "upsampling.convolutions.0",
    r"mask_features\.2": "upsampling.convolutions.1",
    r"mask_features\.3": "upsampling.convolutions.2",
    r"mask_features\.5": "upsampling.convolutions.3",
    r"mask_features\.6": "mask_features",
    r"transformer\.decoder": "transformer",
    r"input_proj": "transformer.project",
    r"query_embed": "transformer.queries",
    r"mask_embed\.layers\.0": "transformer.embed.0",
    r"mask_embed\.layers\.1": "transformer.embed.2",
    r"mask_embed\.layers\.2": "transformer.embed.4",
}
RANDOM_STATE = [  # of numpy, which the checkpoints hold too
    np._core.multiarray._reconstruct,
    np._core.multiarray.scalar,
    (np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),  # numpy 1's name
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    np.ndarray,
    np.dtype,
    np.dtypes.UInt32DType,
    np.dtypes.Float64DType,
]


def load_released(model: MaskFormer, path: Path) -> MaskFormer:
    """Load a checkpoint of the authors into a network of `decoder` released over `FrozenDino`.

    These are the weights at that step, not their average, as in the released evaluation.

    Raises:
        ValueError: the file is not such a checkpoint.
    """
    with torch.serialization.safe_globals(RANDOM_STATE):
        return load_weights(
            model,
            path,
            "the released MaskFormer",
            "davis_best_ckpt.pth, stv2_best_ckpt.pth or fbms_best_ckpt.pth",
            lambda state: renamed(state, NAMES),
        )
