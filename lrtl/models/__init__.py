"""Segmentation networks: RGB frames (B, 3, H, W) in 0..255 to component logits (B, K, H, W)."""

from collections.abc import Callable

from torch import nn

from lrtl.config import NetworkConfig
from lrtl.datasets.fetch import checked_sha256
from lrtl.models.backbones import FrozenDino, resnet_50, swin_tiny
from lrtl.models.maskformer import MaskFormer
from lrtl.models.unet import UNet

BACKBONES: dict[str, Callable[[NetworkConfig], nn.Module]] = {
    "maskformer_dino": lambda config: FrozenDino(config.backbone_weights),
    "maskformer_swin": lambda config: swin_tiny(config.backbone_weights, config.decoder),
    "maskformer_resnet": lambda config: resnet_50(config.backbone_weights),
}


def maskformer(config: NetworkConfig) -> MaskFormer:
    """MaskFormer over one of `BACKBONES`."""
    return MaskFormer(BACKBONES[config.network](config), config.components, config.decoder)


NETWORKS: dict[str, Callable[[NetworkConfig], nn.Module]] = {
    "unet": lambda config: UNet(config.components, config.width),
    **dict.fromkeys(BACKBONES, maskformer),
}


def backbone_sha256(config: NetworkConfig) -> str | None:
    """The sha256 of the published weights a network is built on; None if it has none."""
    return config.backbone_weights and checked_sha256(config.backbone_weights)
