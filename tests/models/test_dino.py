"""DINO's keys against transformers' ViT and bicubic interpolation by its definition."""

import numpy as np
import pytest
import torch

from lrtl.models.dino import ARCHITECTURES, GRID, DinoKeys, load_dino
from lrtl.models.unet import RGB_MEAN, RGB_STD


def transformers_keys(weights: dict, frames: torch.Tensor) -> list[torch.Tensor]:
    """Keys (B, 1 + N, C) of every block of transformers' ViT under DINO's weights."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=224,
        patch_size=8,
        layer_norm_eps=1e-6,
    )
    model = ViTModel(config, add_pooling_layer=False).eval()
    names = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "blocks.": "layers.",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.o_proj",
    }
    state = {}
    for name, value in weights.items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        name = "layer" + name if name.startswith("norm") else name
        parts = value.chunk(3) if "qkv" in name else [value]
        for letter, part in zip("qkv", parts, strict=False):
            state[name.replace("attn.qkv", f"attention.{letter}_proj")] = part
    model.load_state_dict(state)
    model.embeddings.patch_embeddings.projection.stride = (4, 4)
    keys = []
    for layer in model.layers:
        layer.attention.k_proj.register_forward_hook(lambda *a: keys.append(a[2]))
    with torch.no_grad():
        model(frames, interpolate_pos_encoding=True)
    return keys


def test_keys_are_those_of_transformers(tiny_dino):
    """At the size where strided patches need no interpolation of positions."""
    frames = 255 * torch.rand(2, 3, 116, 116, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (RGB_MEAN, RGB_STD))
    expected = transformers_keys(torch.load(tiny_dino), (frames - mean) / std)
    maps = load_dino("dino_vits8", tiny_dino)(frames, (0, 2))
    for ours, theirs in zip(maps, (expected[0], expected[2]), strict=True):
        patches = theirs[:, 1:].reshape(2, GRID, GRID, 2, 8)  # the last two: heads, channels
        heads_fastest = patches.permute(0, 4, 3, 1, 2).reshape(2, 16, GRID, GRID)
        torch.testing.assert_close(ours, heads_fastest, atol=1e-5, rtol=1e-5)


def cubic(x: np.ndarray) -> np.ndarray:
    """Kernel of cubic convolution (Keys 1981), with the slope -0.75 of torch and OpenCV."""
    a, x = -0.75, np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    return np.where(x <= 1, near, np.where(x < 2, a * (x**3 - 5 * x**2 + 8 * x - 4), 0))


def matrix(size: int) -> np.ndarray:
    """Interpolation from GRID samples to `size`, at the published scale."""
    weights = np.zeros((size, GRID))
    for row in range(size):
        centre = (row + 0.5) * GRID / (size + 0.1) - 0.5
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            weights[row, np.clip(tap, 0, GRID - 1)] += cubic(centre - tap)
    return weights


def test_positions_by_definition(tiny_dino):
    model = load_dino("dino_vits8", tiny_dino)
    grid = model.pos_embed[0, 1:].double().numpy().reshape(GRID, GRID, 16)
    expected = np.einsum("yi,xj,ijc->yxc", matrix(23), matrix(39), grid).reshape(-1, 16)
    positions = model.positions(23, 39)[0]
    np.testing.assert_allclose(positions[1:], expected, atol=1e-5)
    assert torch.equal(positions[0], model.pos_embed[0, 0])


@pytest.mark.parametrize(
    ("size", "maps"), [((192, 352), (47, 87)), ((128, 224), (31, 55)), ((90, 161), (21, 39))]
)
def test_sizes_of_maps(tiny_dino, size, maps):
    keys = load_dino("dino_vits8", tiny_dino)(255 * torch.rand(1, 3, *size), (0,))
    assert [k.shape for k in keys] == [(1, 16, *maps)]


@pytest.mark.parametrize(("name", "millions"), [("dino_vits8", 21.670), ("dino_vitb8", 85.807)])
def test_parameters_are_the_published(name, millions):
    model = DinoKeys(name)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=1e-3)
    assert model.channels == ARCHITECTURES[name].channels
    assert model.state_dict().keys() >= {"blocks.11.attn.qkv.bias", "patch_embed.proj.weight"}


def test_frozen(tiny_dino):
    model = load_dino("dino_vits8", tiny_dino).train()
    frames = torch.rand(1, 3, 32, 32, requires_grad=True)
    assert not any(module.training for module in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    assert not model(frames, (1,))[0].requires_grad


def test_another_checkpoint_is_refused(tiny_dino):
    with pytest.raises(ValueError, match=r"not fit dino_vitb8 .*DINO's dino_vitbase8_pretrain"):
        load_dino("dino_vitb8", tiny_dino)
