"""Training samples: quads of frames of one sequence with their flow and tracks.

A quad is [F, F+g, F+d, F+d+g]: F and F+d carry forward flow of gap g, the other two backward flow
of gap -g; F and F+d, and F+g and F+d+g, are compared by the smoothness loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lrtl.config import LossConfig, TrainConfig
from lrtl.datasets.layout import Sequence
from lrtl.motion.flow import resize_frame
from lrtl.motion.reading import (
    REFERENCE,
    Tracks,
    moving_average,
    normalise_points,
    read_flow,
    read_tracks,
)
from lrtl.motion.store import FlowStore, TrackStore

CACHE_BYTES = 3 * 2**30  # of tracks, and of flow, kept in memory by all processes together


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
            if losses.context + losses.neighbours > reach:
                raise ValueError(
                    f"context is {losses.context} and neighbours {losses.neighbours}, tracks reach "
                    f"only {reach} frames each way; lower losses.context or raise tracks.radius"
                )
            if offset > losses.context:
                raise ValueError(
                    f"quad_offset is {offset}, tracks reach only {losses.context} frames each way"
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
