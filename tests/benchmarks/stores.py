"""Stores and the loader on a real sequence at the papers' size."""

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import yaml
from torch.utils.data import DataLoader

from lrtl import samples
from lrtl.config import FlowConfig, LossConfig, NetworkConfig, TracksConfig, TrainConfig
from lrtl.datasets import DATASETS
from lrtl.datasets.layout import Sequence, write_sequence
from lrtl.motion.flow import estimate_flow
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.tracks import track_sequence
from lrtl.settings import resolve
from lrtl.train import Batches

ROOT = Path(__file__).parents[2]
RUNS = 7
FRAMES = 41  # of the real sequence, as many as a window of tracks has


def stores():
    """Sizes of the stores of a real sequence at the papers' size, and how fast they are read."""
    mirror = os.environ.get("LRTL_MIRROR")
    if not mirror:
        print("stores and loader: skipped, LRTL_MIRROR names no folder with DAVIS and raft-small")
        return
    settings = resolve(yaml.safe_load((ROOT / "config.yaml").read_text()), "davis")
    raft = {"estimator": "raft_small", "gaps": (-1, 1), "weights": f"{mirror}/raft-small.pth"}
    chained = TracksConfig(**settings["tracks"] | {"tracker": "chained_flow"})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        DATASETS["davis"].prepare("dog", Path(mirror) / "DAVIS-data.zip", folder / "whole")
        files = sorted((folder / "whole" / "frames").iterdir())[:FRAMES]
        frames = [(path.stem, path.read_bytes()) for path in files]
        write_sequence(folder / "dog", "davis", "dog", frames, [], {})
        dog = Sequence.open(folder / "dog")
        estimate_flow(dog, FlowConfig(**settings["flow"] | raft), folder / "flow.zarr")
        flow = FlowStore.open(folder / "flow.zarr")
        track_sequence(folder / "flow.zarr", chained, folder / "tracks.zarr")
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
    network = NetworkConfig(**settings["network"] | {"network": "unet"})
    losses = LossConfig(**settings["losses"])
    training = replace(TrainConfig(**settings["training"]), quad_gaps=(1,))
    motion = samples.Motion.load(dog, flow, tracks, network.input_size)
    quads = samples.Quads([motion], losses, training)
    for workers in (1, 2):
        loader = DataLoader(Batches(quads, 0), None, sampler=range(24), num_workers=workers)
        arrivals = [time.perf_counter() for _ in loader]
        # What was read ahead while the first batch was waited for does not count.
        counted = arrivals[2 * workers :]
        rate = 4 * training.quads * (len(counted) - 1) / (counted[-1] - counted[0])
        reference = f"{workers} worker processes, {losses.track_count} tracks, T=41, flow 480 x 854"
        yield f"loader_samples_per_second_{workers}", rate, "1/s", reference


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
