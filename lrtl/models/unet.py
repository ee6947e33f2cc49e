"""The U-Net of the papers' experiments from scratch (Ronneberger et al. 2015), bilinear."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrtl.config import NetworkConfig

RGB_MEAN = (123.675, 116.28, 103.53)
RGB_STD = (58.395, 57.12, 57.375)


class UNet(nn.Module):
    """Four levels of `width` x 1, 2, 4, 8, 8 channels; 13.4 M parameters at width 64 and K = 4."""

    def __init__(self, components: int, width: int) -> None:
        super().__init__()
        w = width
        self.stem = _double_convolution(3, w)
        self.down = nn.ModuleList(
            _double_convolution(a, b)
            for a, b in [(w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w), (8 * w, 8 * w)]
        )
        self.up = nn.ModuleList(
            _double_convolution(a, b)
            for a, b in [(16 * w, 4 * w), (8 * w, 2 * w), (4 * w, w), (2 * w, w)]
        )
        self.head = nn.Conv2d(w, components, 1)
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(RGB_STD).view(3, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Map RGB frames (B, 3, H, W) in 0..255, sides multiples of 16, to logits (B, K, H, W)."""
        if frames.shape[-2] % 16 or frames.shape[-1] % 16:
            raise ValueError(f"H and W must be multiples of 16, not {tuple(frames.shape[-2:])}")
        x = self.stem((frames - self.mean) / self.std)  # (B, w, H, W)
        skips = []
        for level in self.down:
            skips.append(x)
            x = level(F.max_pool2d(x, 2))
        for level, skip in zip(self.up, reversed(skips), strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = level(torch.cat([skip, x], 1))
        return self.head(x)


def build_unet(config: NetworkConfig) -> UNet:
    """Build a U-Net; see `NETWORKS` in lrtl/methods.py."""
    return UNet(config.components, config.width)


def _double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for a, b in [(inputs, outputs), (outputs, outputs)]:
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(True)]
    return nn.Sequential(*layers)
