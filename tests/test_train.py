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
from safetensors.torch import load_file

from lrtl import train as module
from lrtl.config import FlowConfig, LossConfig, NetworkConfig, TrainConfig, to_flags
from lrtl.losses import flow_loss
from lrtl.masks import load_run
from lrtl.methods import NETWORKS
from lrtl.motion.flow import estimate_flow
from lrtl.motion.reading import moving_average, read_flow, read_tracks
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.tracks import track_sequence
from lrtl.samples import Motion, Quads
from lrtl.train import ema_decay, learning_rate, loss_terms, parameter_groups, train
from tests.conftest import tracks_config

NETWORK = NetworkConfig("unet", width=4, components=3, input_size=(48, 80), decoder="paper")
LOSSES = LossConfig(
    flow_weight=0.03,
    trajectory_weight=5e-5,
    smoothness_weight=0.1,
    reconstruction_weight=0.0,
    perspective_weight=0.0,
    track_flow_weight=0.0,
    flow_loss="released",
    flow_model="quadratic",
    over_components="mean",
    smoothness_ramp=0,
    flow_size=(48, 80),
    flow_clip=20.0,
    flow_centre="none",
    rank=5,
    track_count=64,
    track_visibility=0.7,
    track_filter=3,
    neighbours=0,
    context=6,
)
TRAINING = TrainConfig(
    steps=12,
    quads=1,
    quad_gaps=(1,),
    quad_offset=5,
    flows_per_image=1,
    learning_rate=1e-3,
    weight_decay=1e-4,
    warmup_steps=4,
    decay_steps=100,
    decay_power=0.9,
    gradient_clip=5.0,
    ema_power=0.6667,
    ema_warmup=4,
    ema_every=2,
    flip=0.5,
    precision="float32",
    checkpoint_every=5,
    workers=0,
)
PRODUCTS = ("weights.safetensors", "metrics.csv", "config.yaml")


@pytest.fixture(scope="module")
def motions(comet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("motion")
    estimate_flow(comet, FlowConfig("dis", (90, 160), (-1, 1), 1, "float32"), folder / "flow.zarr")
    flow = FlowStore.open(folder / "flow.zarr")
    track_sequence(folder / "flow.zarr", tracks_config(radius=6, stride=8), folder / "tracks.zarr")
    tracks = TrackStore.open(folder / "tracks.zarr")
    return [Motion.load(comet, flow, tracks, NETWORK.input_size)]


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
    stages = [module._plain(asdict(stage)) for stage in (NETWORK, LOSSES, training)]
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
    assert "cannot be read" in capsys.readouterr().out
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


def test_two_flows_per_image_are_of_two_gaps(motions):
    """The first and all else are drawn as ever; where there is one gap alone it counts twice."""
    single = Quads(motions, LOSSES, TRAINING)
    quads = Quads(motions, LOSSES, replace(TRAINING, flows_per_image=2))
    rng = np.random.default_rng(0)
    middle = quads._image(rng, 0, 5, 1, 5, flip=False)
    np.testing.assert_array_equal(middle["flow"], quads._flow(0, 5, 1))
    np.testing.assert_array_equal(middle["second_flow"], quads._flow(0, 5, -1))
    first = quads._image(rng, 0, 0, 1, 5, flip=True)
    np.testing.assert_array_equal(first["second_flow"], first["flow"])
    pair, alone = (q._image(np.random.default_rng(1), 0, 5, 1, 5, True) for q in (quads, single))
    assert set(pair) - set(alone) == {"second_flow"}
    for key, value in alone.items():
        np.testing.assert_array_equal(pair[key], value)
    mirrored = -quads._flow(0, 5, -1)[0, :, ::-1]
    np.testing.assert_array_equal(pair["second_flow"][0], mirrored)


def test_batches_depend_on_seed_and_step_alone(motions):
    def draw():
        quads = Quads(motions, LOSSES, replace(TRAINING, quads=2))
        return quads.batch(np.random.default_rng([0, 7]))

    first, second = draw(), draw()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert first["frames"].shape == (8, 3, 48, 80)
    assert first["tracks"].shape == (8, 13, 2, 64)


def test_quads_draw_the_gaps_they_are_told(motions, monkeypatch):
    """Other flow in the store, as the gap of 1 for chained tracks, is not trained on."""
    monkeypatch.setitem(motions[0].flow.attributes, "gaps", [-3, -2, -1, 1, 2, 3])
    quads = Quads(motions, LOSSES, replace(TRAINING, quad_gaps=(3, 2)))
    assert {gap for _, _, gap in quads.items} == {2, 3}
    with pytest.raises(ValueError, match=r"flow.zarr has flow of gaps .*need both signs of \[4\]"):
        Quads(motions, LOSSES, replace(TRAINING, quad_gaps=(4,)))


def test_a_flipped_quad_is_the_mirrored_one(motions):
    plain, mirrored = (
        Quads(motions, LOSSES, replace(TRAINING, flip=p)).batch(np.random.default_rng([0, 3]))
        for p in (0.0, 1.0)
    )
    np.testing.assert_array_equal(mirrored["frames"], plain["frames"][..., ::-1])
    np.testing.assert_array_equal(mirrored["flow"][:, 0], -plain["flow"][:, 0, :, ::-1])
    np.testing.assert_allclose(mirrored["points"][:, 0], -plain["points"][:, 0], atol=1e-6)
    np.testing.assert_allclose(mirrored["tracks"][:, :, 0], 853 - plain["tracks"][:, :, 0])
    masks = torch.rand(4, 3, 48, 80).softmax(1)
    here = loss_terms(masks, _tensors(plain), LOSSES)
    there = loss_terms(masks.flip(-1), _tensors(mirrored), LOSSES)
    # The trajectory loss is of positions as they are, not centred: mirrored, it is not the same.
    for name in ("flow", "smoothness"):
        torch.testing.assert_close(here[name], there[name], rtol=1e-3, atol=0)


def test_a_centred_flow_is_clipped_less_and_explained_as_well(motions):
    """The flow loss does not change with what all pixels share; the clipping does."""
    fast = np.float32([[[40]], [[-30]]])  # px of the reference frame
    store = Moved(motions[0].flow, fast)
    centred, wide = (replace(LOSSES, flow_centre="median", flow_clip=c) for c in (20.0, 1e3))
    masks = torch.rand(1, 2, 90, 160).softmax(1)

    def read(losses, source=store):
        return torch.from_numpy(read_flow(source, 5, 1, (90, 160), losses))[None]

    assert (read(LOSSES).abs() == 20).any(1).float().mean() > 0.9
    torch.testing.assert_close(read(centred), read(centred, motions[0].flow), atol=1e-4, rtol=0)
    plain = flow_loss(masks, read(replace(wide, flow_centre="none")))
    torch.testing.assert_close(flow_loss(masks, read(wide)), plain, rtol=1e-3, atol=1e-5)


class Moved:
    """A flow store whose camera moves faster by `offset` px of the reference frame."""

    def __init__(self, store, offset):
        self.store, self.offset = store, offset * np.float32([[[160 / 854]], [[90 / 480]]])

    def read(self, frame, gap):
        return self.store.read(frame, gap) + self.offset


def test_smoothness_compares_the_frames_of_a_quad_that_belong_together(motions):
    """Zero for masks that are the same in F and F+d, whatever F+g and F+d+g hold."""
    quads = Quads(motions, LOSSES, replace(TRAINING, quads=2, flip=0.0))
    batch = _tensors(quads.batch(np.random.default_rng(0)))
    colour = torch.tensor([[1.0, 0, 0], [0, 1, 0]] * 2 * 2)
    masks = colour[:, :, None, None].expand(8, 3, 48, 80)
    alone = replace(LOSSES, flow_weight=0.0, trajectory_weight=0.0)
    assert loss_terms(masks, batch, alone)["smoothness"] < 1e-12
    colour = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]] * 2)
    masks = colour[:, :, None, None].expand(8, 3, 48, 80)
    # Two components differ by one each: squared sum 2, over four terms of a quarter.
    assert loss_terms(masks, batch, alone)["smoothness"].item() == pytest.approx(2)


def test_drawn_tracks_are_those_of_the_store(motions):
    """Positions and their average, drawn before they are summed, against the whole window's."""
    positions, visibility, _, index = motions[0].tracks.read(20)
    tracks = read_tracks(motions[0].tracks, 20, LOSSES)
    assert (visibility.mean(0) >= 0.7).nonzero()[0].tolist() == tracks.usable.tolist()
    columns = tracks.usable[[5, 3, 5]]
    scale = np.array([[853 / 159], [479 / 89]])
    drawn = tracks.positions(columns)
    np.testing.assert_allclose(tracks.pixels(drawn), positions[..., columns] * scale, rtol=1e-6)
    assert tracks.query_index == index


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
        ValueError, match=r"was trained on backbone weights of sha256 \w+, .*\.pth has"
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


def test_moving_average_is_shorter_at_the_ends():
    values = np.arange(6.0)[:, None] ** 2
    expected = [values[max(i - 1, 0) : i + 2].mean() for i in range(6)]
    np.testing.assert_allclose(moving_average(values, 3)[:, 0], expected)
    np.testing.assert_array_equal(moving_average(values, 1), values)
    integers = np.random.default_rng(0).integers(-(2**20), 2**20, (41, 2, 9), np.int32)
    average = np.stack([integers[max(i - 5, 0) : i + 6].mean(0) for i in range(41)])
    np.testing.assert_allclose(moving_average(integers, 11), average, rtol=1e-6)


def _tensors(batch):
    return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in batch.items()}
