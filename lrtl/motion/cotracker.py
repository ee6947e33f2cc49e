"""CoTracker2 and CoTracker3, over the sliding windows that see the wanted frames and no others.

Karaev et al., "CoTracker: It is better to track together", ECCV 2024, and "CoTracker3", 2024. The
model is the published one, called as its predictors call it: 6 updates on frames of the model's
own resolution. Licence of code and weights: CC BY-NC 4.0, not for commercial use.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lrtl.config import TracksConfig
from lrtl.datasets.fetch import checked_sha256
from lrtl.datasets.layout import Sequence
from lrtl.methods import TRACKERS
from lrtl.motion.grids import AUXILIARY
from lrtl.motion.learned import autocast, device, import_code, pixel_scale, read_frames
from lrtl.weights import load_weights

COMMIT = "82e02e8029753ad4ef13cf06be7f4fc5facdda4d"
INSTALL = f"pip install 'git+https://github.com/facebookresearch/co-tracker@{COMMIT}'"
UPDATES = 6
CLIP = 101  # frames tracked at once in the papers' released schedule
VIRTUAL_TRACKS = 64  # of the published models; as many points and they mask the wrong side
AUXILIARY_OFFSET = 7  # frames from the query frame to those of the auxiliary points


class Variant(NamedTuple):
    """A published model, and how its predictor says that a point is visible."""

    build: dict  # arguments of the published constructor
    joint: bool  # one pass over the whole window, not sliding windows either way
    visible: Callable[..., Tensor]


VARIANTS = {
    "cotracker2": Variant(
        {"v2": True, "window_len": 8},
        False,
        lambda visibility, *_: visibility > 0.9,
    ),
    "cotracker3_offline": Variant(
        {"offline": True, "window_len": 60},
        True,
        lambda visibility, *_: visibility > 0.9,
    ),
    "cotracker3_online": Variant(
        {"offline": False, "window_len": 16},
        False,
        lambda visibility, confidence, *_: visibility * confidence > 0.6,
    ),
}


def open_cotracker(source: Path, config: TracksConfig) -> "CoTracker":
    """Build a CoTracker for a prepared sequence.

    Raises:
        ValueError: CoTracker's code is not installed, or the weights are not of this model.
    """
    variant = VARIANTS[config.tracker]
    code = import_code("cotracker.models.build_cotracker", INSTALL, "CC BY-NC 4.0 (not commercial)")
    model = code.build_cotracker(**variant.build)
    expected = TRACKERS[config.tracker].weights
    model = load_weights(model, Path(config.weights), config.tracker, expected)
    return CoTracker(Sequence.open(source), config, model.to(device()))


class CoTracker:
    """Joint tracking of all points of a call, with auxiliary points at frames near the query frame.

    With sliding windows, points are tracked from the query frame on and, in the reversed clip, from
    it back. The windows fall where they fall when the whole clip is tracked: the whole video, or
    `CLIP` frames around the query frame if it is longer. Those that end before the query frame
    or begin after the last wanted frame are left out, and so are auxiliary points of the other
    half; the tracks stay the same.
    """

    def __init__(self, sequence: Sequence, config: TracksConfig, model: nn.Module) -> None:
        self.model, self.config = model, config
        self.variant, self.size = VARIANTS[config.tracker], tuple(config.size)
        seen = tuple(model.model_resolution)
        self.images = read_frames(sequence, self.size, seen)
        self.frames = len(self.images)
        self.scale = pixel_scale(self.size, seen)
        self.auxiliary = AUXILIARY[config.auxiliary](self.size)
        self.made_by = {"weights_sha256": checked_sha256(Path(config.weights))}

    def track(self, points, frame, first, last):
        """Track points through a range of frames; see `Tracker.track`."""
        positions = np.empty((last - first + 1, *points.shape), np.float32)
        visibility = np.empty((last - first + 1, points.shape[1]), bool)
        calls = -(-points.shape[1] // self.config.points_per_call)
        for call in range(calls):  # every call has points all over the frame
            part = np.s_[..., call::calls]
            track = self._joint if self.variant.joint else self._both_ways
            positions[part], visibility[part] = track(points[part], frame, first, last)
        positions[frame - first], visibility[frame - first] = points, True
        return positions, visibility

    def _joint(self, points: np.ndarray, frame: int, first: int, last: int):
        """Track points through the whole window in one pass."""
        near = [frame - AUXILIARY_OFFSET, frame + AUXILIARY_OFFSET]
        frames = np.arange(first, last + 1)
        return self._call(points, frames, frame - first, np.clip(near, first, last) - first)

    def _both_ways(self, points: np.ndarray, frame: int, first: int, last: int):
        """Track points ahead in the clip and, reversed, back."""
        lower, upper = released_clip(frame, self.frames)
        clip = np.arange(min(lower, first), max(upper, last + 1))
        ahead = self._half(points, clip, frame - clip[0], last - frame)
        behind = self._half(points, clip[::-1], clip[-1] - frame, frame - first)
        return tuple(np.concatenate([b[:0:-1], a]) for a, b in zip(ahead, behind, strict=True))

    def _half(self, points: np.ndarray, clip: np.ndarray, query: int, reach: int):
        """Track points from index `query` of a clip `reach` frames on: (reach + 1, 2, N)."""
        if reach == 0:
            return points[None], np.ones((1, points.shape[1]), bool)
        window = self.model.window_len
        start, stop = wanted_windows(query, query + reach, len(clip), window)
        near = min(query + AUXILIARY_OFFSET, len(clip) - 1)
        # The model fills its last window up with the last frame, but skips half a window or less.
        frames = np.pad(clip[start:stop], (0, max(window - (stop - start), 0)), mode="edge")
        tracks = self._call(points, frames, query - start, [near - start])
        return tuple(t[query - start : query - start + reach + 1] for t in tracks)

    def _call(self, points: np.ndarray, frames: np.ndarray, query: int, near: list[int]):
        """Run the model on frames of the video, with points queried at index `query` of them.

        Args:
            points: (2, N) in px.
            frames: the video frames that the model sees, in its order.
            query: index among `frames` at which the points are.
            near: indices at which the auxiliary points are; one that is `query` is skipped.

        Returns:
            positions (frames, 2, N) in px and visibility (frames, N).
        """
        groups = [(query, points)] + [(i, self.auxiliary) for i in near if i != query]
        queries = np.concatenate(
            [np.vstack([np.full(p.shape[1], i), p * self.scale]) for i, p in groups], axis=1
        ).T  # (N + auxiliary, 3): index, x, y
        if len(queries) == VIRTUAL_TRACKS:
            queries = np.vstack([queries, queries[-1:]])
        where = next(self.model.parameters()).device
        video = self.images[frames].to(where)[None]  # (1, T, 3, h, w)
        with torch.inference_mode(), autocast(where, self.config.precision):
            positions, *seen = self.model(
                video=video,
                queries=torch.tensor(queries, dtype=torch.float32, device=where)[None],
                iters=UPDATES,
            )
            visible = self.variant.visible(*seen)
        tracked = np.s_[0, :, : points.shape[1]]
        positions = positions[tracked].float().transpose(1, 2).cpu().numpy()  # (T, 2, N)
        return positions / self.scale, visible[tracked].cpu().numpy()


def released_clip(frame: int, frames: int) -> tuple[int, int]:
    """The clip (first, last + 1) that the released schedule tracks for a query frame."""
    if frames <= CLIP:
        return 0, frames
    first = min(max(frame - CLIP // 2, 0), frames - CLIP)
    return first, first + CLIP


def wanted_windows(query: int, last: int, frames: int, window: int) -> tuple[int, int]:
    """The part (start, stop) of a clip that the windows which see `query` to `last` cover.

    Windows of `window` frames begin at every multiple of half a window until one reaches the end of
    the clip, which may cut it short. The first wanted is the first that holds the query frame; the
    last is the last that holds `last`, which has the final say on it.
    """
    step = window // 2
    first_begin = max((query - window) // step + 1, 0) * step
    last_begin = min(last // step, max(-(-(frames - window) // step), 0)) * step
    return first_begin, min(last_begin + window, frames)
