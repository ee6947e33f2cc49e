"""The U-Net's size, and that its output has the size of its input."""

import pytest
import torch

from lrtl.models.unet import UNet


def test_parameters_are_the_papers():
    count = sum(p.numel() for p in UNet(components=4, width=64).parameters())
    assert count / 1e6 == pytest.approx(13.40, abs=0.01)


@pytest.mark.parametrize("size", [(96, 160), (128, 224)])
def test_output_has_the_size_of_the_input(size):
    model = UNet(components=5, width=4)
    logits = model(255 * torch.rand(2, 3, *size))
    logits.square().mean().backward()
    assert logits.shape == (2, 5, *size)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("components", [2, 25])
def test_gradients_at_the_papers_width_and_size(components):
    model = UNet(components, width=64)
    logits = model(255 * torch.rand(1, 3, 192, 352))
    assert logits.shape == (1, components, 192, 352)
    logits.softmax(1).square().mean().backward()
    for name, p in model.named_parameters():
        assert p.grad.isfinite().all() and p.grad.any(), name


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 16, not \(100, 160\)"):
        UNet(components=4, width=4)(torch.rand(1, 3, 100, 160))
