"""AllTracker: flow from the query frame to all frames of its window, which points are read from.

Harley et al., "AllTracker: Efficient dense point tracking at high resolution", ICCV 2025. The model
is the published one, called as its demo calls it: 4 updates over sliding windows of 16 frames whose
longest side is 1024 px. A call takes as long for one point as for all. The code is under the MIT
License.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
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

INSTALL = checkout("alltracker", "c1ed462b7cfe9b4c6d07d8880ae5ed103b0848e0", "einops torchvision")
LONGEST = 1024  # px of the longer side of the frames it sees
WINDOW, UPDATES = 16, 4
VISIBLE = 0.6  # of visibility times confidence, as in the published evaluation


def open_alltracker(source: Path, config: TracksConfig) -> "AllTracker":
    """Build an AllTracker for a prepared sequence.

    Raises:
        ValueError: AllTracker's code is not there, or the weights are not of this model.
    """
    model = import_code("nets.alltracker", INSTALL, "MIT").Net(WINDOW, init_weights=False)
    expected = TRACKERS[config.tracker].weights
    model = load_weights(model, Path(config.weights), config.tracker, expected)
    return AllTracker(Sequence.open(source), config, model.to(device()))


class AllTracker:
    """Tracks every pixel of the query frame, so that there are no auxiliary points."""

    def __init__(self, sequence: Sequence, config: TracksConfig, model: nn.Module) -> None:
        self.model, self.config, self.size = model, config, tuple(config.size)
        seen = tuple(side * LONGEST // max(self.size) // 8 * 8 for side in self.size)
        self.images = read_frames(sequence, self.size, seen)  # (F, 3, h, w)
        self.frames = len(self.images)
        self.scale = pixel_scale(self.size, seen)
        self.made_by = {"weights_sha256": checked_sha256(Path(config.weights))}

    def track(self, points, frame, first, last):
        """Track points through a range of frames; see `Tracker.track`."""
        return both_ways(self._follow, points, frame, first, last)

    def _follow(self, points: np.ndarray, frames: np.ndarray):
        """Track points (2, N) from the first of some frames on."""
        if len(frames) == 1:
            return points[None], np.ones((1, points.shape[1]), bool)
        dense = self._call(np.pad(frames, (0, max(3 - len(frames), 0)), mode="edge"))
        height, width = self.images.shape[-2:]
        at = points * self.scale * 2 / np.array([[width - 1], [height - 1]]) - 1  # in [-1, 1]
        grid = torch.tensor(at.T[None, None], dtype=torch.float32).expand(len(dense), -1, -1, -1)
        values = F.grid_sample(dense, grid, align_corners=True)[: len(frames), :, 0]  # (T, 4, N)
        moved, seen = values[:, :2].numpy() / self.scale, values[:, 2:].prod(1) >= VISIBLE
        positions, visible = points + moved, seen.numpy()
        positions[0], visible[0] = points, True
        return positions, visible

    def _call(self, frames: np.ndarray) -> torch.Tensor:
        """Flow in px from the first of some frames, visibility and confidence: (T, 4, h, w)."""
        where = next(self.model.parameters()).device
        video = self.images[frames][None].to(where)  # (1, T, 3, h, w)
        with torch.inference_mode(), autocast(where, self.config.precision), cuda_or_cpu():
            flow, seen, *_ = self.model.forward_sliding(video, iters=UPDATES)
        return torch.cat([flow[0], seen[0]], dim=1).float().cpu()
