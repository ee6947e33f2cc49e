"""Training samples: quads of frames of one sequence with their flow and tracks.

A quad is [F, F+g, F+d, F+d+g]: F and F+d carry forward flow of gap g, the other two backward flow
of gap -g; F and F+d, and F+g and F+d+g, are compared by the smoothness loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lrtl.config import LossConfig, NetworkConfig
from lrtl.datasets.layout import Sequence
from lrtl.motion.flow import resize_frame
from lrtl.motion.store import FlowStore, TrackStore

REFERENCE = (480, 854)  # H, W of the frame in whose pixels losses are measured
CACHE_BYTES = 3 * 2**30  # of processed tracks, and of flow, kept in memory


class Tracks(NamedTuple):
    """The usable tracks of one query frame, in pixels of the reference frame."""

    points: np.ndarray  # (2, N) at the query frame
    positions: np.ndarray  # (T, 2, N), filtered along time
    raw: np.ndarray  # (T, 2, N), as tracked
    visibility: np.ndarray  # (T, N)
    window: np.ndarray  # (T,) the video frame of each row
    query_index: int


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
        flow = np.stack([cv2.resize(c, size[::-1], interpolation=cv2.INTER_NEAREST) for c in flow])
    flow = flow * scale[:, None, None]
    if losses.flow_centre == "median":
        flow -= np.median(flow, axis=(1, 2), keepdims=True)
    return np.clip(flow, -losses.flow_clip, losses.flow_clip)


def read_tracks(store: TrackStore, frame: int, losses: LossConfig) -> Tracks:
    """Read the tracks of a query frame that are visible in enough of their window.

    Positions are filtered along time by a moving average of `track_filter` frames, shorter at the
    window's ends.
    """
    raw, visibility, window, query_index = store.read(frame)
    keep = visibility.mean(0) >= losses.track_visibility
    height, width = store.attributes["height"], store.attributes["width"]
    scale = np.array([(REFERENCE[1] - 1) / (width - 1), (REFERENCE[0] - 1) / (height - 1)])
    raw = raw[..., keep] * scale.astype(np.float32)[:, None]  # (T, 2, N)
    positions = moving_average(raw, losses.track_filter)
    return Tracks(raw[query_index], positions, raw, visibility[:, keep], window, query_index)


def moving_average(values: np.ndarray, window: int) -> np.ndarray:
    """Average over `window` entries along the first axis, over fewer at the ends."""
    half, length = window // 2, len(values)
    sums = np.concatenate([np.zeros_like(values[:1], np.float64), np.cumsum(values, 0, np.float64)])
    first = np.maximum(np.arange(length) - half, 0)
    last = np.minimum(np.arange(length) + half + 1, length)
    counts = (last - first).reshape(-1, *[1] * (values.ndim - 1))
    return ((sums[last] - sums[first]) / counts).astype(values.dtype)


class Quads:
    """Draws training batches; the batch of a step depends on the seed and the step alone."""

    def __init__(
        self, motions: list[Motion], network: NetworkConfig, losses: LossConfig, offset: int
    ) -> None:
        self.motions, self.losses, self.offset = motions, losses, offset
        reach = min(motion.tracks.attributes["window"] // 2 for motion in motions)
        if offset > reach:
            raise ValueError(f"quad_offset is {offset}, tracks reach only {reach} frames each way")
        self.items = [
            (index, frame, gap)
            for index, motion in enumerate(motions)
            for gap in sorted(g for g in motion.flow.attributes["gaps"] if g > 0)
            for frame in range(len(motion.frames) - gap)
        ]
        if not self.items:
            raise ValueError("no pair of frames to train on; the flow stores have no positive gap")
        self._tracks = _cached(self._read_tracks, 2 * motions[0].tracks.read(0)[0].nbytes)
        self._flow = _cached(self._read_flow, 8 * losses.flow_size[0] * losses.flow_size[1])

    def _read_tracks(self, index: int, frame: int) -> Tracks:
        return read_tracks(self.motions[index].tracks, frame, self.losses)

    def _read_flow(self, index: int, frame: int, gap: int) -> np.ndarray:
        size = self.losses.flow_size
        return read_flow(self.motions[index].flow, frame, gap, size, self.losses)

    def batch(self, rng: np.random.Generator, quads: int, flip: float) -> dict[str, np.ndarray]:
        """Draw `quads` quads, uniformly over frames and gaps of all sequences; B = 4 quads.

        Returns:
            frames (B, 3, h, w) uint8; flow (B, 2, H, W); points (B, 2, N) in [-1, 1]; tracks
            (B, T, 2, N) in reference pixels; later_points (B, 2, N) where the tracks are in the
            partner frame and visible (B, N) bool, whether in both.
        """
        images = []
        for item in rng.integers(len(self.items), size=quads):
            index, frame, gap = self.items[item]
            images += self._quad(rng, index, frame, gap, rng.random() < flip)
        return {key: np.stack([image[key] for image in images]) for key in images[0]}

    def _quad(self, rng, index: int, frame: int, gap: int, flip: bool) -> list[dict]:
        count, offset = len(self.motions[index].frames), self.offset
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
        available = tracks.points.shape[1]
        if available == 0:
            share = losses.track_visibility
            raise ValueError(
                f"{motion.tracks.path}: no track of frame {frame} is visible in {share:.0%} of its "
                "window; lower losses.track_visibility"
            )
        enough = available >= losses.track_count
        chosen = rng.choice(available, losses.track_count, replace=not enough)
        later = np.flatnonzero(tracks.window == frame + offset)
        row = later[np.argmin(np.abs(later - tracks.query_index))]
        image = {
            "frames": motion.frames[frame],
            "flow": self._flow(index, frame, gap),
            "points": normalise_points(tracks.points[:, chosen]),
            "tracks": tracks.positions[..., chosen],
            "later_points": normalise_points(tracks.raw[row][:, chosen]),
            "visible": tracks.visibility[row, chosen],
        }
        return _flip(image) if flip else image


def _cached(read: Callable, entry_bytes: int) -> Callable:
    """Keep the most recently used results of `read` in memory, up to CACHE_BYTES."""
    return lru_cache(maxsize=max(CACHE_BYTES // entry_bytes, 1))(read)


def normalise_points(points: np.ndarray) -> np.ndarray:
    """Reference pixels (2, N) to [-1, 1] between the first and the last pixel centre."""
    scale = np.array([[2 / (REFERENCE[1] - 1)], [2 / (REFERENCE[0] - 1)]], np.float32)
    return points * scale - 1


def _flip(image: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mirror an image and its motion left to right."""
    mirror = np.array([[-1], [1]], np.float32)
    tracks = image["tracks"].copy()
    tracks[:, 0] = REFERENCE[1] - 1 - tracks[:, 0]
    return image | {
        "frames": image["frames"][..., ::-1],
        "flow": image["flow"][..., ::-1] * mirror[..., None],
        "points": image["points"] * mirror,
        "tracks": tracks,
        "later_points": image["later_points"] * mirror,
    }
