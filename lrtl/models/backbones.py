"""Backbones of MaskFormer: RGB frames (B, 3, H, W) in 0..255 to four maps, from fine to coarse.

transformers takes seconds to import, so that it is imported where a network of it is built.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from lrtl.models.dino import load_dino
from lrtl.models.unet import RGB_MEAN, RGB_STD
from lrtl.weights import load_weights, renamed

STAGES = ["stage1", "stage2", "stage3", "stage4"]
DINO_BLOCKS = (5, 7, 9, 11)  # from 0

SWIN_NAMES = {
    r"head\.": None,
    r".*\.(relative_position_index|attn_mask)$": None,  # computed from sizes
    r"norm\.": None,
    r"patch_embed\.proj": "swin.embeddings.patch_embeddings.projection",
    r"patch_embed\.norm": "swin.embeddings.norm",
    r"layers\.": "swin.encoder.layers.",
    r"(.*)\.norm1": r"\1.layernorm_before",
    r"(.*)\.norm2": r"\1.layernorm_after",
    r"(.*)\.attn\.proj": r"\1.attention.o_proj",
    r"(.*)\.attn\.(relative\w*)": r"\1.attention.relative_position_bias.\2",
}
RESNET_NAMES = {
    r"fc\.": None,
    r"conv1": "embedder.embedder.convolution",
    r"bn1": "embedder.embedder.normalization",
    r"layer1": "encoder.stages.0",
    r"layer2": "encoder.stages.1",
    r"layer3": "encoder.stages.2",
    r"layer4": "encoder.stages.3",
    r"(encoder\.stages\.\d)\.": r"\1.layers.",
    r"(.*)\.downsample\.0": r"\1.shortcut.convolution",
    r"(.*)\.downsample\.1": r"\1.shortcut.normalization",
    r"(.*)\.(conv|bn)1": r"\1.layer.0.\2",
    r"(.*)\.(conv|bn)2": r"\1.layer.1.\2",
    r"(.*)\.(conv|bn)3": r"\1.layer.2.\2",
    r"(.*)\.conv\.": r"\1.convolution.",
    r"(.*)\.bn\.": r"\1.normalization.",
}


class FrozenDino(nn.Module):
    """Keys of DINO's ViT-B/8 at every fourth pixel: four maps of one size, 768 channels each."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        keys = load_dino("dino_vitb8", weights)
        self.channels = [keys.channels] * len(DINO_BLOCKS)
        self.keys = (keys,)  # a tuple hides it: it is not trained, averaged or saved

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Compute maps (B, 768, H / 4 - 1, W / 4 - 1)."""
        return self.keys[0].to(frames.device)(frames, DINO_BLOCKS)


class Pretrained(nn.Module):
    """A backbone of transformers that learns on; maps of strides 4, 8, 16 and 32 px."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.channels = model, model.channels
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(RGB_STD).view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> "Pretrained":
        """Train all but batch normalisation, which keeps what it was published with."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Compute maps (B, C, H / stride, W / stride)."""
        return list(self.model((frames - self.mean) / self.std).feature_maps)


def swin_tiny(weights: Path, decoder: str) -> Pretrained:
    """Swin-Tiny as it was published after supervised training on ImageNet.

    As `released` the embedding of patches stays as published. In transformers, stochastic depth
    leaves out attention alone, where the original leaves out perceptrons too.
    """
    from transformers import SwinBackbone, SwinConfig

    model = SwinBackbone(SwinConfig(drop_path_rate=0.3, out_features=STAGES))
    model.swin.layernorm = nn.Identity()  # of the output, which nobody asks for
    new = {k: v for k, v in model.state_dict().items() if k.startswith("hidden_states_norms")}
    load_weights(
        model,
        weights,
        "maskformer_swin",
        "swin_tiny_patch4_window7_224.pth",
        lambda state: new | renamed(_split_qkv(state), SWIN_NAMES),
    )
    model.requires_grad_(True)
    if decoder == "released":
        model.swin.embeddings.requires_grad_(False)
    return Pretrained(model)


def _split_qkv(state: dict) -> dict:
    """Queries, keys and values with a projection each."""
    out = {}
    for name, value in state.items():
        if ".attn.qkv." in name:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                out[name.replace("attn.qkv", f"attention.{letter}_proj")] = part
        else:
            out[name] = value
    return out


def resnet_50(weights: Path) -> Pretrained:
    """ResNet-50 as torchvision published it; batch normalisation is frozen, as released."""
    from transformers import ResNetBackbone, ResNetConfig

    model = ResNetBackbone(ResNetConfig(out_features=STAGES))
    load_weights(
        model,
        weights,
        "maskformer_resnet",
        "resnet50-0676ba61.pth",
        lambda state: renamed(state, RESNET_NAMES),
    )
    model.requires_grad_(True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(False)
    return Pretrained(model)
