"""Frames per second of trained networks, beside the paper's (LRTL, Appendix B)."""

import time
from pathlib import Path

import pandas as pd
import torch

from lrtl.datasets.layout import Sequence
from lrtl.files import write_csv
from lrtl.masks import load_run, predict

PUBLISHED = {"unet": 6.4, "maskformer_dino": 3.3}  # "during DAVIS evaluation", device not stated


def measure_speed(runs: list[Path], sequence: Sequence, out: Path) -> None:
    """Write the frames per second of each run's network on a sequence, from files to soft masks.

    Columns: `experiment, network, parameters, device, threads, frames, fps, fps_paper`. The second
    of two passes is timed; merging and writing masks are no part of it.

    Args:
        runs: folders `results/runs/{dataset}/{experiment}/seed{seed}`.
        sequence: the frames to segment.
        out: the CSV file.
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    rows = []
    for run in runs:
        model, network, _ = load_run(run)
        predict(model, sequence, network.input_size)
        start = time.perf_counter()
        predict(model, sequence, network.input_size)
        seconds = time.perf_counter() - start
        rows.append(
            {
                "experiment": run.parent.name,
                "network": network.network,
                "parameters": sum(p.numel() for p in model.parameters()),
                "device": device,
                "threads": torch.get_num_threads(),
                "frames": len(sequence.frames),
                "fps": round(len(sequence.frames) / seconds, 2),
                "fps_paper": PUBLISHED.get(network.network),
            }
        )
    write_csv(pd.DataFrame(rows), out)
