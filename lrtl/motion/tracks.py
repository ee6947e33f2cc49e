"""Chained flow, and the tracks of a sequence, one set of points per query frame.

The points of a query frame form a grid of `stride` px whose offset cycles from frame to frame; they
are tracked `radius` = f frames either way, a window of T = 2f + 1 frames.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import lrtl
from lrtl.config import WHOLE, Part, TracksConfig
from lrtl.methods import TRACKERS
from lrtl.motion.grids import query_grid
from lrtl.motion.shared import share_tracks
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.windows import BOUNDARIES, Tracker, track_queries


class ChainedFlow:
    """Tracks by following the flow of gap 1 from frame to frame, both ways from the query frame.

    A track ends where it leaves the frame or where forward and backward flow disagree (Sundaram,
    Brox and Keutzer 2010, Eq. 5). Behind its end it stays invisible and goes on with the flow it
    lies on, outside the frame with that of the nearest border pixel: never held at the border.
    """

    def __init__(self, flow: FlowStore) -> None:
        self.frames = flow.attributes["frames"]
        self.forward = [_field(flow.read(t, 1)) for t in range(self.frames - 1)]
        self.backward = [_field(flow.read(t, -1)) for t in range(1, self.frames)]
        self.size = (flow.attributes["height"], flow.attributes["width"])
        about = ("estimator", "weights_sha256", "updates")
        self.made_by = {"flow": {key: flow.attributes[key] for key in about}}

    @classmethod
    def open(cls, source: Path, config: TracksConfig) -> Self:
        """Open the flow store of a sequence, with gaps 1 and -1."""
        return cls(FlowStore.open(source))

    def track(self, points, frame, first, last):
        """Track points through a range of frames; see `Tracker.track`."""
        start = torch.from_numpy(np.asarray(points, np.float32))
        ahead = self._follow(start, range(frame, last), self.forward, self.backward)
        behind_flow = range(frame - 1, first - 1, -1)
        behind = self._follow(start, behind_flow, self.backward, self.forward)
        positions = [p for p, _ in behind[::-1]] + [start] + [p for p, _ in ahead]
        seen = torch.ones(start.shape[1], dtype=torch.bool)
        visibility = [v for _, v in behind[::-1]] + [seen] + [v for _, v in ahead]
        return torch.stack(positions).numpy(), torch.stack(visibility).numpy()

    def _follow(self, points: Tensor, pairs: range, there: list, back: list) -> list:
        """Follow points over pairs of neighbouring frames: [(positions, visible), ...]."""
        visible, track = torch.ones(points.shape[1], dtype=torch.bool), []
        for pair in pairs:
            step = _sample(there[pair], points)  # (2, N)
            moved = points + step
            visible = visible & self._inside(moved) & _agree(step, _sample(back[pair], moved))
            points = points + step
            track.append((points, visible))
        return track

    def _inside(self, points: Tensor) -> Tensor:
        height, width = self.size
        x, y = points
        return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def track_sequence(source: Path, config: TracksConfig, out: Path, part: Part = WHOLE) -> None:
    """Track the query grid of every frame of a sequence into a Zarr store.

    Args:
        source: what the tracker follows: the sequence's flow store, with gaps 1 and -1, for
            `chained_flow`, else the prepared sequence.
        config: tracker, window and grid.
        out: the store, `results/tracks/{dataset}/{sequence}/{tracker}.zarr`.
        part: the query frames to do; less than all leave the store partial, for a last call to
            finish. Shared tracks depend on each other: their first part does them all.
    """
    tracker = TRACKERS[config.tracker](source, config)
    frames, size = tracker.frames, tracker.size
    points = query_grid(size, config.stride, 0).shape[1]
    stated = ("weights", "size")  # by their sha256, and by height and width
    settings = {key: value for key, value in asdict(config).items() if key not in stated}
    attributes = {
        **settings,
        "height": size[0],
        "width": size[1],
        **tracker.made_by,
        "version": lrtl.__version__,
    }
    store = TrackStore.build(out, frames, 2 * config.radius + 1, points, attributes)
    windows = [BOUNDARIES[config.boundary](i, config.radius, frames) for i in range(frames)]
    QUERIES[config.queries](tracker, windows, config, store, part)
    if part == WHOLE:
        store.finish()


def track_every_frame(
    tracker: Tracker, windows: list, config: TracksConfig, store: TrackStore, part: Part
) -> None:
    """Fill a store with the tracks of every frame's query grid, or of a part of the frames."""
    todo = [frame for frame in part.of(len(windows)) if not store.is_done(frame)]
    for frame in tqdm(todo, desc=f"tracks {store.path.parent.name}", unit="frame"):
        grid = query_grid(tracker.size, config.stride, frame)
        track_queries(tracker, grid, frame, *windows[frame], store)


QUERIES = {"every_frame": track_every_frame, "shared": share_tracks}


def _field(flow: np.ndarray) -> Tensor:
    return torch.from_numpy(flow)[None]  # (1, 2, H, W)


def _sample(field: Tensor, points: Tensor) -> Tensor:
    """Sample a field (1, C, H, W) bilinearly at points (2, N) in px, borders replicated: (C, N)."""
    height, width = field.shape[-2:]
    scale = torch.tensor([[2 / (width - 1)], [2 / (height - 1)]])
    grid = (points * scale - 1).T[None, None]  # (1, 1, N, 2)
    return F.grid_sample(field, grid, padding_mode="border", align_corners=True)[0, :, 0]


def _agree(there: Tensor, back: Tensor) -> Tensor:
    """Whether forward and backward flow (2, N) cancel (Sundaram, Brox and Keutzer 2010, Eq. 5)."""
    tolerance = 0.01 * (there.square().sum(0) + back.square().sum(0)) + 0.5
    return (there + back).square().sum(0) < tolerance
