"""Speed and error figures into results/benchmarks.csv: `python -m tests.benchmarks`.

Rows: `name, value, unit, reference`. Ratios are of runs taken in turn in one process.
"""

from pathlib import Path

import pandas as pd
import torch

from lrtl.files import write_csv
from tests.benchmarks.pipeline import pipeline
from tests.benchmarks.raft import raft_speed
from tests.benchmarks.step import step_losses
from tests.benchmarks.stores import stores
from tests.benchmarks.trackers import (
    shared_point_frames,
    tracker_point_frames,
    tracker_precision,
    tracker_seconds,
)
from tests.benchmarks.trajectory import trajectory_loss_errors, trajectory_loss_speed


def main() -> None:
    """Run every benchmark and write the table."""
    torch.set_num_threads(2)
    rows = [
        *trajectory_loss_speed(),
        *trajectory_loss_errors(),
        *step_losses(),
        *raft_speed(),
        *tracker_point_frames(),
        *shared_point_frames(),
        *tracker_seconds(),
        *tracker_precision(),
        *stores(),
        *pipeline(),
    ]
    table = pd.DataFrame(rows, columns=["name", "value", "unit", "reference"])
    write_csv(table, Path(__file__).parents[2] / "results" / "benchmarks.csv")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
