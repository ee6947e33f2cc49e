"""What learned point trackers have in common: their code, precision and frames.

Their code is not part of this package and is imported when one of them is chosen.
"""

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from lrtl.datasets.layout import Sequence


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Run a model's matrix products and convolutions in float32, bfloat16 or float16."""
    reduced = precision != "float32"
    return torch.autocast(device.type, getattr(torch, precision) if reduced else None, reduced)


def cuda_or_cpu() -> AbstractContextManager:
    """Run published code that asks for a GPU by `tensor.cuda()`, on the CPU where there is none."""
    if torch.cuda.is_available():
        return nullcontext()
    return patch.object(torch.Tensor, "cuda", lambda tensor: tensor)


def checkout(name: str, commit: str, packages: str) -> str:
    """The command that installs one of A. Harley's trackers, which are not packages."""
    return (
        f"git clone https://github.com/aharley/{name} && git -C {name} checkout {commit} && "
        f"pip install {packages} && export PYTHONPATH=$PWD/{name}"
    )


def import_code(module: str, install: str, licence: str) -> ModuleType:
    """Import a tracker's published code.

    Args:
        module: its dotted name.
        install: the command that installs it.
        licence: named in the error, for whoever installs it.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the tracker's code is not installed ({error}); install it under its own licence, "
            f"{licence}: {install}, or run the workflow with --sdm conda"
        ) from error


def read_frames(sequence: Sequence, size: tuple[int, int], seen: tuple[int, int]) -> Tensor:
    """Read all frames as a tracker sees them.

    Args:
        sequence: the frames.
        size: (H, W) to which frames are resized first (Lanczos), the size of the tracks' pixels.
        seen: (h, w) of the tracker's input, bilinear with corners aligned.

    Returns:
        (F, 3, h, w) float32, RGB in 0..255.
    """
    frames = torch.empty(len(sequence.frames), 3, *seen)
    for index in range(len(frames)):
        image = Image.fromarray(sequence.frame(index)).resize(size[::-1], Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()  # (1, 3, H, W)
        frames[index] = F.interpolate(pixels, seen, mode="bilinear", align_corners=True)[0]
    return frames


def pixel_scale(size: tuple[int, int], seen: tuple[int, int]) -> np.ndarray:
    """Factors (2, 1) from (x, y) in px of frames of `size` to px of frames `seen`."""
    (height, width), (h, w) = size, seen
    return np.array([[(w - 1) / (width - 1)], [(h - 1) / (height - 1)]], np.float32)


def both_ways(follow: Callable, points: np.ndarray, frame: int, first: int, last: int):
    """Track points (2, N) at `frame` through `first` to `last`; see `Tracker.track`.

    `follow(points, frames)` tracks them from the first of some frames through all: positions
    (frames, 2, N) and visibility (frames, N).
    """
    ahead = follow(points, np.arange(frame, last + 1))
    behind = follow(points, np.arange(frame, first - 1, -1))
    return tuple(np.concatenate([b[:0:-1], a]) for a, b in zip(ahead, behind, strict=True))
