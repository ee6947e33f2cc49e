"""Segmentation networks: RGB frames (B, 3, H, W) in 0..255 to component logits (B, K, H, W)."""

from lrtl.config import NetworkConfig
from lrtl.datasets.fetch import checked_sha256


def backbone_sha256(config: NetworkConfig) -> str | None:
    """The sha256 of the published weights a network is built on; None if it has none."""
    return config.backbone_weights and checked_sha256(config.backbone_weights)
