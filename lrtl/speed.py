"""Frames per second of a trained network, beside the paper's (LRTL, Appendix B)."""

import time
from pathlib import Path

import pandas as pd
import torch

from lrtl.datasets.layout import Sequence
from lrtl.files import read_csv, write_csv, write_text
from lrtl.masks import predict
from lrtl.runs import load_run

PUBLISHED = {"unet": 6.4, "maskformer_dino": 3.3}  # "during DAVIS evaluation", device not stated


def measure_speed(
    run: Path, sequence: Sequence, out: Path, backbone_weights: str | None = None
) -> None:
    """Write the frames per second of a run's network on a sequence, from files to soft masks.

    Columns: `experiment, network, parameters, device, threads, frames, fps, fps_paper`. The second
    of two passes is timed; merging and writing masks are no part of it.

    Args:
        run: the folder `results/runs/{dataset}/{experiment}/seed{seed}`.
        sequence: the frames to segment.
        out: the CSV file.
        backbone_weights: the file of weights that the network was built on, if it was.
    """
    model, network, _ = load_run(run, backbone_weights)
    predict(model, sequence, network.input_size)
    start = time.perf_counter()
    predict(model, sequence, network.input_size)
    seconds = time.perf_counter() - start
    row = {
        "experiment": run.parent.name,
        "network": network.network,
        "parameters": sum(p.numel() for p in model.parameters()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "frames": len(sequence.frames),
        "fps": round(len(sequence.frames) / seconds, 2),
        "fps_paper": PUBLISHED.get(network.network),
    }
    write_csv(pd.DataFrame([row]), out)


def write_speed_table(rows: list[Path], out: Path) -> None:
    """Collect files of `measure_speed` as CSV, and the same cells in .md and .tex beside it."""
    write_csv(pd.concat(map(read_csv, rows)), out)
    write_text(pd.read_csv(out, dtype=str, keep_default_na=False), out)
