"""Training on a rendered sequence: resumed runs, diverging ones, schedules and averages."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from threading import Event

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from lrtl import train as module
from lrtl.config import NetworkConfig, to_flags
from lrtl.methods import NETWORKS
from lrtl.runs import load_run, settings_text
from lrtl.samples import Motion
from lrtl.train import ema_decay, learning_rate, parameter_groups, train
from tests.small import LOSSES, NETWORK, TRAINING

PRODUCTS = ("weights.safetensors", "metrics.csv", "config.yaml")


@pytest.fixture(scope="module")
def undisturbed(motions, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "seed0"
    train(motions, NETWORK, LOSSES, TRAINING, 0, out)
    return out


def test_a_killed_run_resumes_to_the_same_bytes(motions, undisturbed, tmp_path, monkeypatch):
    original, calls = module.loss_terms, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, "loss_terms", killed)
    out = tmp_path / "seed0"
    with pytest.raises(KeyboardInterrupt):
        train(motions, NETWORK, LOSSES, TRAINING, 0, out)
    assert not out.exists()
    assert (tmp_path / "seed0.checkpoint").exists()
    train(motions, NETWORK, LOSSES, TRAINING, 0, out)
    assert len(calls) == 8 + 12 - 5  # from the checkpoint after five steps
    for name in PRODUCTS:
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert not (tmp_path / "seed0.checkpoint").exists()


def test_a_run_told_to_stop_loses_no_step(motions, undisturbed, tmp_path, monkeypatch):
    original, calls, stop = module.loss_terms, [], Event()

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 8:
            stop.set()
        return original(*arguments)

    monkeypatch.setattr(module, "loss_terms", stopped)
    out = tmp_path / "seed0"
    with pytest.raises(InterruptedError, match="goes on from step 8"):
        train(motions, NETWORK, LOSSES, TRAINING, 0, out, stop)
    train(motions, NETWORK, LOSSES, TRAINING, 0, out)
    assert len(calls) == 12
    for name in PRODUCTS:
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_sigterm_to_every_process_of_a_job(motions, comet, tmp_path):
    """As a scheduler sends it, to bash, `tee` and the process that reads batches, too."""
    training = replace(TRAINING, steps=20, checkpoint_every=2, workers=1)
    train(motions, NETWORK, LOSSES, training, 0, tmp_path / "whole")
    out, checkpoint = tmp_path / "seed0", tmp_path / "seed0.checkpoint"
    motion = f"--flow {motions[0].flow.path} --tracks {motions[0].tracks.path}"
    configs = (NETWORK, LOSSES, training)
    stages = [yaml.safe_load(settings_text(asdict(config))) for config in configs]
    del stages[0]["backbone_weights"]  # of a U-Net there are none
    settings = " ".join(map(to_flags, stages))
    command = f"""set -o pipefail; trap '' TERM
        {sys.executable} -m lrtl train --sequences {comet.folder} {motion} --out {out} --seed 0 \
        --threads {torch.get_num_threads()} {settings} 2>&1 | tee {tmp_path / "log"}"""
    job = subprocess.Popen(["bash", "-c", command], start_new_session=True)
    while not checkpoint.exists():
        assert job.poll() is None
        time.sleep(0.01)
    os.killpg(job.pid, signal.SIGTERM)
    assert job.wait(timeout=30) == 1
    assert re.search("lrtl train: stopped; .* step [0-9]+$", (tmp_path / "log").read_text())
    train(motions, NETWORK, LOSSES, training, 0, out)
    for name in PRODUCTS:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_batches_read_ahead_give_the_same_bytes(motions, undisturbed, tmp_path, monkeypatch):
    """Two worker processes, killed and resumed with one, against none."""
    original, calls = module.loss_terms, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, "loss_terms", killed)
    out = tmp_path / "seed0"
    with pytest.raises(KeyboardInterrupt):
        train(motions, NETWORK, LOSSES, replace(TRAINING, workers=2), 0, out)
    train(motions, NETWORK, LOSSES, replace(TRAINING, workers=1), 0, out)
    assert len(calls) == 8 + 12 - 5
    for name in PRODUCTS:
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_a_checkpoint_of_other_settings_is_not_resumed(motions, tmp_path, monkeypatch, capsys):
    out = tmp_path / "seed0"

    def stop(*arguments):
        raise KeyboardInterrupt

    saved = module.update_average
    monkeypatch.setattr(module, "update_average", lambda *a: saved(*a) if a[2] == 0 else stop())
    with pytest.raises(KeyboardInterrupt):
        train(motions, NETWORK, LOSSES, TRAINING, 0, out)
    monkeypatch.undo()
    train(motions, NETWORK, LOSSES, replace(TRAINING, learning_rate=2e-3), 0, out)
    assert "other settings" in capsys.readouterr().out


def test_a_damaged_checkpoint_costs_only_its_progress(motions, undisturbed, tmp_path, capsys):
    (tmp_path / "seed0.checkpoint").write_bytes(b"damaged")
    train(motions, NETWORK, LOSSES, TRAINING, 0, tmp_path / "seed0")
    assert "seed0.checkpoint is damaged: starting anew" in capsys.readouterr().out
    for name in PRODUCTS:
        assert (tmp_path / "seed0" / name).read_bytes() == (undisturbed / name).read_bytes()


def test_seeds_differ_and_products_open(motions, undisturbed, tmp_path):
    train(motions, NETWORK, LOSSES, TRAINING, 1, tmp_path / "seed1")
    first, second = (load_file(f / PRODUCTS[0]) for f in (undisturbed, tmp_path / "seed1"))
    assert any(not torch.equal(first[name], second[name]) for name in first)
    rows = np.genfromtxt(undisturbed / "metrics.csv", delimiter=",", names=True)
    assert rows["step"].tolist() == list(range(12))
    weighted = 0.03 * rows["flow"] + 5e-5 * rows["trajectory"] + 0.1 * rows["smoothness"]
    np.testing.assert_allclose(rows["loss"], weighted, rtol=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run(motions, tmp_path, monkeypatch):
    def diverged(masks, *arguments):
        return {"loss": masks.sum() * float("nan")}

    monkeypatch.setattr(module, "loss_terms", diverged)
    with pytest.raises(FloatingPointError, match="step 0: loss nan"):
        train(motions, NETWORK, LOSSES, TRAINING, 0, tmp_path / "seed0")
    assert not (tmp_path / "seed0").exists()


def test_a_run_that_diverges_names_the_step_and_keeps_the_checkpoint_before(
    motions, undisturbed, tmp_path, monkeypatch
):
    """It diverges at step 7, is read before it would be saved at 10, and goes on from 5."""
    original = module.loss_terms

    def diverged(masks, batch, losses, step):
        terms = original(masks, batch, losses, step)
        return terms | {"loss": terms["loss"] * (float("nan") if step == 7 else 1)}

    monkeypatch.setattr(module, "loss_terms", diverged)
    out = tmp_path / "seed0"
    with pytest.raises(FloatingPointError, match="step 7: loss nan, gradient norm nan"):
        train(motions, NETWORK, LOSSES, TRAINING, 0, out)
    monkeypatch.undo()
    train(motions, NETWORK, LOSSES, TRAINING, 0, out)
    for name in PRODUCTS:
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_when_losses_are_read_changes_nothing(motions, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "READ_EVERY", 1)
    train(motions, NETWORK, LOSSES, TRAINING, 0, tmp_path / "seed0")
    for name in PRODUCTS:
        assert (tmp_path / "seed0" / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_without_averaging_the_last_weights_are_saved(motions, tmp_path):
    """As an average that is copied at every step, also from a checkpoint on."""
    copied = replace(TRAINING, ema_every=1, ema_warmup=100, steps=6)
    for name, training in (("off", replace(copied, ema_every=0)), ("copied", copied)):
        train(motions, NETWORK, LOSSES, training, 0, tmp_path / name)
    off, last = ((tmp_path / n / PRODUCTS[0]).read_bytes() for n in ("off", "copied"))
    assert off == last


def maskformer(network, motions, comet, backbones):
    """Settings of a network, and the motion at its input size."""
    config = NetworkConfig(network, 64, 3, (32, 64), "released", str(backbones[network]))
    return [Motion.load(comet, motions[0].flow, motions[0].tracks, (32, 64))], config


@pytest.mark.parametrize("network", ["maskformer_dino", "maskformer_swin", "maskformer_resnet"])
def test_a_maskformer_is_loaded_with_its_backbone(
    network, motions, comet, tiny_backbones, tmp_path
):
    motion, config = maskformer(network, motions, comet, tiny_backbones)
    train(motion, config, LOSSES, replace(TRAINING, steps=1), 0, tmp_path / "run")
    model, loaded, _ = load_run(tmp_path / "run", config.backbone_weights)
    weights = load_file(tmp_path / "run/weights.safetensors")
    assert loaded == config
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert (network != "maskformer_dino") == any(name.startswith("backbone") for name in weights)
    with pytest.raises(ValueError, match="backbone_weights is None"):
        load_run(tmp_path / "run")
    others = [path for name, path in tiny_backbones.items() if name != network]
    with pytest.raises(
        ValueError, match=r"was made on backbone weights of sha256 \w+, .*\.pth has"
    ):
        load_run(tmp_path / "run", str(others[0]))


def test_dropout_resumes_too(motions, comet, tiny_backbones, tmp_path, monkeypatch):
    motion, config = maskformer("maskformer_dino", motions, comet, tiny_backbones)
    training = replace(TRAINING, steps=2, checkpoint_every=1)
    train(motion, config, LOSSES, training, 0, tmp_path / "whole")
    original, calls = module.loss_terms, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, "loss_terms", killed)
    with pytest.raises(KeyboardInterrupt):
        train(motion, config, LOSSES, training, 0, tmp_path / "killed")
    train(motion, config, LOSSES, training, 0, tmp_path / "killed")
    for name in PRODUCTS:
        whole, resumed = (tmp_path / run / name for run in ("whole", "killed"))
        assert whole.read_bytes() == resumed.read_bytes()


def test_weights_decay_and_the_rest_does_not(tiny_backbones):
    def names(model, index):
        of = {id(p): name for name, p in model.named_parameters()}
        return {of[id(p)] for p in parameter_groups(model, 0.01)[index]["params"]}

    unet = NETWORKS["unet"](NETWORK)
    assert names(unet, 0) == {n for n, p in unet.named_parameters() if p.ndim > 1}
    assert names(unet, 1) == {n for n, p in unet.named_parameters() if p.ndim <= 1}
    for network in ("maskformer_swin", "maskformer_resnet"):
        path = str(tiny_backbones[network])
        model = NETWORKS[network](NetworkConfig(network, 64, 3, (32, 64), "released", path))
        groups = names(model, 0), names(model, 1)
        assert groups[0] | groups[1] == {n for n, p in model.named_parameters() if p.requires_grad}
        assert "transformer.layers.3.self_attn.in_proj_weight" in groups[0]
        assert "transformer.queries.weight" in groups[1]
        assert not any("norm" in n or "bias" in n for n in groups[0])


def test_schedules():
    training = replace(TRAINING, warmup_steps=10, decay_steps=100, decay_power=1.0, ema_warmup=10)
    assert learning_rate(0, training) == pytest.approx(1e-4)
    assert learning_rate(50, training) == pytest.approx(5e-4)
    assert ema_decay(10, training) == 0
    assert ema_decay(11, training) == 0
    assert ema_decay(18, training) == pytest.approx(1 - 8**-0.6667)
