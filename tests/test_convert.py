"""A released checkpoint as a run: the same network, whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lrtl import runs
from lrtl.__main__ import parser
from lrtl.convert import convert
from lrtl.files import sha256_of, whole_file
from lrtl.predict import SHARES, predict_paths
from lrtl.runs import load_run
from tests.models.test_released import checkpoint, model  # noqa: F401, fixtures


@pytest.fixture
def backbone(tiny_backbones) -> str:
    return str(tiny_backbones["maskformer_dino"])


@pytest.fixture
def run(checkpoint, backbone, tmp_path):  # noqa: F811
    """What the verb makes."""
    command = ["convert", str(checkpoint), "--backbone-weights", backbone]
    arguments = parser().parse_args([*command, "-o", str(tmp_path / "run")])
    arguments.run(arguments)
    return tmp_path / "run"


def test_a_run_is_the_network_it_came_from(run, model, checkpoint, backbone):  # noqa: F811
    names = ["config.yaml", "config.yaml.sha256"]
    names += ["weights.safetensors", "weights.safetensors.sha256"]
    assert sorted(os.listdir(run)) == names
    loaded, network, losses = load_run(run, backbone)
    frames = 255 * torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(loaded(frames), model(frames))
    assert (network.components, network.input_size, losses.flow_clip) == (4, (192, 352), 20)
    about = yaml.safe_load((run / "config.yaml").read_text())["checkpoint"]
    assert about == {"name": "davis_best_ckpt.pth", "sha256": sha256_of(checkpoint)}


def test_predict_needs_shares_of_its_components(run, backbone, tmp_path):
    Image.fromarray(np.zeros((60, 98, 3), np.uint8)).save(tmp_path / "photo.png")
    inputs = run, [tmp_path / "photo.png"], tmp_path / "out", backbone
    with pytest.raises(ValueError, match=r"foreground.csv is missing.*`lrtl masks` and `lrtl fore"):
        predict_paths(*inputs)
    with whole_file(run / SHARES) as path:
        path.write_text("component,sequences,share\n0,1,0.9\n")
    predict_paths(*inputs)
    assert Image.open(tmp_path / "out/photo/00000.png").size == (98, 60)


def test_what_is_there_is_not_replaced(checkpoint, backbone, tmp_path):  # noqa: F811
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match=r"/run is there already; remove it, or name another"):
        convert(checkpoint, tmp_path / "run", backbone)
    assert not os.listdir(tmp_path / "run")


def test_a_run_is_whole_or_not_there(checkpoint, backbone, tmp_path, monkeypatch):  # noqa: F811
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(
        ValueError, match=r"dino_\w+.pth does not fit the released .*fetch it again"
    ):
        convert(Path(backbone), tmp_path / "run", backbone)
    with pytest.raises(ValueError, match=r"none.pth is not a torch checkpoint .*expected davis_be"):
        convert(tmp_path / "none.pth", tmp_path / "run", backbone)
    with pytest.raises(ValueError, match=r"davis_\w+.pth is not .*expected DINO's dino_vitbase8"):
        convert(checkpoint, tmp_path / "run", str(checkpoint))

    def full(weights):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "save", full)
    with pytest.raises(OSError, match="No space left"):
        convert(checkpoint, tmp_path / "run", backbone)
    assert sorted(os.listdir(tmp_path)) == before
