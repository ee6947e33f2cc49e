"""MaskFormer against transformers' parts and the definition of its masks; sizes and gradients."""

import pytest
import torch
from torch import nn

from lrtl.config import NetworkConfig
from lrtl.methods import NETWORKS
from lrtl.models import backbones
from lrtl.models.dino import DinoKeys
from lrtl.models.maskformer import (
    UPSAMPLING,
    MaskFormer,
    PaperUpsampling,
    Pyramid,
    QueryDecoder,
    fit,
    sine_positions,
)


class Maps(nn.Module):
    """A backbone that gives random maps of 8 channels."""

    channels = [8] * 4

    def __init__(self, strides=(4, 8, 16, 32), less=0):
        super().__init__()
        self.strides, self.less = strides, less

    def forward(self, frames):
        generator = torch.Generator().manual_seed(0)
        sizes = [[n // stride - self.less for n in frames.shape[-2:]] for stride in self.strides]
        return [torch.randn(len(frames), 8, *size, generator=generator) for size in sizes]


DINO = {"strides": (4, 4, 4, 4), "less": 1}
SIZE = (192, 352)  # H, W of the papers' frames


@pytest.mark.parametrize("decoder", UPSAMPLING)
@pytest.mark.parametrize("backbone", [{}, DINO])
@pytest.mark.parametrize(("size", "components"), [((32, 32), 2), ((64, 96), 4), ((32, 160), 25)])
def test_logits_have_the_size_of_the_frames(decoder, backbone, size, components):
    model = MaskFormer(Maps(**backbone), components, decoder)
    assert model(torch.rand(2, 3, *size)).shape == (2, components, *size)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 32, not \(48, 64\)"):
        MaskFormer(Maps(), 4, "paper")(torch.rand(1, 3, 48, 64))


@pytest.mark.parametrize("decoder", UPSAMPLING)
def test_logits_are_products_of_embeddings_and_mask_features(decoder):
    model = MaskFormer(Maps(), 3, decoder).eval()
    frames = torch.rand(2, 3, 32, 64)
    with torch.no_grad():
        maps = model.backbone(frames)
        features = model.mask_features(model.upsampling(model.pyramid(maps)))
        logits = torch.einsum("bkc,bchw->bkhw", model.transformer(maps[-1]), features)
        torch.testing.assert_close(model(frames), fit(logits, (32, 64)), rtol=1e-4, atol=1e-5)


def test_maps_of_the_released_decoder_grow():
    """At 192 x 352: 47 x 87 maps of DINO's keys end at 194 x 354, of which the middle is taken."""
    maps = torch.rand(1, 256, 47, 87)
    norm = nn.GroupNorm(32, 256)
    with torch.no_grad():
        assert UPSAMPLING["released"](norm)(maps).shape[-2:] == (194, 354)
        assert UPSAMPLING["paper"](norm)(maps).shape[-2:] == (188, 348)
    logits = torch.arange(194 * 354.0).view(1, 1, 194, 354)
    assert torch.equal(fit(logits, (192, 352)), logits[..., 1:-1, 1:-1])


def test_small_convolutions_commute_with_upsampling():
    """The paper's order: 3x3 convolution, nearest upsampling, 1x1 convolution."""
    upsampling = PaperUpsampling()
    for _, norm in (m for m in upsampling if isinstance(m, nn.Sequential)):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    maps = torch.rand(1, 256, 5, 7)
    three, relu, one, _, upsample, *_ = upsampling
    with torch.no_grad():
        expected = relu(one(upsample(relu(three(maps)))))
        torch.testing.assert_close(nn.Sequential(*upsampling)[:5](maps), expected)


def test_positions_are_those_of_transformers():
    from transformers.models.maskformer.modeling_maskformer import MaskFormerSinePositionEmbedding

    theirs = MaskFormerSinePositionEmbedding(128, normalize=True)
    expected = theirs((1, 256, 7, 11), torch.device("cpu"), torch.float32)
    ours = sine_positions(7, 11, torch.device("cpu"))
    torch.testing.assert_close(ours.T.view(1, 256, 7, 11), expected)


def test_the_pyramid_is_that_of_transformers():
    from transformers.models.maskformer.modeling_maskformer import MaskFormerFPNModel

    ours, theirs = Pyramid([4, 6, 8, 10]), MaskFormerFPNModel(10, [4, 6, 8])
    theirs.stem.load_state_dict(ours.outputs[3].state_dict())
    for index, layer in enumerate(reversed(theirs.layers)):
        layer.proj.load_state_dict(ours.laterals[index].state_dict())
        layer.block.load_state_dict(ours.outputs[index].state_dict())
    maps = [torch.rand(2, 4 + 2 * i, 16 // 2**i, 24 // 2**i) for i in range(4)]
    torch.testing.assert_close(ours(maps), theirs(maps)[-1])


def test_the_transformer_is_that_of_transformers():
    from transformers.models.maskformer.configuration_maskformer import MaskFormerDetrConfig
    from transformers.models.maskformer.modeling_maskformer import MaskFormerDetrDecoder

    ours = QueryDecoder(8, 5).eval()
    theirs = MaskFormerDetrDecoder(MaskFormerDetrConfig()).eval()
    names = {
        "self_attn.": "self_attn.",
        "multihead_attn.": "encoder_attn.",
        "out_proj": "o_proj",
        "linear1": "mlp.fc1",
        "linear2": "mlp.fc2",
        "norm1": "self_attn_layer_norm",
        "norm2": "encoder_attn_layer_norm",
        "norm3": "final_layer_norm",
    }
    state = {}
    for name, value in ours.layers.state_dict().items():
        for here, there in names.items():
            name = name.replace(here, there)
        parts = value.chunk(3) if "in_proj" in name else [value]
        for letter, part in zip("qkv", parts, strict=False):
            state["layers." + name.replace("in_proj_", f"{letter}_proj.")] = part
    state |= {f"layernorm.{name}": value for name, value in ours.norm.state_dict().items()}
    theirs.load_state_dict(state)
    maps = torch.rand(2, 8, 4, 6)
    with torch.no_grad():
        queries = ours.queries.weight.expand(2, -1, -1)
        expected = theirs(
            inputs_embeds=torch.zeros(2, 5, 256),
            encoder_hidden_states=ours.project(maps).flatten(2).mT,
            spatial_position_embeddings=sine_positions(4, 6, maps.device)[None],
            object_queries_position_embeddings=queries,
        ).last_hidden_state
        torch.testing.assert_close(ours(maps), ours.embed(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("decoder", "millions"), [("paper", 15.903), ("released", 15.901)])
def test_parameters_over_dino(decoder, millions):
    backbone = Maps()
    backbone.channels = [768] * 4
    count = sum(p.numel() for p in MaskFormer(backbone, 4, decoder).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=1e-3)


@pytest.mark.parametrize(
    ("network", "millions"), [("maskformer_swin", 43.006), ("maskformer_resnet", 42.557)]
)
def test_parameters_with_a_backbone_that_learns(network, millions, published):
    path = str(published[network])
    model = NETWORKS[network](NetworkConfig(network, 64, 4, SIZE, "paper", path))
    count = sum(p.numel() for p in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=1e-3)


@pytest.mark.parametrize("network", ["maskformer_dino", "maskformer_swin", "maskformer_resnet"])
def test_gradients_reach_what_learns(network, published, monkeypatch):
    """At the papers' size; what the first layer knows of the components is still zero."""
    monkeypatch.setattr(backbones, "load_dino", lambda name, path: DinoKeys(name))
    path = str(published.get(network, "dino_vitbase8_pretrain.pth"))
    model = NETWORKS[network](NetworkConfig(network, 64, 4, SIZE, "paper", path)).eval()
    logits = model(255 * torch.rand(1, 3, *SIZE))
    assert logits.shape == (1, 4, *SIZE)
    logits.softmax(1).square().mean().backward()
    for name, p in model.named_parameters():
        assert (p.grad is not None) == p.requires_grad, name
        if p.requires_grad:
            assert p.grad.isfinite().all(), name
            zero = name.startswith("transformer.layers.0.self_attn")
            assert zero or p.ndim == 1 or p.grad.any(), name


def test_settings_name_what_is_missing():
    with pytest.raises(ValueError, match=r"input_size is \(48, 64\), expected multiples of 32 px"):
        NetworkConfig("maskformer_swin", 64, 4, (48, 64), "paper", "weights.pth")
    with pytest.raises(ValueError, match="backbone_weights is None, expected a file for mask"):
        NetworkConfig("maskformer_swin", 64, 4, (64, 64), "paper")
    with pytest.raises(ValueError, match="decoder is 'ours', expected one of paper, released"):
        NetworkConfig("unet", 64, 4, (48, 64), "ours")
    assert NetworkConfig("unet", 64, 4, (48, 64), "paper").backbone_weights is None
