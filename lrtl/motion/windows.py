"""Windows of frames around a query frame, and tracking points through them."""

from typing import Protocol

import numpy as np

from lrtl.motion.store import TrackStore

Window = tuple[np.ndarray, int]  # the frames (T,) of a window, and the query frame's index there


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


def reflected_window(frame: int, radius: int, frames: int) -> Window:
    """Frames (T,) around `frame`, reflected at the video's ends, and its index (`paper`)."""
    return _reflect(np.arange(frame - radius, frame + radius + 1), frames), radius


def shifted_window(frame: int, radius: int, frames: int) -> Window:
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


def rows_of(window: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """The row (n,) of a window (T,) that shows each of some frames (n,).

    A reflected window shows frames twice; all rows of a frame hold the same positions.

    Raises:
        ValueError: the window does not show one of the frames.
    """
    shown = window == np.asarray(frames)[:, None]  # (n, T)
    if not shown.any(1).all():
        asked, reach = (f"{min(f)} to {max(f)}" for f in (frames, window))
        raise ValueError(f"frames {asked} are wanted of tracks through frames {reach}")
    return shown.argmax(1)


BOUNDARIES = {"paper": reflected_window, "released": shifted_window}


def track_queries(
    tracker: Tracker, points, frame: int, window, query_index: int, store: TrackStore
) -> None:
    """Track points (2, N) queried at `frame` through a window, and store their tracks."""
    first, last = int(window.min()), int(window.max())
    positions, visibility = tracker.track(points, frame, first, last)
    rows = window - first
    store.write(frame, positions[rows], visibility[rows], window, query_index)
