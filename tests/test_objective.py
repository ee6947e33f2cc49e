"""The weighted sum of losses: what is in it, and its conventions."""

from dataclasses import replace

import pytest
import torch

from lrtl.losses import flow_loss, trajectory_loss
from lrtl.objective import loss_terms, smoothness_ramp
from tests.small import LOSSES

NONE = {f"{name}_weight": 0.0 for name in ("flow", "trajectory", "smoothness")}
NAMES = ("flow", "trajectory", "smoothness", "reconstruction", "perspective", "track_flow")


@pytest.fixture
def masks():
    return torch.randn(4, 3, 12, 20, generator=torch.Generator().manual_seed(0)).softmax(1)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    points = 2 * torch.rand(4, 2, 50, generator=generator) - 1
    return {
        "flow": 5 * torch.randn(4, 2, 24, 40, generator=generator),
        "points": points,
        "later_points": points.flip(-1),
        "tracks": 400 * torch.rand(4, 7, 2, 50, generator=generator),
        "visible": torch.rand(4, 50, generator=generator) < 0.5,
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_there_if_it_has_a_weight(masks, batch, name):
    losses = replace(LOSSES, **NONE | {f"{name}_weight": 0.5})
    masks.requires_grad_()
    terms = loss_terms(masks, batch, losses)
    assert set(terms) == {"loss", name}
    torch.testing.assert_close(terms["loss"], 0.5 * terms[name])
    (gradient,) = torch.autograd.grad(terms["loss"], masks)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0


def test_the_loss_is_the_weighted_sum(masks, batch):
    weights = {f"{name}_weight": 10.0**-i for i, name in enumerate(NAMES)}
    terms = loss_terms(masks, batch, replace(LOSSES, **weights))
    expected = sum(weights[f"{name}_weight"] * terms[name] for name in NAMES)
    torch.testing.assert_close(terms["loss"], expected)


def test_losses_of_track_matrices_are_means_or_sums_over_components(masks, batch):
    weights = {f"{name}_weight": 1.0 for name in NAMES}
    mean = loss_terms(masks, batch, replace(LOSSES, **weights))
    total = loss_terms(masks, batch, replace(LOSSES, **weights, over_components="sum"))
    for name in NAMES:
        factor = 3 if name in ("trajectory", "reconstruction", "perspective") else 1
        torch.testing.assert_close(total[name], factor * mean[name])
    expected = trajectory_loss(masks, batch["points"], batch["tracks"], LOSSES.rank)
    assert mean["trajectory"] == expected


def test_two_flows_count_half_each(masks, batch):
    batch["second_flow"] = batch["flow"].flip(-1)
    losses = replace(LOSSES, flow_loss="paper", flow_model="affine")
    each = [flow_loss(masks, batch[k], "affine", "paper") for k in ("flow", "second_flow")]
    assert each[0] != each[1]
    torch.testing.assert_close(loss_terms(masks, batch, losses)["flow"], sum(each) / 2)


def test_the_smoothness_losss_weight_rises_as_released(masks, batch):
    assert smoothness_ramp(1000, 0) == 1
    assert smoothness_ramp(0, 160_000) == pytest.approx(0.001)
    assert 0.1 * smoothness_ramp(5000, 160_000) == pytest.approx(0.0032, abs=5e-5)
    assert smoothness_ramp(200_000, 160_000) == 1
    losses = replace(LOSSES, **NONE | {"smoothness_weight": 2.0}, smoothness_ramp=100)
    terms = loss_terms(masks, batch, losses, step=50)
    torch.testing.assert_close(terms["loss"], 2 * 0.5005 * terms["smoothness"])
