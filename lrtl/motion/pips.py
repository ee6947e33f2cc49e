"""PIPs++: every point on its own, ahead and back through the whole window at once.

Zheng et al., "PointOdyssey: A large-scale synthetic dataset for long-term point tracking", ICCV
2023. The model is the published one, called as its demo calls it: 16 updates from standstill on
frames of 512 x 896. It says nothing about visibility: points are visible inside the frame. The
papers use it with a context of 15 frames (Table 8). The code is under the MIT License.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from lrtl.config import TracksConfig
from lrtl.datasets.fetch import checked_sha256
from lrtl.datasets.layout import Sequence
from lrtl.methods import TRACKERS
from lrtl.motion.learned import (
    autocast,
    both_ways,
    checkout,
    cuda_or_cpu,
    device,
    import_code,
    pixel_scale,
    read_frames,
)
from lrtl.weights import load_weights

INSTALL = checkout("pips2", "8b5bd9ecb27274f76f75fcaeff0dbdf13de0b977", "einops prettytable")
RESOLUTION = (512, 896)  # (h, w) in px
UPDATES = 16
FEWEST = 8  # frames of a call; the model normalises over time, which over a few leaves noise
POINTS_AT_ONCE = 1024  # of a call, whose correlations with all frames are held together


def open_pips(source: Path, config: TracksConfig) -> "Pips":
    """Build a PIPs++ for a prepared sequence.

    Raises:
        ValueError: the code of PIPs++ is not there, or the weights are not of this model.
    """
    model = import_code("nets.pips2", INSTALL, "MIT").Pips(stride=8)
    expected = TRACKERS[config.tracker].weights
    model = load_weights(model, Path(config.weights), config.tracker, expected)
    return Pips(Sequence.open(source), config, model.to(device()))


class Pips:
    """Tracks points independently of each other, so that there are no auxiliary points."""

    def __init__(self, sequence: Sequence, config: TracksConfig, model: nn.Module) -> None:
        self.model, self.config, self.size = model, config, tuple(config.size)
        self.images = read_frames(sequence, self.size, RESOLUTION)  # (F, 3, h, w)
        self.frames = len(self.images)
        self.scale = pixel_scale(self.size, RESOLUTION)
        self.made_by = {"weights_sha256": checked_sha256(Path(config.weights))}

    def track(self, points, frame, first, last):
        """Track points through a range of frames; see `Tracker.track`."""
        return both_ways(self._follow, points, frame, first, last)

    def _follow(self, points: np.ndarray, frames: np.ndarray):
        """Track points (2, N) from the first of some frames on."""
        positions = np.repeat(points[None], len(frames), axis=0)  # (T, 2, N)
        at_once = min(self.config.points_per_call, POINTS_AT_ONCE)
        seen = np.pad(frames, (0, max(FEWEST - len(frames), 0)), mode="edge")
        for start in range(0, points.shape[1] if len(frames) > 1 else 0, at_once):
            part = np.s_[..., start : start + at_once]
            positions[part] = self._call(points[part], seen)[: len(frames)]
        positions[0] = points
        x, y = positions[:, 0], positions[:, 1]
        height, width = self.size
        return positions, (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)

    def _call(self, points: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Positions (T, 2, N) from one call of the model."""
        where = next(self.model.parameters()).device
        still = torch.from_numpy(points * self.scale).T.expand(1, len(frames), -1, -1)
        with torch.inference_mode(), autocast(where, self.config.precision), cuda_or_cpu():
            updates, *_ = self.model(
                still.to(where), self.images[frames][None].to(where), iters=UPDATES, beautify=True
            )
        return updates[-1][0].float().transpose(1, 2).cpu().numpy() / self.scale
