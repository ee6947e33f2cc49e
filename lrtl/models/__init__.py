"""Segmentation networks: RGB frames (B, 3, H, W) in 0..255 to component logits (B, K, H, W)."""

from collections.abc import Callable

from torch import nn

from lrtl.models.unet import UNet

NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {"unet": UNet}
