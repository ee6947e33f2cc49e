"""The authors' checkpoints: their names, and what else the files hold."""

import random

import numpy as np
import pytest
import torch

from lrtl.models.maskformer import MaskFormer
from lrtl.models.released import load_released
from tests.models.published import K, lrtl_checkpoint
from tests.models.test_maskformer import DINO, Maps


@pytest.fixture
def model():
    backbone = Maps(**DINO)
    backbone.channels = [768] * 4
    return MaskFormer(backbone, K, "released")


@pytest.fixture
def checkpoint(tmp_path):
    """As detectron2 saves it, with random weights."""
    state = {name: torch.randn(shape) for name, shape in lrtl_checkpoint().items()}
    coarsest = "sem_seg_head.pixel_decoder.layer_4.norm"
    for name in state:
        if "mask_features" in name and ".norm." in name:
            state[name] = state[f"{coarsest}.{name.rpartition('.')[2]}"]  # one instance
    rng = {"python": random.getstate(), "numpy": np.random.get_state()}
    extras = {"random_state": rng, "iteration": 4999, "IoU": np.float64(0.82)}
    torch.save({"model": state, **extras}, tmp_path / "davis_best_ckpt.pth")
    return tmp_path / "davis_best_ckpt.pth"


def test_every_weight_is_taken(model, checkpoint):
    state = torch.load(checkpoint, weights_only=False)["model"]
    load_released(model, checkpoint)
    ours = sum(p.numel() for p in model.parameters())
    unused = ("criterion", "mask_querie_comb")
    used = {n: v for n, v in state.items() if not any(word in n for word in unused)}
    assert ours == sum(v.numel() for v in {v.data_ptr(): v for v in used.values()}.values())
    pixels, predictor = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
    for name, value in {
        pixels + "adapter_2.weight": model.pyramid.laterals[1][0].weight,
        pixels + "layer_3.norm.bias": model.pyramid.outputs[2][1].bias,
        pixels + "mask_features.5.norm.weight": model.upsampling.norm[0].weight,
        pixels + "mask_features.3.weight": model.upsampling.convolutions[2].weight,
        predictor + "mask_embed.layers.1.weight": model.transformer.embed[2].weight,
    }.items():
        assert torch.equal(state[name], value), name


def test_other_files_are_refused(model, checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=False)["model"]
    del state["sem_seg_head.predictor.query_embed.weight"]
    torch.save({"model": state}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth does not fit the released MaskFormer"):
        load_released(model, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("<html>")
    with pytest.raises(ValueError, match=r"text.pth is not a torch checkpoint"):
        load_released(model, tmp_path / "text.pth")
