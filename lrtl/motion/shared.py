"""Shared tracks: a query frame's set is what already passes visibly through it.

Tracking the grid of every frame follows the same physical points again from each of them. Here new
queries are planted only where no track passes yet; their tracks are followed twice the radius
either way and serve every frame within the radius.
"""

import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lrtl.config import Part, TracksConfig
from lrtl.motion.grids import query_grid
from lrtl.motion.store import TrackStore
from lrtl.motion.windows import Tracker, Window, reflected_window, rows_of, track_queries


def share_tracks(
    tracker: Tracker, windows: list[Window], config: TracksConfig, store: TrackStore, part: Part
) -> None:
    """Fill a store with shared tracks: in every query frame at most one a cell of the query grid.

    The planted queries' tracks are kept in `{store}.planted.partial` until the store is filled, so
    that an interrupted run goes on with the queries that are missing.

    Args:
        tracker: what follows points.
        windows: each query frame's window.
        config: `coverage` is the share of cells to cover; a frame with less is given queries of
            its own.
        store: the store being built.
        part: the first part does all the work, others none: each query depends on those before.
    """
    if part.index > 1:
        return
    path, count = Path(f"{store.path}.planted"), store.attributes["points"]
    length = 4 * config.radius + 1
    planted = TrackStore.build(path, len(windows), length, count, store.attributes)
    plantation = Plantation(tracker, windows, config, planted)
    plantation.plant()
    for frame in tqdm(range(len(windows)), desc="shared tracks", unit="frame"):
        if not store.is_done(frame):
            positions, visibility = plantation.passing(frame)
            store.write(frame, positions, visibility, *windows[frame])
    shutil.rmtree(f"{path}.partial")


class Plantation:
    """Planted queries, and the cells of every frame that their tracks pass visibly."""

    def __init__(self, tracker, windows: list[Window], config: TracksConfig, store) -> None:
        self.tracker, self.windows, self.config, self.store = tracker, windows, config, store
        self.shape = tuple(-(-side // config.stride) for side in tracker.size)
        self.own = np.zeros(len(windows), bool)  # frames with queries of their own
        # Tracks as (first frame, positions, visibility); as many as may serve one frame.
        self.tracks = lru_cache(2 * config.radius + 1)(self._tracks)

    def plant(self) -> None:
        """Give the poorest frame queries in its free cells until all frames are covered."""
        frames, radius = len(self.windows), self.config.radius
        covered = np.zeros((frames, self.shape[0] * self.shape[1]), bool)
        bar = tqdm(total=frames, desc="frames covered", unit="frame")
        while (share := np.where(self.own, 1.0, covered.mean(1))).min() < self.config.coverage:
            poorest = np.flatnonzero(share == share.min())
            frame = int(poorest[min(radius, len(poorest) - 1)])  # at first, side by side
            if not self.store.is_done(frame):
                grid = query_grid(self.tracker.size, self.config.stride, frame)
                free = grid[:, ~covered[frame, self.cells(grid)]]
                window = reflected_window(frame, 2 * radius, frames)
                track_queries(self.tracker, free, frame, *window, self.store)
            self.own[frame] = True
            first, positions, visibility = self.tracks(frame)
            for other in range(frames):
                if self.serves(frame, other):
                    row = other - first
                    covered[other, self.cells(positions[row][:, visibility[row]])] = True
            bar.update(int((share >= self.config.coverage).sum()) - bar.n)
        bar.close()

    def passing(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Tracks (T, 2, N) through a frame's window and visibility (T, N), one a cell at most.

        Where several pass a cell, that of the nearest query frame is taken.
        """
        window, _ = self.windows[frame]
        free, sets = np.ones(self.shape[0] * self.shape[1], bool), []
        sources = np.flatnonzero(self.own)
        for source in sources[np.argsort(np.abs(sources - frame), kind="stable")]:
            if self.serves(source, frame):
                first, positions, visibility = self.tracks(int(source))
                cells = self.cells(positions[frame - first])
                usable = np.flatnonzero(visibility[frame - first] & free[cells])
                chosen, index = np.unique(cells[usable], return_index=True)
                free[chosen] = False
                columns, rows = usable[index], window - first
                sets.append((positions[rows].take(columns, 2), visibility[rows].take(columns, 1)))
        positions, visibility = (np.concatenate(parts, -1) for parts in zip(*sets, strict=True))
        return positions, visibility

    def serves(self, source: int, frame: int) -> bool:
        """Whether tracks planted at `source` span the window of `frame`."""
        window, reach = self.windows[frame][0], 2 * self.config.radius
        return source - reach <= window.min() and window.max() <= source + reach

    def cells(self, points: np.ndarray) -> np.ndarray:
        """The cell (N,), row by row, of each point (2, N) in px."""
        x, y = np.rint(points).astype(np.int32) // self.config.stride
        return y.clip(0, self.shape[0] - 1) * self.shape[1] + x.clip(0, self.shape[1] - 1)

    def _tracks(self, source: int) -> tuple[int, np.ndarray, np.ndarray]:
        positions, visibility, window, _ = self.store.read(source)
        first, last = int(window.min()), int(window.max())
        rows = rows_of(window, range(first, last + 1))
        return first, positions[rows], visibility[rows]
