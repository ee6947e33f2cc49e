"""All-pairs correlations of RAFT (Teed and Deng 2020, Sec. 3.2) in bounded memory."""

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 4  # of the correlation pyramid
HELD_BYTES = 2**32  # of correlations held on a CPU
BLOCK_BYTES = 2**28  # of correlations made at once


class Correlations:
    """Correlations of each pixel of one frame with all of another, looked up around a flow.

    Their pyramid takes 16/3 (h w)^2 bytes a pair, 5.6 GB at 1080p. It is made in blocks of source
    pixels; blocks up to `budget` bytes are held, the others made anew at every look-up.
    """

    def __init__(self, first: Tensor, second: Tensor, radius: int, budget: int) -> None:
        batch, channels, height, width = first.shape
        self.size, self.radius = (height, width), radius
        sources = first.float().flatten(2).transpose(1, 2) / channels**0.5  # (B, hw, C)
        self.targets = second.float().flatten(2)  # (B, C, hw)
        self.block = max(BLOCK_BYTES // (batch * pyramid_bytes(height * width)), 1)
        self.sources = sources.split(self.block, 1)
        hold = budget // (self.block * batch * pyramid_bytes(height * width))
        self.held = [self._pyramid(block) for block in self.sources[:hold]]

    def around(self, flow: Tensor) -> Tensor:
        """Look up (2 radius + 1)^2 correlations per level around each target, x offset slowest.

        Args:
            flow: (B, 2, h, w) in pixels of the features.

        Returns:
            (B, LEVELS (2 radius + 1)^2, h, w)
        """
        height, width = self.size
        ys, xs = torch.arange(height).to(flow), torch.arange(width).to(flow)
        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1])  # (2, h, w)
        targets = (flow + grid).flatten(2).transpose(1, 2).split(self.block, 1)  # of (B, hw, 2)
        found = []
        for index, block in enumerate(targets):
            held = index < len(self.held)
            pyramid = self.held[index] if held else self._pyramid(self.sources[index])
            found.append(self._look_up(pyramid, block))
        return torch.cat(found, 1).transpose(1, 2).unflatten(2, self.size).contiguous()

    def _pyramid(self, sources: Tensor) -> list[Tensor]:
        """Correlations of sources (B, n, C) with all targets, and their averages over 2x2."""
        volume = (sources @ self.targets).reshape(-1, 1, *self.size)  # (B n, 1, h, w)
        pyramid = [volume]
        for _ in range(LEVELS - 1):
            pyramid.append(F.avg_pool2d(pyramid[-1], 2))
        return pyramid

    def _look_up(self, pyramid: list[Tensor], targets: Tensor) -> Tensor:
        """Sample the pyramid of n sources around their targets (B, n, 2)."""
        offset = torch.arange(-self.radius, self.radius + 1).to(targets)
        window = torch.stack(torch.meshgrid(offset, offset, indexing="ij"), -1)  # [i, j] = (x, y)
        samples = []
        for level, volume in enumerate(pyramid):
            size = torch.tensor([volume.shape[-1], volume.shape[-2]], device=volume.device)
            points = targets.reshape(-1, 1, 1, 2) / 2**level + window  # (B n, 2r+1, 2r+1, 2)
            # A one-pixel axis has no extent to normalise by; RAFT's clamp is ours too.
            points = 2 * points / (size - 1).clamp(min=1) - 1
            sample = F.grid_sample(volume, points, align_corners=True)
            samples.append(sample.reshape(*targets.shape[:2], -1))
        return torch.cat(samples, -1)  # (B, n, levels (2r+1)^2)


def pyramid_bytes(targets: int) -> int:
    """Bytes of a source pixel's correlations with all targets and with their 2x2 averages."""
    return 16 * targets // 3  # float32, 1 + 1/4 + 1/16 + ... = 4/3
