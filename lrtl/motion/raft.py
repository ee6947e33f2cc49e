"""RAFT in pure torch, loading princeton-vl's published checkpoints as they are.

Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020. Submodules
carry the names of the published state dicts, so a checkpoint loads without a key mapping.
"""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrtl.motion.correlation import HELD_BYTES, LEVELS, Correlations
from lrtl.weights import load_weights

NORMS = {
    "batch": nn.BatchNorm2d,
    "instance": nn.InstanceNorm2d,
    "none": lambda _channels: nn.Identity(),
}


class Encoding(NamedTuple):
    """What RAFT needs of one frame, shared by every pair the frame is in."""

    features: Tensor  # (B, C, h, w), h = H/8, w = W/8 of the padded frame
    context: Tensor  # (B, hidden + context, h, w)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection (raft_large)."""

    def __init__(self, inputs: int, outputs: int, norm: str, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm1, self.norm2 = NORMS[norm](outputs), NORMS[norm](outputs)
        self.downsample = None
        if stride > 1:
            # The published state dict lists this norm twice: as norm3 and as downsample.1.
            self.norm3 = NORMS[norm](outputs)
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), self.norm3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu((x if self.downsample is None else self.downsample(x)) + y)


class BottleneckBlock(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a skip connection (raft_small)."""

    def __init__(self, inputs: int, outputs: int, norm: str, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs // 4, 1)
        self.conv2 = nn.Conv2d(outputs // 4, outputs // 4, 3, stride, padding=1)
        self.conv3 = nn.Conv2d(outputs // 4, outputs, 1)
        self.norm1, self.norm2 = NORMS[norm](outputs // 4), NORMS[norm](outputs // 4)
        self.norm3 = NORMS[norm](outputs)
        self.downsample = None
        if stride > 1:
            self.norm4 = NORMS[norm](outputs)
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), self.norm4)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = F.relu(self.norm3(self.conv3(y)))
        return F.relu((x if self.downsample is None else self.downsample(x)) + y)


class Encoder(nn.Module):
    """Feature or context encoder at 1/8 of the input size."""

    def __init__(self, block: type[nn.Module], widths: tuple, outputs: int, norm: str) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = nn.Conv2d(3, first, 7, stride=2, padding=3)
        self.norm1 = NORMS[norm](first)
        self.layer1 = nn.Sequential(block(first, first, norm, 1), block(first, first, norm, 1))
        self.layer2 = nn.Sequential(block(first, second, norm, 2), block(second, second, norm, 1))
        self.layer3 = nn.Sequential(block(second, third, norm, 2), block(third, third, norm, 1))
        self.conv2 = nn.Conv2d(third, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, outputs, H/8, W/8)."""
        x = F.relu(self.norm1(self.conv1(x)))
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class LargeMotionEncoder(nn.Module):
    """Correlation and flow to 128 motion features."""

    def __init__(self, correlations: int) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(correlations, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(64 + 192, 128 - 2, 3, padding=1)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        """Map flow (B, 2, h, w) and correlation to (B, 128, h, w)."""
        c = F.relu(self.convc2(F.relu(self.convc1(correlation))))
        f = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat([F.relu(self.conv(torch.cat([c, f], 1))), flow], 1)


class SmallMotionEncoder(nn.Module):
    """Correlation and flow to 82 motion features."""

    def __init__(self, correlations: int) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(correlations, 96, 1)
        self.convf1 = nn.Conv2d(2, 64, 7, padding=3)
        self.convf2 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv = nn.Conv2d(32 + 96, 80, 3, padding=1)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        """Map flow (B, 2, h, w) and correlation to (B, 82, h, w)."""
        c = F.relu(self.convc1(correlation))
        f = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat([F.relu(self.conv(torch.cat([c, f], 1))), flow], 1)


class GatedPass(NamedTuple):
    """The kernels of one pass of the GRU and what the context adds to its gates."""

    update_reset: Tensor  # (2 hidden, hidden + motion, kh, kw)
    candidate: Tensor  # (hidden, hidden + motion, kh, kw)
    context: tuple[Tensor, Tensor]  # (B, 2 hidden, h, w) and (B, hidden, h, w)


class GRU(nn.Module):
    """Convolutional gated recurrent unit of hidden state, context and motion features.

    `passes` maps the suffix of a pass's convolutions in the published state dict to their kernel.
    Convolutions are linear and the context stays as it is from update to update, so its share of
    the gates is computed once a pair: a third of the unit's work in raft_large.
    """

    def __init__(self, hidden: int, context: int, motion: int, passes: dict) -> None:
        super().__init__()
        self.splits, self.passes = [hidden, context, motion], passes
        for suffix, size in passes.items():
            for gate in "zrq":
                padding = (size[0] // 2, size[1] // 2)
                convolution = nn.Conv2d(sum(self.splits), hidden, size, padding=padding)
                self.add_module(f"conv{gate}{suffix}", convolution)

    def prepare(self, context: Tensor) -> list[GatedPass]:
        """The passes' kernels without the context's channels, and its share (B, context, h, w)."""
        prepared = []
        for suffix, size in self.passes.items():
            gates = [self.get_submodule(f"conv{gate}{suffix}") for gate in "zrq"]
            weight = torch.cat([gate.weight for gate in gates])
            bias = torch.cat([gate.bias for gate in gates])
            hidden, of_context, motion = weight.split(self.splits, 1)
            share = F.conv2d(context, of_context, bias, padding=(size[0] // 2, size[1] // 2))
            halves = [2 * self.splits[0], self.splits[0]]
            kernels = torch.cat([hidden, motion], 1).split(halves)
            prepared.append(GatedPass(*kernels, share.split(halves, 1)))
        return prepared

    def forward(self, hidden: Tensor, motion: Tensor, prepared: list[GatedPass]) -> Tensor:
        """Return the next hidden state (B, hidden, h, w)."""
        for kernels in prepared:
            padding = (kernels.candidate.shape[2] // 2, kernels.candidate.shape[3] // 2)
            gates = F.conv2d(torch.cat([hidden, motion], 1), kernels.update_reset, padding=padding)
            update, reset = torch.sigmoid(gates + kernels.context[0]).chunk(2, 1)
            state = torch.cat([reset * hidden, motion], 1)
            candidate = F.conv2d(state, kernels.candidate, padding=padding) + kernels.context[1]
            hidden = (1 - update) * hidden + update * torch.tanh(candidate)
        return hidden


class FlowHead(nn.Module):
    """Hidden state to a flow update."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, 2, h, w)."""
        return self.conv2(F.relu(self.conv1(x)))


class UpdateBlock(nn.Module):
    """One recurrent refinement: motion encoder, GRU, flow head and, in raft_large, mask head."""

    def __init__(self, small: bool, correlations: int, hidden: int, context: int) -> None:
        super().__init__()
        if small:
            self.encoder = SmallMotionEncoder(correlations)
            self.gru = GRU(hidden, context, 82, {"": (3, 3)})
            self.flow_head = FlowHead(hidden, 128)
        else:
            self.encoder = LargeMotionEncoder(correlations)
            self.gru = GRU(hidden, context, 128, {"1": (1, 5), "2": (5, 1)})
            self.flow_head = FlowHead(hidden, 256)
            self.mask = nn.Sequential(
                nn.Conv2d(hidden, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 64 * 9, 1)
            )

    def forward(self, hidden: Tensor, passes: list[GatedPass], correlation: Tensor, flow: Tensor):
        """Return the next hidden state and the flow update (B, 2, h, w)."""
        hidden = self.gru(hidden, self.encoder(flow, correlation), passes)
        return hidden, self.flow_head(hidden)


class Raft(nn.Module):
    """RAFT with all-pairs correlation; `small` picks raft_small, else raft_large.

    Images are RGB in 0..255, any H and W: frames are padded to multiples of 8 by replication, half
    on each side, and the flow is cropped back.
    """

    def __init__(self, small: bool) -> None:
        super().__init__()
        self.radius = 3 if small else 4
        self.hidden, self.context = (96, 64) if small else (128, 128)
        correlations = LEVELS * (2 * self.radius + 1) ** 2
        block, widths = (BottleneckBlock, (32, 64, 96)) if small else (ResidualBlock, (64, 96, 128))
        self.fnet = Encoder(block, widths, 128 if small else 256, "instance")
        outputs = self.hidden + self.context
        self.cnet = Encoder(block, widths, outputs, "none" if small else "batch")
        self.update_block = UpdateBlock(small, correlations, self.hidden, self.context)

    def encode(self, images: Tensor) -> Encoding:
        """Encode RGB images (B, 3, H, W) in 0..255."""
        left, right, top, bottom = _padding(*images.shape[-2:])
        images = F.pad(images.float() / 127.5 - 1, (left, right, top, bottom), mode="replicate")
        return Encoding(self.fnet(images), self.cnet(images))

    def flow(
        self,
        first: Encoding,
        second: Encoding,
        size: tuple[int, int],
        updates: int,
        budget: int = HELD_BYTES,
    ) -> Tensor:
        """Estimate the flow from `first` to `second`.

        Args:
            first, second: encodings of two frames of one size.
            size: (H, W) of the frames before padding.
            updates: number of recurrent refinements; the papers use 20.
            budget: bytes of correlations to hold; what does not fit is computed at every update.

        Returns:
            (B, 2, H, W) float32, (x, y) displacement in pixels.
        """
        correlations = Correlations(first.features, second.features, self.radius, budget)
        hidden, context = first.context.split([self.hidden, self.context], 1)
        hidden, passes = torch.tanh(hidden), self.update_block.gru.prepare(F.relu(context))
        flow = hidden.new_zeros(len(hidden), 2, *hidden.shape[2:], dtype=torch.float32)
        for _ in range(updates):
            hidden, delta = self.update_block(hidden, passes, correlations.around(flow), flow)
            flow = flow + delta.float()
        if hasattr(self.update_block, "mask"):
            full = upsample_convex(flow, 0.25 * self.update_block.mask(hidden))
        else:
            full = 8 * F.interpolate(flow, scale_factor=8, mode="bilinear", align_corners=True)
        left, _right, top, _bottom = _padding(*size)
        return full[..., top : top + size[0], left : left + size[1]]


def load_raft(small: bool, weights: Path) -> Raft:
    """Build a RAFT and load a published checkpoint (`raft-small.pth`, `raft-things.pth`).

    Raises:
        ValueError: the file is not a checkpoint of this architecture.
    """
    if small:
        return load_weights(Raft(small), weights, "raft_small", "princeton-vl's raft-small.pth")
    return load_weights(Raft(small), weights, "raft_large", "princeton-vl's raft-things.pth")


def _padding(height: int, width: int) -> tuple[int, int, int, int]:
    """Left, right, top, bottom padding to multiples of 8."""
    vertical, horizontal = -height % 8, -width % 8
    return (
        horizontal // 2,
        horizontal - horizontal // 2,
        vertical // 2,
        vertical - vertical // 2,
    )


def upsample_convex(flow: Tensor, weights: Tensor) -> Tensor:
    """Upsample flow (B, 2, h, w) by 8 as learned convex combinations of 3x3 neighbours."""
    batch, _, height, width = flow.shape
    weights = weights.view(batch, 1, 9, 8, 8, height, width).softmax(2)
    patches = F.unfold(8 * flow, 3, padding=1).view(batch, 2, 9, 1, 1, height, width)
    full = (weights * patches).sum(2)  # (B, 2, 8, 8, h, w)
    return full.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, 8 * height, 8 * width)
