"""Segmentation networks: RGB frames (B, 3, H, W) in 0..255 to component logits (B, K, H, W)."""

from collections.abc import Callable

from torch import nn

from lrtl.config import NetworkConfig
from lrtl.datasets.fetch import checked_sha256
from lrtl.models.backbones import FrozenDino, resnet_50, swin_tiny
from lrtl.models.maskformer import MaskFormer
from lrtl.models.unet import UNet

NETWORKS: dict[str, Callable[[NetworkConfig], nn.Module]] = {
    "unet": lambda c: UNet(c.components, c.width),
    "maskformer_dino": lambda c: MaskFormer(
        FrozenDino(c.backbone_weights), c.components, c.decoder
    ),
    "maskformer_swin": lambda c: MaskFormer(
        swin_tiny(c.backbone_weights, c.decoder), c.components, c.decoder
    ),
    "maskformer_resnet": lambda c: MaskFormer(
        resnet_50(c.backbone_weights), c.components, c.decoder
    ),
}


def backbone_sha256(config: NetworkConfig) -> str | None:
    """The sha256 of the published weights a network is built on; None if it has none."""
    return config.backbone_weights and checked_sha256(config.backbone_weights)
