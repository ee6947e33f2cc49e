"""Frozen DINO vision transformers (Caron et al. 2021), whose keys are dense features of frames.

As Amir et al. (2021) and the papers use them: patches overlap, as their stride is half their side,
and features are the keys of attention. Parameters carry the names of the published checkpoints.
"""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrtl.models.unet import RGB_MEAN, RGB_STD
from lrtl.weights import load_weights

PATCH = 8  # px, a patch's side
GRID = 28  # patches along a side of the 224 px frames that DINO was trained on


class Architecture(NamedTuple):
    """Size of a transformer, and the published file of its weights."""

    channels: int
    heads: int
    depth: int
    weights: str


ARCHITECTURES = {
    "dino_vits8": Architecture(384, 6, 12, "dino_deitsmall8_pretrain.pth"),
    "dino_vitb8": Architecture(768, 12, 12, "dino_vitbase8_pretrain.pth"),
}


class DinoKeys(nn.Module):
    """Keys of chosen blocks; always in evaluation mode and without gradients."""

    def __init__(self, architecture: str, stride: int = 4) -> None:
        super().__init__()
        self.channels, heads, depth, _ = ARCHITECTURES[architecture]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.channels))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID**2, self.channels))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, self.channels, PATCH, stride)
        self.blocks = nn.ModuleList(Block(self.channels, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(self.channels)  # of the output, which nobody asks for
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(RGB_STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "DinoKeys":
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, frames: Tensor, blocks: tuple[int, ...]) -> list[Tensor]:
        """Compute the keys of the patches in each of `blocks`.

        Args:
            frames: (B, 3, H, W) RGB in 0..255, sides of at least 8 px.
            blocks: indices from 0, in rising order; blocks after the last are not run.

        Returns:
            One map (B, C, h, w) per block, h = (H - 8) // stride + 1 and w alike. Channels run
            over the heads fastest, as the weights released with the papers expect.
        """
        patches = self.patch_embed.proj((frames - self.mean) / self.std)  # (B, C, h, w)
        size = patches.shape[-2:]
        x = torch.cat([self.cls_token.expand(len(frames), -1, -1), patches.flatten(2).mT], 1)
        x = x + self.positions(*size)  # (B, 1 + hw, C)
        maps = []
        for index, block in enumerate(self.blocks[: max(blocks) + 1]):
            if index in blocks:
                maps.append(block.keys(x)[:, :, 1:].unflatten(2, size))  # (B, C, h, w)
            if index < max(blocks):
                x = block(x)
        return maps

    def positions(self, height: int, width: int) -> Tensor:
        """Embed the positions of (height, width) patches, (1, 1 + hw, C).

        As published, the scale is that of 0.1 patches more, which only kept a size from being
        rounded down.
        """
        if (height, width) == (GRID, GRID):
            return self.pos_embed
        grid = self.pos_embed[:, 1:].mT.unflatten(2, (GRID, GRID))
        scale = ((height + 0.1) / GRID, (width + 0.1) / GRID)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")  # (1, C, h, w)
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).mT], 1)


class Block(nn.Module):
    """Attention among patches, then a perceptron per patch, both on normalised input."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = nn.Module()
        self.attn.qkv = nn.Linear(channels, 3 * channels)
        self.attn.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = nn.Module()
        self.mlp.fc1 = nn.Linear(channels, 4 * channels)
        self.mlp.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, C) to tokens."""
        qkv = self.attn.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1))
        attended = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))  # (B, heads, N, d)
        x = x + self.attn.proj(attended.transpose(1, 2).flatten(2))
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))

    def keys(self, x: Tensor) -> Tensor:
        """The keys (B, C, N) that this block's attention compares queries with."""
        weight, bias = (p.chunk(3)[1] for p in (self.attn.qkv.weight, self.attn.qkv.bias))
        keys = F.linear(self.norm1(x), weight, bias)  # (B, N, C)
        return keys.unflatten(2, (self.heads, -1)).permute(0, 3, 2, 1).flatten(1, 2)


def load_dino(architecture: str, path: Path) -> DinoKeys:
    """Load a published checkpoint.

    Raises:
        ValueError: the file is not the checkpoint of `architecture`, one of `ARCHITECTURES`.
    """
    expected = f"DINO's {ARCHITECTURES[architecture].weights}"
    return load_weights(DinoKeys(architecture), path, architecture, expected)
