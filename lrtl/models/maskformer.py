"""MaskFormer (Cheng et al. 2021) without classes: one query per component, over a backbone's maps.

A pixel decoder brings the backbone's maps to the size of the frames; a transformer turns queries
into embeddings of components; logits are their products. `decoder` says how the maps are brought
up: `paper`, by appendix A of "Guess What Moves" (Choudhury et al. 2022), or `released`, as the code
of the papers has it.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrtl.config import NetworkConfig
from lrtl.models.backbones import FrozenDino, resnet_50, swin_tiny

CHANNELS = 256
HEADS, LAYERS, PERCEPTRON, DROPOUT = 8, 6, 2048, 0.1  # of the transformer
GROUPS = 32  # of channels normalised together
MULTIPLE = 32  # px, what sides of frames are multiples of


class MaskFormer(nn.Module):
    """Pixel decoder and transformer over `backbone`, which gives four maps, from fine to coarse."""

    def __init__(self, backbone: nn.Module, components: int, decoder: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = Pyramid(backbone.channels)
        self.upsampling = UPSAMPLING[decoder](self.pyramid.outputs[-1][1])
        self.mask_features = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.transformer = QueryDecoder(backbone.channels[-1], components)

    def forward(self, frames: Tensor) -> Tensor:
        """Map RGB frames (B, 3, H, W) in 0..255, sides multiples of 32, to logits (B, K, H, W).

        Mask features are a 3x3 convolution of the pixels, multiplied by the embeddings. Here the
        embeddings multiply its kernels first: the same, with 9 K products a pixel, summed over
        neighbours, in place of 256 channels.
        """
        size = frames.shape[-2:]
        if size[0] % MULTIPLE or size[1] % MULTIPLE:
            raise ValueError(f"H and W must be multiples of {MULTIPLE}, not {tuple(size)}")
        maps = self.backbone(frames)
        embeddings = self.transformer(maps[-1])  # (B, K, C)
        pixels = self.upsampling(self.pyramid(maps))  # (B, C, h, w)
        weight, bias = self.mask_features.weight.flip(2, 3), self.mask_features.bias
        kernels = torch.einsum("bkm,mcij->bkijc", embeddings, weight).flatten(1, 3)  # (B, 9K, C)
        products = kernels @ pixels.flatten(2)  # (B, 9K, hw)
        logits = F.fold(products, pixels.shape[-2:], 3, padding=1)  # (B, K, h, w)
        return fit(logits + (embeddings @ bias)[..., None, None], size)


BACKBONES: dict[str, Callable[[NetworkConfig], nn.Module]] = {
    "maskformer_dino": lambda config: FrozenDino(config.backbone_weights),
    "maskformer_swin": lambda config: swin_tiny(config.backbone_weights, config.decoder),
    "maskformer_resnet": lambda config: resnet_50(config.backbone_weights),
}


def build_maskformer(config: NetworkConfig) -> MaskFormer:
    """Build MaskFormer over one of `BACKBONES`; see `NETWORKS` in lrtl/methods.py."""
    return MaskFormer(BACKBONES[config.network](config), config.components, config.decoder)


class Pyramid(nn.Module):
    """Feature pyramid (Lin et al. 2017): from coarse to fine, nearest upsampling in between."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(normalised(c, 1) for c in channels[:-1])
        inputs = [CHANNELS] * len(self.laterals) + channels[-1:]
        self.outputs = nn.ModuleList(normalised(c, 3) for c in inputs)
        for convolution, _ in [*self.laterals, *self.outputs]:
            nn.init.kaiming_uniform_(convolution.weight, a=1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Merge maps, from fine to coarse, to one (B, 256, h, w) of the finest map's size."""
        x = F.relu(self.outputs[-1](maps[-1]))
        for index in reversed(range(len(maps) - 1)):
            lateral = self.laterals[index](maps[index])
            x = lateral + F.interpolate(x, lateral.shape[-2:])
            x = F.relu(self.outputs[index](x))
        return x


class PaperUpsampling(nn.Sequential):
    """Twice a 3x3 convolution, nearest upsampling by 2 and a 1x1 convolution, each normalised.

    A normalised 1x1 convolution is the same before upsampling, at a quarter of the cost.
    """

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [normalised(CHANNELS, 3), nn.ReLU(), normalised(CHANNELS, 1), nn.ReLU()]
            layers += [nn.Upsample(scale_factor=2)]
        super().__init__(*layers)


class ReleasedUpsampling(nn.Module):
    """The same with 1x1 convolutions padded, so that maps grow by 2, and one normalisation.

    All convolutions share the normalisation of the pyramid's coarsest level.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(CHANNELS, CHANNELS, side, padding=1, bias=False) for side in (3, 1, 3, 1)
        )
        self.norm = (norm,)  # a tuple hides it: it is the pyramid's to save

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C, 4 h + 6, 4 w + 6)."""
        for convolution in self.convolutions:
            x = F.relu(self.norm[0](convolution(x)))
            if convolution.kernel_size == (3, 3):
                x = F.interpolate(x, scale_factor=2.0)
        return x


UPSAMPLING = {"paper": lambda norm: PaperUpsampling(), "released": ReleasedUpsampling}


class QueryDecoder(nn.Module):
    """DETR's decoder (Carion et al. 2020): learned queries attend to each other and to a map."""

    def __init__(self, inputs: int, components: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, CHANNELS, 1)
        self.queries = nn.Embedding(components, CHANNELS)
        self.layers = nn.ModuleList(
            DecoderLayer(CHANNELS, HEADS, PERCEPTRON, DROPOUT, batch_first=True)
            for _ in range(LAYERS)
        )
        self.norm = nn.LayerNorm(CHANNELS)
        self.embed = nn.Sequential(
            nn.Linear(CHANNELS, CHANNELS),
            nn.ReLU(),
            nn.Linear(CHANNELS, CHANNELS),
            nn.ReLU(),
            nn.Linear(CHANNELS, CHANNELS),
        )
        nn.init.kaiming_uniform_(self.project.weight, a=1)
        nn.init.zeros_(self.project.bias)
        for parameter in self.layers.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map the coarsest map (B, C', h, w) to embeddings of the components (B, K, C)."""
        x = self.project(x)  # (B, C, h, w)
        positions = sine_positions(*x.shape[-2:], x.device)  # (hw, C)
        memory = x.flatten(2).mT  # (B, hw, C)
        queries = self.queries.weight.expand(len(x), -1, -1)  # (B, K, C)
        x = torch.zeros_like(queries)
        for layer in self.layers:
            x = layer(x, memory, queries, positions)
        return self.embed(self.norm(x))


class DecoderLayer(nn.TransformerDecoderLayer):
    """torch's layer, normalised after each part, with positions in queries and keys alone."""

    def forward(self, x: Tensor, memory: Tensor, queries: Tensor, positions: Tensor) -> Tensor:
        """Map (B, K, C) to (B, K, C).

        Args:
            x: what is known of the components so far, (B, K, C).
            memory: what they attend to, (B, N, C).
            queries: the components' positions, (B, K, C).
            positions: the positions of `memory`, (N, C).
        """
        q, k = x + queries, memory + positions
        x = self.norm1(x + self.dropout1(self.self_attn(q, q, x, need_weights=False)[0]))
        attended, _ = self.multihead_attn(x + queries, k, memory, need_weights=False)
        x = self.norm2(x + self.dropout2(attended))
        hidden = self.linear2(self.dropout(F.relu(self.linear1(x))))
        return self.norm3(x + self.dropout3(hidden))


def sine_positions(height: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines of rows, then of columns, one turn over the map: (height width, C)."""
    pairs = CHANNELS // 4
    scales = 10000 ** (torch.arange(pairs, device=device) / pairs)
    y, x = (
        2 * math.pi * torch.arange(1, n + 1, device=device)[:, None] / (n + 1e-6) / scales
        for n in (height, width)
    )
    y, x = (torch.stack([a.sin(), a.cos()], 2).flatten(1) for a in (y, x))  # (h, C/2), (w, C/2)
    y, x = y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)
    return torch.cat([y, x], 2).flatten(0, 1)


def normalised(inputs: int, side: int) -> nn.Sequential:
    """A convolution to 256 channels that keeps the map's size, and group normalisation."""
    convolution = nn.Conv2d(inputs, CHANNELS, side, padding=side // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, CHANNELS))


def fit(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits of a size: the middle of larger ones, as released; smaller ones interpolated."""
    top, left = ((n - m) // 2 for n, m in zip(logits.shape[-2:], size, strict=True))
    if top < 0 or left < 0:
        return F.interpolate(logits, size, mode="bilinear")
    return logits[..., top : top + size[0], left : left + size[1]]
