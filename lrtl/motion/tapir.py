"""TAPIR and BootsTAPIR: every point on its own, over all frames of its window at once.

Doersch et al., "TAPIR: Tracking any point with per-frame initialization and temporal refinement",
ICCV 2023, and "BootsTAP", ACCV 2024. The model is the published one for torch; code and weights are
under the Apache License 2.0.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from lrtl.config import TracksConfig
from lrtl.datasets.fetch import checked_sha256
from lrtl.datasets.layout import Sequence
from lrtl.methods import TRACKERS
from lrtl.motion.learned import autocast, device, import_code, read_frames
from lrtl.weights import load_weights

COMMIT = "c2cbab81cc06092b5f05bfe2da7bfec54e2079c9"
INSTALL = (
    "pip install dm-tree einshape && pip install --no-deps "
    f"'git+https://github.com/google-deepmind/tapnet@{COMMIT}'"
)
QUERIES_AT_ONCE = 256  # of a call, whose cost volumes are held together


class Variant(NamedTuple):
    """A published model and the resolution it was published for."""

    build: dict  # arguments of the published constructor
    resolution: tuple[int, int]  # (h, w) in px


TAPIR_VARIANTS = {
    "tapir": Variant({"pyramid_level": 0, "extra_convs": False}, (256, 256)),
    # The temperature it was trained at; the constructor's default is TAPIR's.
    "bootstapir": Variant(
        {"pyramid_level": 1, "softmax_temperature": 10.0},
        (512, 512),
    ),
}


def open_tapir(source: Path, config: TracksConfig) -> "Tapir":
    """Build a TAPIR for a prepared sequence.

    Raises:
        ValueError: TAPIR's code is not installed, or the weights are not of this model.
    """
    variant = TAPIR_VARIANTS[config.tracker]
    code = import_code("tapnet.torch.tapir_model", INSTALL, "Apache 2.0")
    model = code.TAPIR(**variant.build, initial_resolution=(256, 256))
    expected = TRACKERS[config.tracker].weights
    model = load_weights(model, Path(config.weights), config.tracker, expected)
    return Tapir(Sequence.open(source), config, model.to(device()))


class Tapir:
    """Tracks points independently of each other, so that there are no auxiliary points."""

    def __init__(self, sequence: Sequence, config: TracksConfig, model: nn.Module) -> None:
        self.model, self.config, self.size = model, config, tuple(config.size)
        seen = TAPIR_VARIANTS[config.tracker].resolution
        images = read_frames(sequence, self.size, seen)  # (F, 3, h, w)
        self.images = images.permute(0, 2, 3, 1) / 127.5 - 1  # (F, h, w, 3)
        self.frames = len(images)
        self.scale = np.array([[seen[1] / self.size[1]], [seen[0] / self.size[0]]], np.float32)
        self.made_by = {"weights_sha256": checked_sha256(Path(config.weights))}

    def track(self, points, frame, first, last):
        """Track points through a range of frames; see `Tracker.track`."""
        count = points.shape[1]
        positions = np.empty((last - first + 1, 2, count), np.float32)
        visibility = np.empty((last - first + 1, count), bool)
        for start in range(0, count, self.config.points_per_call):
            part = np.s_[..., start : start + self.config.points_per_call]
            positions[part], visibility[part] = self._call(points[part], frame, first, last)
        positions[frame - first], visibility[frame - first] = points, True
        return positions, visibility

    def _call(self, points: np.ndarray, frame: int, first: int, last: int):
        """Track points (2, N) in one call of the model, whose pixel centres are at halves."""
        where = next(self.model.parameters()).device
        x, y = (points + 0.5) * self.scale
        queries = np.stack([np.full_like(x, frame - first), y, x], 1)  # (N, 3)
        with torch.inference_mode(), autocast(where, self.config.precision):
            out = self.model(
                self.images[None, first : last + 1].to(where),
                torch.from_numpy(queries)[None].to(where),
                query_chunk_size=QUERIES_AT_ONCE,
            )
        positions = out["tracks"][0].float().permute(1, 2, 0).cpu().numpy()  # (T, 2, N)
        hidden, far = (out[name][0].float().sigmoid() for name in ("occlusion", "expected_dist"))
        visible = (1 - hidden) * (1 - far) > 0.5  # (N, T)
        return positions / self.scale - 0.5, visible.T.cpu().numpy()
