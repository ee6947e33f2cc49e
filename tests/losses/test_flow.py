"""The flow loss against numpy's least squares."""

import numpy as np
import pytest
import torch

from lrtl.losses import flow_loss
from lrtl.losses.flow import CONVENTIONS, MODELS

TERMS = {"constant": [5], "affine": [0, 1, 5], "quadratic": [0, 1, 2, 3, 4, 5]}  # of the reference


def reference(masks, flow, model="quadratic", convention="released"):
    """Least squares per segment on raw monomials: residual of the sum, or sum of the residuals."""
    batch, segments, height, width = masks.shape
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    basis = np.stack([x, y, x * x, y * y, x * y, np.ones_like(x)], -1).reshape(-1, 6)[
        :, TERMS[model]
    ]
    errors = []
    for b in range(batch):
        target = flow[b].reshape(2, -1).T  # (HW, 2)
        explained, residual = np.zeros_like(target), 0
        for k in range(segments):
            weight = masks[b, k].reshape(-1, 1)
            if convention == "gwm_paper":
                weight = np.sqrt(weight)  # squared residuals weighted by p
            theta = np.linalg.lstsq(weight * basis, weight * target, rcond=None)[0]
            explained += weight * (basis @ theta)
            residual += (weight * (target - basis @ theta)) ** 2
        if convention == "released":
            residual = (target - explained) ** 2
        errors.append(residual.mean())
    return np.mean(errors)


def random_problem(segments=3, size=(12, 17)):
    generator = torch.Generator().manual_seed(0)
    masks = torch.randn(2, segments, *size, generator=generator, dtype=torch.float64).softmax(1)
    flow = 5 * torch.randn(2, 2, *size, generator=generator, dtype=torch.float64)
    return masks, flow


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("size", [(12, 17), (70, 80)], ids=["one block", "more than one"])
def test_agrees_with_least_squares(model, convention, size):
    masks, flow = random_problem(size=size)
    value = flow_loss(masks, flow, model, convention)
    expected = reference(masks.numpy(), flow.numpy(), model, convention)
    assert value.item() == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_gradient_is_that_of_finite_differences(convention):
    masks, flow = random_problem(2, (4, 5))
    masks.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: flow_loss(m, flow, convention=convention), masks)


def test_conventions_agree_on_binary_masks():
    masks, flow = random_problem()
    masks = torch.nn.functional.one_hot(masks.argmax(1), 3).movedim(-1, 1).double()
    values = [flow_loss(masks, flow, convention=convention) for convention in CONVENTIONS]
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(values[0], values[2])


def test_vanishes_for_the_true_segments_of_quadratic_motion():
    y, x = torch.meshgrid(torch.linspace(0, 1, 20), torch.linspace(0, 1, 30), indexing="ij")
    inside = ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.06).double()
    masks = torch.stack([inside, 1 - inside])[None]
    models = [torch.stack([3 + x - y * x, 2 * y]), torch.stack([x * x, -1 + y * y])]
    flow = (masks[0, 0] * models[0] + masks[0, 1] * models[1])[None]
    assert flow_loss(masks, flow).item() < 1e-10
    assert flow_loss(torch.full_like(masks, 0.5), flow).item() > 0.1


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_an_empty_segment_is_no_error(convention):
    masks, flow = random_problem()
    masks = torch.cat([masks, torch.zeros_like(masks[:, :1])], 1).requires_grad_()
    value = flow_loss(masks, flow, convention=convention)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(masks.grad).all()
