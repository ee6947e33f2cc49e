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

import pandas as pd
import torch

from lrtl.files import write_csv
from lrtl.losses.trajectory import excess_rank

ROOT = Path(__file__).parents[2]
RUNS = 7


def main() -> None:
    """Run every benchmark and write the table."""
    torch.set_num_threads(2)
    rows = [*trajectory_loss_speed(), *trajectory_loss_errors(), demo_pipeline()]
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
