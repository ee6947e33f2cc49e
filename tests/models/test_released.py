"""The authors' checkpoints: their names, and what else the files hold."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from lrtl.models.backbones import FrozenDino
from lrtl.models.maskformer import MaskFormer
from lrtl.models.released import load_released
from tests.models.published import K, as_released, lrtl_checkpoint


@pytest.fixture
def model(tiny_backbones) -> MaskFormer:
    """Over keys of 16 channels; norms and biases are random, too."""
    torch.manual_seed(0)
    model = MaskFormer(FrozenDino(tiny_backbones["maskformer_dino"]), K, "released").eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter)
    return model


@pytest.fixture
def checkpoint(model, tmp_path):
    """The network as detectron2 saves it; what is never used is zero."""
    shapes = lrtl_checkpoint(channels=16)
    state = {name: torch.zeros(shape) for name, shape in shapes.items()} | as_released(model)
    assert {name: tuple(value.shape) for name, value in state.items()} == shapes
    rng = {"python": random.getstate(), "numpy": np.random.get_state()}
    extras = {"random_state": rng, "iteration": 4999, "IoU": np.float64(0.82)}
    torch.save({"model": state, **extras}, tmp_path / "davis_best_ckpt.pth")
    return tmp_path / "davis_best_ckpt.pth"


def test_every_weight_is_taken(model, checkpoint, tiny_backbones):
    fresh = MaskFormer(FrozenDino(tiny_backbones["maskformer_dino"]), K, "released")
    loaded = load_released(fresh, checkpoint).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded[name], value), name


def test_other_files_are_refused(model, checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=False)["model"]
    del state["sem_seg_head.predictor.query_embed.weight"]
    torch.save({"model": state}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth does not fit the released MaskFormer"):
        load_released(model, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("<html>")
    with pytest.raises(ValueError, match=r"text.pth is not a torch checkpoint"):
        load_released(model, tmp_path / "text.pth")
