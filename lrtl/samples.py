"""Training samples: quads of frames of one sequence with their flow and tracks.

A quad is [F, F+g, F+d, F+d+g]: F and F+d carry forward flow of gap g, the other two backward flow
of gap -g; F and F+d, and F+g and F+d+g, are compared by the smoothness loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lrtl.config import LossConfig, TrainConfig
from lrtl.datasets.layout import Sequence
from lrtl.motion.flow import resize_frame
from lrtl.motion.store import TRACK_SCALE, FlowStore, TrackStore, fixed_positions
from lrtl.motion.windows import BOUNDARIES, Window, rows_of, shifted_window

REFERENCE = (480, 854)  # H, W of the frame in whose pixels losses are measured
CACHE_BYTES = 3 * 2**30  # of tracks, and of flow, kept in memory by all processes together


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


@dataclass(frozen=True)
class Motion:
    """A sequence's frames at network size with its flow and track stores."""

    frames: np.ndarray  # (F, 3, h, w) uint8
    flow: FlowStore
    tracks: TrackStore

    @classmethod
    def load(cls, sequence: Sequence, flow: FlowStore, tracks: TrackStore, size) -> "Motion":
        """Read all frames of a sequence at network size = (h, w)."""
        count = len(sequence.frames)
        for store in (flow, tracks):
            if store.attributes["frames"] != count:
                stored = store.attributes["frames"]
                raise ValueError(
                    f"{store.path} has {stored} frames, {sequence.name} has {count}; "
                    "delete the store and run its rule again"
                )
        frames = np.empty((count, 3, *size), np.uint8)
        for i in range(count):
            frames[i] = resize_frame(sequence.frame(i), size).transpose(2, 0, 1)
        return cls(frames, flow, tracks)


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
    context = losses.context or about["window"] // 2
    window = BOUNDARIES[about["boundary"]](frame, context, about["frames"])
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


class Quads:
    """Draws training batches; the batch of a step depends on the seed and the step alone."""

    def __init__(
        self,
        motions: list[Motion],
        losses: LossConfig,
        training: TrainConfig,
    ) -> None:
        self.motions, self.losses, self.training = motions, losses, training
        self._check()
        self.items = [
            (index, frame, gap)
            for index, motion in enumerate(motions)
            for gap in sorted(training.quad_gaps)
            for frame in range(len(motion.frames) - gap)
        ]
        if not self.items:
            gaps = training.quad_gaps
            raise ValueError(f"no pair of frames to train on at gaps {gaps}; shorten quad_gaps")
        track_bytes = sum(array.nbytes for array in self._read_tracks(0, 0)[:3])
        cache = CACHE_BYTES // max(training.workers, 1)
        self._tracks = _cached(self._read_tracks, cache // track_bytes)
        flow_bytes = 8 * losses.flow_size[0] * losses.flow_size[1]
        self._flow = _cached(self._read_flow, cache // flow_bytes)

    def _check(self) -> None:
        """Stop unless every store holds what quads need."""
        losses, gaps, offset = self.losses, self.training.quad_gaps, self.training.quad_offset
        for motion in self.motions:
            stored = motion.flow.attributes["gaps"]
            if not {sign * gap for gap in gaps for sign in (-1, 1)} <= set(stored):
                raise ValueError(
                    f"{motion.flow.path} has flow of gaps {stored}, quads need both signs of "
                    f"{list(gaps)}; set flow.gaps and run its rule again"
                )
            reach = motion.tracks.attributes["window"] // 2
            context = losses.context or reach
            if context + losses.neighbours > reach:
                raise ValueError(
                    f"context is {context} and neighbours {losses.neighbours}, tracks reach only "
                    f"{reach} frames each way; lower losses.context or raise tracks.radius"
                )
            if offset > context:
                raise ValueError(
                    f"quad_offset is {offset}, tracks reach only {context} frames each way"
                )

    def _read_tracks(self, index: int, frame: int) -> Tracks:
        return read_tracks(self.motions[index].tracks, frame, self.losses)

    def _read_flow(self, index: int, frame: int, gap: int) -> np.ndarray:
        size = self.losses.flow_size
        return read_flow(self.motions[index].flow, frame, gap, size, self.losses)

    def batch(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw quads, uniformly over frames and gaps of all sequences; B is 4 times their number.

        Returns:
            frames (B, 3, h, w) uint8; flow (B, 2, H, W); points (B, 2, N) in [-1, 1]; tracks
            (B, T, 2, N) in reference pixels; later_points (B, 2, N) where the tracks are in the
            partner frame and visible (B, N) bool, whether in both. With two flows per image
            second_flow (B, 2, H, W) too.
        """
        images = []
        for item in rng.integers(len(self.items), size=self.training.quads):
            index, frame, gap = self.items[item]
            images += self._quad(rng, index, frame, gap, rng.random() < self.training.flip)
        return {key: np.stack([image[key] for image in images]) for key in images[0]}

    def _quad(self, rng, index: int, frame: int, gap: int, flip: bool) -> list[dict]:
        count, offset = len(self.motions[index].frames), self.training.quad_offset
        if frame + gap + offset >= count:
            frame = max(frame - offset, 0)
        offset = min(offset, count - 1 - frame - gap)
        quad = [
            (frame, gap, offset),
            (frame + gap, -gap, offset),
            (frame + offset, gap, -offset),
            (frame + offset + gap, -gap, -offset),
        ]
        return [self._image(rng, index, *image, flip) for image in quad]

    def _image(self, rng, index: int, frame: int, gap: int, offset: int, flip: bool) -> dict:
        motion, losses = self.motions[index], self.losses
        tracks = self._tracks(index, frame)
        available = len(tracks.usable)
        if available == 0:
            share = losses.track_visibility
            raise ValueError(
                f"{motion.tracks.path}: no track of frame {frame} is visible in {share:.0%} of its "
                "window; lower losses.track_visibility"
            )
        enough = available >= losses.track_count
        columns = rng.choice(tracks.usable, losses.track_count, replace=not enough)
        later = np.flatnonzero(tracks.window == frame + offset)
        row = later[np.argmin(np.abs(later - tracks.query_index))]
        positions = tracks.positions(columns)
        image = {
            "frames": motion.frames[frame],
            "flow": self._flow(index, frame, gap),
            "points": normalise_points(tracks.pixels(positions[tracks.query_index])),
            "tracks": tracks.pixels(moving_average(positions, losses.track_filter)),
            "later_points": normalise_points(tracks.pixels(positions[row])),
            "visible": tracks.visibility[row, columns],
        }
        if self.training.flows_per_image == 2:
            image["second_flow"] = self._flow(index, frame, self._other_gap(rng, index, frame, gap))
        return _flip(image) if flip else image

    def _other_gap(self, rng, index: int, frame: int, gap: int) -> int:
        """Another gap at which a frame has flow; the same if there is none."""
        motion = self.motions[index]
        gaps = [g for g in motion.flow.attributes["gaps"] if 0 <= frame + g < len(motion.frames)]
        return rng.choice([g for g in gaps if g != gap] or [gap])


def _cached(read: Callable, entries: int) -> Callable:
    """Keep the most recently used results of `read` in memory."""
    return lru_cache(maxsize=max(entries, 1))(read)


def normalise_points(points: np.ndarray) -> np.ndarray:
    """Reference pixels (2, N) to [-1, 1] between the first and the last pixel centre."""
    scale = np.array([[2 / (REFERENCE[1] - 1)], [2 / (REFERENCE[0] - 1)]], np.float32)
    return points * scale - 1


def _flip(image: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mirror an image and its motion left to right."""
    mirror = np.array([[-1], [1]], np.float32)
    flows = {key: image[key][..., ::-1] * mirror[..., None] for key in image if "flow" in key}
    tracks = image["tracks"]  # of this sample alone
    np.subtract(REFERENCE[1] - 1, tracks[:, 0], out=tracks[:, 0])
    return (
        image
        | flows
        | {
            "frames": image["frames"][..., ::-1],
            "points": image["points"] * mirror,
            "tracks": tracks,
            "later_points": image["later_points"] * mirror,
        }
    )
