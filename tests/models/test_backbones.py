"""Backbones from published files: names, what learns, and ResNet's maps by its definition."""

import pytest
import torch
import torch.nn.functional as F

from lrtl.models.backbones import FrozenDino, resnet_50, swin_tiny
from lrtl.models.unet import RGB_MEAN, RGB_STD

FRAMES = 255 * torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def bottleneck_network(weights: dict, x: torch.Tensor) -> list[torch.Tensor]:
    """The four stages of ResNet-50 (He et al. 2016), with strides in 3x3 convolutions."""

    def normalised(x, convolution, norm, stride=1):
        kernel = weights[f"{convolution}.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(weights[f"{norm}.{name}"] for name in names))

    x = F.max_pool2d(F.relu(normalised(x, "conv1", "bn1", 2)), 3, 2, 1)
    maps = []
    for stage, depth in enumerate([3, 4, 6, 3], 1):
        for block in range(depth):
            b, stride = f"layer{stage}.{block}.", 2 if stage > 1 and block == 0 else 1
            y = F.relu(normalised(x, b + "conv1", b + "bn1"))
            y = F.relu(normalised(y, b + "conv2", b + "bn2", stride))
            y = normalised(y, b + "conv3", b + "bn3")
            if block == 0:
                x = normalised(x, b + "downsample.0", b + "downsample.1", stride)
            x = F.relu(x + y)
        maps.append(x)
    return maps


def test_resnet_by_its_definition(published):
    weights = torch.load(published["maskformer_resnet"])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (RGB_MEAN, RGB_STD))
    with torch.no_grad():
        expected = bottleneck_network(weights, (FRAMES - mean) / std)
        maps = resnet_50(published["maskformer_resnet"]).train()(FRAMES)
    assert [m.shape[1] for m in maps] == [256, 512, 1024, 2048]
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.abs().max())


def test_resnet_keeps_its_batch_statistics(published):
    model = resnet_50(published["maskformer_resnet"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()(FRAMES)[-1].mean().backward()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen and all("normalization" in name for name in frozen)


def test_swin_gets_what_was_published(published):
    weights = torch.load(published["maskformer_swin"])
    model = swin_tiny(published["maskformer_swin"], "paper")
    block = model.model.swin.encoder.layers[2].blocks[3]
    published_block = "layers.2.blocks.3."
    for letter, part in zip(
        "qkv", weights[published_block + "attn.qkv.weight"].chunk(3), strict=True
    ):
        projection = getattr(block.attention, f"{letter}_proj")
        assert torch.equal(projection.weight, part)
    assert torch.equal(block.layernorm_after.bias, weights[published_block + "norm2.bias"])
    maps = model.eval()(FRAMES)
    assert [m.shape[1:] for m in maps] == [(96, 16, 24), (192, 8, 12), (384, 4, 6), (768, 2, 3)]
    assert all(p.requires_grad for p in model.parameters())


def test_the_released_swin_keeps_its_patch_embedding(published):
    model = swin_tiny(published["maskformer_swin"], "released")
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if "swin.embeddings" in name}


def test_dino_stays_outside(tiny_backbones):
    model = FrozenDino(tiny_backbones["maskformer_dino"])
    assert [m.shape for m in model(FRAMES)] == [(1, 16, 15, 23)] * 4
    assert not model.state_dict() and not list(model.parameters())


def test_another_file_is_refused(published):
    with pytest.raises(ValueError, match=r"resnet50-\w+.pth does not fit maskformer_swin .*swin_t"):
        swin_tiny(published["maskformer_resnet"], "paper")
    with pytest.raises(ValueError, match=r"does not fit maskformer_resnet .*expected resnet50-"):
        resnet_50(published["maskformer_swin"])
