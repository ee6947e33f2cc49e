"""Point trackers: the work of their schedules."""

import os
import statistics
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from lrtl.config import FlowConfig
from lrtl.datasets import DATASETS
from lrtl.datasets.layout import Sequence
from lrtl.motion.cotracker import CoTracker, released_clip, wanted_windows
from lrtl.motion.flow import estimate_flow
from lrtl.motion.grids import AUXILIARY, query_grid
from lrtl.motion.store import TrackStore
from lrtl.motion.tracks import ChainedFlow, track_sequence
from tests.conftest import tracks_config
from tests.motion.test_cotracker import SIZE, Frames, moving_texture, real_model


def tracker_point_frames():
    """What CoTracker2 updates for whole videos: the released schedule's points x frames over ours.

    Released: forward and backward over the whole clip, with auxiliary points at both frames; ours:
    the papers' 20 frames either way, reflected at the ends, with the papers' auxiliary points.
    """
    size = (480, 854)
    released, ours = (AUXILIARY[name](size).shape[1] for name in ("released", "paper"))
    for frames in (50, 70, 104, 200):
        counts = np.zeros(2)
        for frame in range(frames):
            points = query_grid(size, 4, frame).shape[1]
            lower, upper = released_clip(frame, frames)
            length = upper - lower
            beside = (frame > 0) + (frame < frames - 1)  # clamped to the video, not the query frame
            counts[0] += 2 * windows(length) * 8 * (points + beside * released)
            for query, side in ((frame - lower, frames - 1 - frame), (upper - 1 - frame, frame)):
                reach = min(side, 20)
                if reach:
                    start, stop = wanted_windows(query, query + reach, length, 8)
                    beside = ours * (query < length - 1)
                    counts[1] += windows(stop - start) * 8 * (points + beside)
        case = f"the released schedule, {frames} frames, f=20, paper boundary, 480 x 854, stride 4"
        yield "tracker_point_frames_ratio", counts[0] / counts[1], "ratio", case


def windows(frames: int) -> int:
    """How many windows of 8 frames, 4 apart, CoTracker2 lays over a clip."""
    return max(-(-(frames - 8) // 4), 0) + 1


def shared_point_frames():
    """Chained tracks of real flow, shared between query frames against a grid from every frame."""
    mirror = os.environ.get("LRTL_MIRROR")
    if not mirror:
        print("shared tracks: skipped, LRTL_MIRROR names no folder with DAVIS and raft-small")
        return
    size, radius = (240, 424), 20
    config = FlowConfig("raft_small", size, (-1, 1), 12, "float32", f"{mirror}/raft-small.pth")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        DATASETS["davis"].prepare("dog", Path(mirror) / "DAVIS-data.zip", folder / "dog")
        estimate_flow(Sequence.open(folder / "dog"), config, folder / "flow.zarr")
        settings = tracks_config(radius, 4, size=size, queries="shared")
        original, spent = ChainedFlow.track, []

        def counting(self, points, frame, first, last):
            spent.append(points.shape[1] * (last - first + 1))
            return original(self, points, frame, first, last)

        ChainedFlow.track = counting
        try:
            track_sequence(folder / "flow.zarr", settings, folder / "tracks.zarr")
        finally:
            ChainedFlow.track = original
        store = TrackStore.open(folder / "tracks.zarr")
        frames, points = store.attributes["frames"], store.attributes["points"]
        reach = [min(t + radius, frames - 1) - max(t - radius, 0) + 1 for t in range(frames)]
        every = sum(query_grid(size, 4, t).shape[1] * length for t, length in enumerate(reach))
        counts = [store.read(frame)[0].shape[-1] for frame in range(frames)]
    case = "dog, RAFT-small at 240 x 424, radius 20, stride 4"
    yield "shared_point_frames_ratio", every / sum(spent), "ratio", f"every_frame, {case}"
    yield "shared_coverage", min(counts) / points, "share", f"the poorest frame's cells, {case}"


def tracker_seconds():
    """The published CoTracker2, small and with random weights, where it is installed."""
    try:
        from cotracker.models.core.cotracker.cotracker import CoTracker2
        from cotracker.predictor import CoTrackerPredictor
    except ModuleNotFoundError:
        print("tracker_seconds_ratio: left out, the package cotracker is not installed")
        return
    model = CoTracker2(window_len=8, model_resolution=(96, 128), num_virtual_tracks=8).eval()
    frames, frame, size = 104, 52, (96, 128)
    images = np.random.default_rng(0).integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    video = SimpleNamespace(frames=range(frames), frame=images.__getitem__)
    settings = tracks_config(20, 24, tracker="cotracker2", size=size, weights=__file__)
    tracker = CoTracker(video, settings, model)
    points = query_grid(size, settings.stride, 0)
    predictor = CoTrackerPredictor(checkpoint=None, v2=True, window_len=8)
    predictor.model, predictor.interp_shape = model, size
    queries = torch.tensor(np.vstack([np.full(points.shape[1], frame), points]).T[None]).float()
    clip = tracker.images[None, slice(*released_clip(frame, frames))]
    queries[..., 0] -= released_clip(frame, frames)[0]
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        tracker.track(points, frame, frame - 20, frame + 20)
        middle = time.perf_counter()
        with torch.no_grad():
            predictor._compute_sparse_tracks(clip, queries, backward_tracking=True)
        taken.append((middle - start, time.perf_counter() - middle))
    ours, theirs = (statistics.median(times) for times in zip(*taken, strict=True))
    case = f"its predictor, {points.shape[1]} points at frame 52 of 104, f=20, 96 x 128"
    yield "tracker_seconds_ratio", theirs / ours, "ratio", f"{case}, medians of 3"


def tracker_precision():
    """How far CoTracker2 in bfloat16 is from float32, small and with random weights."""
    if find_spec("cotracker") is None:
        print("tracker_bfloat16_error: left out, the package cotracker is not installed")
        return
    video, model, tracks = Frames(moving_texture(25)), real_model("cotracker2"), []
    points = query_grid(SIZE, 24, 0)
    for precision in ("float32", "bfloat16"):
        about = {"tracker": "cotracker2", "size": SIZE, "weights": __file__, "precision": precision}
        tracker = CoTracker(video, tracks_config(5, 24, **about), model)
        tracks.append(tracker.track(points, 12, 7, 17)[0])
    errors = np.linalg.norm(tracks[1] - tracks[0], axis=1)  # (T, N)
    moved = np.median(np.linalg.norm(tracks[0] - points, axis=1))
    case = f"float32, {points.shape[1]} points, 11 frames of 120 x 160, moving {moved:.1f} px"
    yield "tracker_bfloat16_error", np.median(errors), "px", f"median; {case}"
    yield "tracker_bfloat16_error_95", np.quantile(errors, 0.95), "px", f"95 %; {case}"
