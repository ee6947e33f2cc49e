"""Speed and error figures into results/benchmarks.csv: `python -m tests.benchmarks`.

Rows: `name, value, unit, reference`. Ratios are of medians of runs taken in turn in one process.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from lrtl.config import TracksConfig
from lrtl.files import write_csv
from lrtl.losses.trajectory import excess_rank
from lrtl.motion.cotracker import CoTracker, released_clip, wanted_windows
from lrtl.motion.grids import AUXILIARY, query_grid

ROOT = Path(__file__).parents[2]
RUNS = 7


def main() -> None:
    """Run every benchmark and write the table."""
    torch.set_num_threads(2)
    rows = [*trajectory_loss_speed(), *trajectory_loss_errors(), *tracker_point_frames()]
    rows += [*tracker_seconds(), demo_pipeline()]
    table = pd.DataFrame(rows, columns=["name", "value", "unit", "reference"])
    write_csv(table, ROOT / "results" / "benchmarks.csv")
    print(table.to_string(index=False))


def svdvals_excess(weights, tracks, rank):
    """The loss by singular values of the weighted matrices, in their own precision."""
    return torch.linalg.svdvals(tracks[:, None] * weights[:, :, None])[..., rank:].sum(-1)


def gradient(loss, weights, tracks):
    """Value (B, K) and gradient of a loss."""
    weights = weights.detach().requires_grad_()
    value = loss(weights, tracks, 5)
    return value.detach(), torch.autograd.grad(value.sum(), weights)[0]


def trajectory_loss_speed():
    """Forward and backward at the papers' size against float32 svdvals."""
    generator = torch.Generator().manual_seed(0)
    tracks = 400 * torch.rand(2, 82, 25_680, generator=generator)
    weights = torch.rand(2, 4, 25_680, generator=generator)
    times = {excess_rank: [], svdvals_excess: []}
    for _ in range(RUNS + 1):
        for loss, taken in times.items():
            start = time.perf_counter()
            gradient(loss, weights, tracks)
            taken.append(time.perf_counter() - start)
    ours, theirs = (statistics.median(taken[1:]) for taken in times.values())
    case = "forward and backward, B=2, K=4, T=41, N=25680, 2 threads"
    yield "trajectory_loss_seconds", ours, "s", case
    yield "trajectory_loss_speedup", theirs / ours, "ratio", f"float32 svdvals, {case}"


def trajectory_loss_errors():
    """The largest relative errors against float64 svdvals, on two kinds of tracks."""
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.float64}
    noise = torch.randn(1, 82, 4000, **options)
    low_rank = torch.randn(1, 82, 5, **options) @ torch.randn(1, 5, 4000, **options)
    weights = torch.rand(1, 4, 4000, **options)
    errors = []
    for tracks in (400 * torch.rand(1, 82, 4000, **options), 100 * low_rank + 1e-3 * noise):
        expected, expected_gradient = gradient(svdvals_excess, weights, tracks)
        value, found = gradient(excess_rank, weights, tracks)
        error = (found - expected_gradient).norm() / expected_gradient.norm()
        errors.append(((value / expected - 1).abs().max().item(), error.item()))
    value, slope = (max(column) for column in zip(*errors, strict=True))
    reference = "float64 svdvals, well-conditioned and rank-5 tracks with noise of 1e-3 px"
    yield "trajectory_loss_value_error", value, "relative", reference
    yield "trajectory_loss_gradient_error", slope, "relative", reference


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
    settings = TracksConfig("cotracker2", size, 20, 24, "paper", "none", 1000, "float32", __file__)
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


def demo_pipeline():
    """The whole demo in an empty folder, from the rendered frames to tables and pictures."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(ROOT / name, folder)
        for name in ("workflow", "envs"):
            shutil.copytree(ROOT / name, Path(folder) / name)
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "all"]
        command += ["--config", "preset=cpu", "--", "demo"]
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        seconds = time.perf_counter() - start
    return "demo_pipeline_seconds", seconds, "s", "snakemake --cores 2 demo"


if __name__ == "__main__":
    main()
