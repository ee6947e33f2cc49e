"""Point trackers and the tracks of a sequence, one set of points per query frame.

The points of a query frame form a grid of `stride` px whose offset cycles from frame to frame; they
are tracked `radius` = f frames either way, a window of T = 2f + 1 frames.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import lrtl
from lrtl.config import TracksConfig
from lrtl.motion.cotracker import VARIANTS, open_cotracker
from lrtl.motion.grids import query_grid
from lrtl.motion.store import FlowStore, TrackStore


class Tracker(Protocol):
    """What every point tracker of a video offers."""

    frames: int
    size: tuple[int, int]  # (H, W) of the frames in whose px the points are
    made_by: dict  # what the tracks depend on beside the config

    def track(
        self, points: np.ndarray, frame: int, first: int, last: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Track `points` (2, N), in px at `frame`, through the frames `first` to `last` inclusive.

        Returns:
            positions (frames, 2, N) float32 in px and visibility (frames, N) bool.
        """


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


TRACKERS: dict[str, Callable[[Path, TracksConfig], Tracker]] = {
    "chained_flow": ChainedFlow.open,
    **dict.fromkeys(VARIANTS, open_cotracker),
}


def reflected_window(frame: int, radius: int, frames: int) -> tuple[np.ndarray, int]:
    """Frames (T,) around `frame`, reflected at the video's ends, and its index (`paper`)."""
    return _reflect(np.arange(frame - radius, frame + radius + 1), frames), radius


def shifted_window(frame: int, radius: int, frames: int) -> tuple[np.ndarray, int]:
    """Frames (T,) around `frame`, shifted into the video, and its index there (`released`).

    A video shorter than the window is reflected at both ends.
    """
    length = 2 * radius + 1
    if frames < length:
        start = -((length - frames) // 2)
        return _reflect(np.arange(start, start + length), frames), frame - start
    start = min(max(frame - radius, 0), frames - length)
    return np.arange(start, start + length), frame - start


def _reflect(index: np.ndarray, frames: int) -> np.ndarray:
    period = 2 * (frames - 1)
    index = np.abs(index) % period
    return np.minimum(index, period - index)


BOUNDARIES = {"paper": reflected_window, "released": shifted_window}


def track_sequence(source: Path, config: TracksConfig, out: Path) -> None:
    """Track the query grid of every frame of a sequence into a Zarr store.

    Args:
        source: what the tracker follows: the sequence's flow store, with gaps 1 and -1, for
            `chained_flow`, else the prepared sequence.
        config: tracker, window and grid.
        out: the store, `results/tracks/{dataset}/{sequence}/{tracker}.zarr`.
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
    todo = [frame for frame in range(frames) if not store.is_done(frame)]
    for frame in tqdm(todo, desc=f"tracks {out.parent.name}", unit="frame"):
        window, query_index = BOUNDARIES[config.boundary](frame, config.radius, frames)
        first, last = int(window.min()), int(window.max())
        grid = query_grid(size, config.stride, frame)
        positions, visibility = tracker.track(grid, frame, first, last)
        rows = window - first
        store.write(frame, positions[rows], visibility[rows], window, query_index)
    store.finish()


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
