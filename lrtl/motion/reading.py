"""Flow and tracks as the losses see them: in pixels of one reference frame, cut and smoothed."""

from typing import NamedTuple

import numpy as np

from lrtl.config import LossConfig
from lrtl.motion.store import TRACK_SCALE, FlowStore, TrackStore, fixed_positions
from lrtl.motion.windows import BOUNDARIES, Window, rows_of, shifted_window

REFERENCE = (480, 854)  # H, W of the frame in whose pixels losses are measured


class Tracks(NamedTuple):
    """The tracks that a frame is trained on, in the stores' fixed point."""

    query: np.ndarray  # (2, N) integers, where they are in the frame
    steps: np.ndarray  # (T-1, 2, N) int16
    visibility: np.ndarray  # (T, N)
    window: np.ndarray  # (T,) the video frame of each row
    query_index: int  # the row of the frame
    usable: np.ndarray  # columns that are visible in the frame and in enough of the window
    scale: np.ndarray  # (2, 1) reference pixels in a unit of fixed point

    def positions(self, columns: np.ndarray) -> np.ndarray:
        """Positions (T, 2, n) int32 of some columns, in units of `scale`."""
        query, steps = self.query.take(columns, -1), self.steps.take(columns, -1)
        return fixed_positions(query, steps, self.query_index)

    def pixels(self, positions: np.ndarray) -> np.ndarray:
        """Positions (..., 2, n) in units of `scale` as float32 reference pixels."""
        return positions.astype(np.float32, copy=False) * self.scale


def read_flow(store: FlowStore, frame: int, gap: int, size, losses: LossConfig) -> np.ndarray:
    """Read a flow (2, H, W) in reference pixels, resized (nearest) and clipped to +-`flow_clip`.

    The flow loss does not change with a displacement that all pixels share; clipping does. With
    `flow_centre` median the frame's median displacement is taken off first, so that what moves
    against a fast camera is not clipped away.
    """
    flow = store.read(frame, gap)
    scale = np.array([REFERENCE[1] / flow.shape[2], REFERENCE[0] / flow.shape[1]], np.float32)
    if flow.shape[1:] != tuple(size):
        y, x = (np.arange(n) * old // n for n, old in zip(size, flow.shape[1:], strict=True))
        flow = flow[:, y[:, None], x]
    flow *= scale[:, None, None]
    if losses.flow_centre == "median":
        flow -= np.median(flow, axis=(1, 2), keepdims=True)
    return np.clip(flow, -losses.flow_clip, losses.flow_clip, out=flow)


def read_tracks(store: TrackStore, frame: int, losses: LossConfig) -> Tracks:
    """Read the tracks to train a frame on, over the window of `context` frames either way.

    They are queried at the frame and at `neighbours` frames either way, or as many inside the
    video. Usable are those that are visible in the frame and in `track_visibility` of the window.
    """
    about = store.attributes
    window = BOUNDARIES[about["boundary"]](frame, losses.context, about["frames"])
    sources, _ = shifted_window(frame, losses.neighbours, about["frames"])
    sets = [read_window(store, int(source), window) for source in np.unique(sources)]
    query, steps, visibility = (np.concatenate(parts, -1) for parts in zip(*sets, strict=True))
    share = visibility.mean(0)
    usable = np.flatnonzero(visibility[window[1]] & (share >= losses.track_visibility))
    size = np.array([[about["width"]], [about["height"]]])
    scale = TRACK_SCALE * (np.array(REFERENCE[::-1])[:, None] - 1) / (size - 1)
    return Tracks(query, steps, visibility, *window, usable, scale.astype(np.float32))


def read_window(store: TrackStore, source: int, wanted: Window) -> tuple[np.ndarray, ...]:
    """Read tracks queried at the frame `source` over a window of another frame, or a shorter one.

    Returns:
        query (2, N) in the frame whose window it is, steps (T-1, 2, N) and visibility (T, N).

    Raises:
        ValueError: the tracks do not reach all frames of the window.
    """
    query, steps, visibility, window, query_index = store.read_fixed(source)
    frames, index = wanted
    if np.array_equal(window, frames) and query_index == index:
        return query, steps, visibility
    try:
        rows = rows_of(window, frames)
    except ValueError as error:
        remedy = "lower losses.context or raise tracks.radius"
        raise ValueError(f"{store.path}, frame {source}: {error}; {remedy}") from error
    positions = fixed_positions(query, steps, query_index)[rows]  # (T, 2, N)
    return positions[index], np.diff(positions, axis=0).astype(np.int16), visibility[rows]


def moving_average(values: np.ndarray, window: int) -> np.ndarray:
    """Average integers over `window` entries along the first axis, fewer at the ends: float32.

    Sums are of integers, so that only the division rounds.
    """
    half, length = window // 2, len(values)
    total = values[: half + 1].sum(0, dtype=values.dtype)
    out = np.empty(values.shape, np.float32)
    for i in range(length):
        count = min(i + half, length - 1) - max(i - half, 0) + 1
        np.divide(total, count, out=out[i], dtype=np.float32, casting="same_kind")
        if i + half + 1 < length:
            total += values[i + half + 1]
        if i >= half:
            total -= values[i - half]
    return out


def normalise_points(points: np.ndarray) -> np.ndarray:
    """Reference pixels (2, N) to [-1, 1] between the first and the last pixel centre."""
    scale = np.array([[2 / (REFERENCE[1] - 1)], [2 / (REFERENCE[0] - 1)]], np.float32)
    return points * scale - 1
