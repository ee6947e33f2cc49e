"""Speed and error figures into results/benchmarks.csv: `python -m tests.benchmarks`.

Rows: `name, value, unit, reference`. Ratios are of medians of runs taken in turn in one process.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
import yaml
from torch.utils.data import DataLoader

from lrtl import samples
from lrtl.config import (
    FlowConfig,
    LossConfig,
    NetworkConfig,
    TracksConfig,
    TrainConfig,
    resolve,
)
from lrtl.datasets import DATASETS
from lrtl.datasets.layout import Sequence, write_sequence
from lrtl.files import write_csv
from lrtl.losses.trajectory import excess_rank
from lrtl.motion.flow import estimate_flow
from lrtl.motion.raft import HELD_BYTES, Correlations, Raft, upsample_convex
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.tracks import track_sequence
from lrtl.train import Batches

ROOT = Path(__file__).parents[2]
RUNS = 7
FRAMES = 41  # of the real sequence, as many as a window of tracks has


def main() -> None:
    """Run every benchmark and write the table."""
    torch.set_num_threads(2)
    rows = [
        *trajectory_loss_speed(),
        *trajectory_loss_errors(),
        *raft_speed(),
        *stores(),
        demo_pipeline(),
    ]
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


def stores():
    """Sizes of the stores of a real sequence at the papers' size, and how fast they are read."""
    mirror = os.environ.get("LRTL_MIRROR")
    if not mirror:
        print("stores and loader: skipped, LRTL_MIRROR names no folder with DAVIS and raft-small")
        return
    settings = resolve(yaml.safe_load((ROOT / "config.yaml").read_text()), "davis")
    raft = {"estimator": "raft_small", "gaps": (-1, 1), "weights": f"{mirror}/raft-small.pth"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        DATASETS["davis"].prepare("dog", Path(mirror) / "DAVIS-data.zip", folder / "whole")
        files = sorted((folder / "whole" / "frames").iterdir())[:FRAMES]
        frames = [(path.stem, path.read_bytes()) for path in files]
        write_sequence(folder / "dog", "davis", "dog", frames, [], {})
        dog = Sequence.open(folder / "dog")
        estimate_flow(dog, FlowConfig(**settings["flow"] | raft), folder / "flow.zarr")
        flow = FlowStore.open(folder / "flow.zarr")
        track_sequence(
            folder / "flow.zarr", TracksConfig(**settings["tracks"]), folder / "tracks.zarr"
        )
        tracks = TrackStore.open(folder / "tracks.zarr")
        yield from store_sizes(flow, tracks)
        yield from loader_speed(dog, flow, tracks, settings)


def store_sizes(flow, tracks):
    """Bytes of whole stores, metadata and checksums too, and the speed of decoding chunks."""
    case = f"dog, {FRAMES} frames of 480 x 854, RAFT-small"
    vectors = 2 * (FRAMES - 1) * 480 * 854
    yield "flow_bytes_per_vector", _size(flow.path) / vectors, "bytes", f"8, float32; {case}"
    reference = f"13e6 per 101-frame file of 25,680 points in the released layout; T=41, {case}"
    yield "tracks_bytes_per_query_frame", _size(tracks.path) / FRAMES, "bytes", reference
    taken, decoded = 0.0, 0
    for frame in range(FRAMES):
        start = time.perf_counter()
        arrays = tracks.read_fixed(frame)[:3]
        taken += time.perf_counter() - start
        decoded += sum(array.nbytes for array in arrays)
    reference = "query, steps and visibility of a frame, in memory after they are decoded"
    yield "chunk_decode_mb_per_second", decoded / taken / 1e6, "MB/s", reference


def loader_speed(dog, flow, tracks, settings):
    """Samples of frame, flow and drawn tracks a second; nothing is kept from sample to sample."""
    samples.CACHE_BYTES = 0
    network, losses = NetworkConfig(**settings["network"]), LossConfig(**settings["losses"])
    training = TrainConfig(**settings["training"])
    motion = samples.Motion.load(dog, flow, tracks, network.input_size)
    quads = samples.Quads([motion], network, losses, training.quad_offset)
    for workers in (1, 2):
        loader = DataLoader(
            Batches(quads, training, 0), None, sampler=range(24), num_workers=workers
        )
        arrivals = [time.perf_counter() for _ in loader]
        # What was read ahead while the first batch was waited for does not count.
        counted = arrivals[2 * workers :]
        rate = 4 * training.quads * (len(counted) - 1) / (counted[-1] - counted[0])
        reference = f"{workers} worker processes, {losses.track_count} tracks, T=41, flow 480 x 854"
        yield f"loader_samples_per_second_{workers}", rate, "1/s", reference


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def raft_speed():
    """raft_large at four gaps, against pairs that share nothing as in the published loop."""
    torch.manual_seed(0)
    model, size, updates = Raft(small=False).eval().requires_grad_(False), (240, 424), 20
    images = 255 * torch.rand(5, 1, 3, *size)
    pairs = [(t, t + gap) for t in range(5) for gap in (-2, -1, 1, 2) if 0 <= t + gap < 5]
    with torch.inference_mode():
        start = time.perf_counter()
        apart = [published_pair(model, images[a], images[b], size, updates) for a, b in pairs]
        middle = time.perf_counter()
        frames = [model.encode(image) for image in images]
        shared = [model.flow(frames[a], frames[b], size, updates) for a, b in pairs]
        end = time.perf_counter()
    error = max((a - b).abs().max().item() for a, b in zip(apart, shared, strict=True))
    case = "raft_large, 20 updates, 240x424, gaps +-1 and +-2 of 5 frames"
    yield "raft_shared_speedup", (middle - start) / (end - middle), "ratio", f"pairwise, {case}"
    yield "raft_shared_error", error, "px", f"pairwise, {case}, random weights"


def published_pair(model, first, second, size, updates):
    """The flow of a pair as the published loop computes it, everything again for every update."""
    images = torch.cat([first, second]) / 127.5 - 1  # sides are multiples of 8: no padding
    features = model.fnet(images)
    hidden, context = model.cnet(images[:1]).split([model.hidden, model.context], 1)
    hidden, context = torch.tanh(hidden), torch.relu(context)
    correlations = Correlations(features[:1], features[1:], model.radius, HELD_BYTES)
    flow, block = torch.zeros_like(hidden[:, :2]), model.update_block
    for _ in range(updates):
        motion = block.encoder(flow, correlations.around(flow))
        for suffix in block.gru.passes:
            z, r, q = (block.gru.get_submodule(f"conv{gate}{suffix}") for gate in "zrq")
            state = torch.cat([hidden, context, motion], 1)
            update, reset = z(state).sigmoid(), r(state).sigmoid()
            candidate = q(torch.cat([reset * hidden, context, motion], 1)).tanh()
            hidden = (1 - update) * hidden + update * candidate
        flow = flow + block.flow_head(hidden)
        full = upsample_convex(flow, 0.25 * block.mask(hidden))
    return full


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
