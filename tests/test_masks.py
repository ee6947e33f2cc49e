"""From a run of random weights to masks, under every way of merging its components."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lrtl.datasets.layout import Sequence
from lrtl.masks import affinity_of, predict, read_flows, write_masks
from lrtl.merge import merge_components
from lrtl.methods import NETWORKS
from lrtl.motion.store import FlowStore
from lrtl.runs import load_run, save_run, settings_text
from tests.conftest import merge_config
from tests.small import LOSSES, NETWORK


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A U-Net of random weights with the settings of a training."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    model = NETWORKS["unet"](NETWORK)
    settings = {"network": vars(NETWORK), "losses": vars(LOSSES)}
    save_run(folder, model, settings_text(settings))
    return folder


@pytest.fixture(scope="module")
def short(comet) -> Sequence:
    """The first six frames of `comet`."""
    return Sequence(**vars(comet) | {"frames": comet.frames[:6]})


def images(folder: Path) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def segmented(run, sequence, flow, config, out) -> tuple[np.ndarray, np.ndarray]:
    write_masks(run, sequence, flow, config, out / "masks", out / "components")
    return images(out / "masks"), images(out / "components")


@pytest.mark.parametrize("affinity", ["motion", "dino_vits8"])
@pytest.mark.parametrize("grouping", ["correlation_clustering", "normalised_cut"])
@pytest.mark.parametrize("decision", ["video", "frame"])
def test_masks_are_those_of_the_decisions(
    affinity, grouping, decision, run, short, exact_flow, tiny_dino, tmp_path
):
    changes = {"affinity": affinity, "grouping": grouping, "decision": decision}
    config = merge_config(**changes, affinity_weights=str(tiny_dino))
    flow = FlowStore.open(exact_flow)
    masks, components = segmented(run, short, flow, config, tmp_path)
    model, network, losses = load_run(run)
    soft = predict(model, short, network.input_size)
    flows = read_flows(flow, len(soft), network.input_size, losses)
    affinities = affinity_of(soft, short, flows, config)
    assert affinities.shape == (5 if affinity == "motion" else 6, 3, 3)
    chosen = merge_components(soft[: len(affinities)], affinities, grouping, decision)
    for t in range(6):
        large = torch.nn.functional.interpolate(
            soft[t : t + 1], (short.height, short.width), mode="bilinear"
        )[0].numpy()
        foreground = chosen[0 if decision == "video" else min(t, len(chosen) - 1)]
        np.testing.assert_array_equal(masks[t], large[foreground].sum(0) > 0.5)
        np.testing.assert_array_equal(components[t], large.argmax(0))


def test_masks_are_empty_where_the_foreground_does_not_move(
    run, short, exact_flow, tmp_path, capsys
):
    """Random masks depart from the background by a part of the object's motion, far below 50 px."""
    flow = FlowStore.open(exact_flow)
    masks, _ = segmented(run, short, flow, merge_config(still=50.0), tmp_path / "still")
    assert not masks.any()
    assert "comet: nothing moves on its own" in capsys.readouterr().out
    segmented(run, short, flow, merge_config(still=1e-3), tmp_path / "moving")
    assert "nothing moves" not in capsys.readouterr().out
