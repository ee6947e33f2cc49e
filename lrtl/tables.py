"""Scores -> result tables: means over seeds beside the papers' figures."""

from importlib.resources import files
from pathlib import Path

import pandas as pd
import yaml

from lrtl.files import write_csv
from lrtl.metrics import statistics

CHOICES = ("J", "J_gt_choice", "J_oracle")
TABLE = [
    "experiment",
    "network",
    "seeds",
    *("J", "J_std", "J_gt_choice", "J_oracle"),
    *("J_released", "J_gt_choice_released", "J_oracle_released"),
    "sequences",
    "frames",
    "source",
]
SEQUENCES = [
    "experiment",
    "sequence",
    *TABLE[1:7],
    "J_recall",
    "J_decay",
    *TABLE[7:10],
    *TABLE[11:],
]
_NAMES = {"sequence": str, "frame": str}  # columns that may look like numbers and are not


def write_tables(
    dataset: str, scores: list[Path], runs: list[Path], table: Path, sequences: Path
) -> None:
    """Write the result table of a dataset and the same per sequence.

    Figures are in 0..100. `J` is the mean over a sequence's frames, over sequences and over seeds,
    with the honest choice of foreground, under DAVIS's protocol; `J_std` its standard deviation
    over seeds, empty for one seed; `_gt_choice` and `_oracle` as in `lrtl.score`, `_released` under
    the released code's protocol. Rows of papers stand below, with their figure under `J_gt_choice`,
    since there ground truth chose each frame's foreground, and the checkpoint; `J` stays empty.
    Per sequence, `J_recall` and `J_decay` are of `J`, and of the published figure in papers' rows.

    Args:
        dataset: its name.
        scores: `results/scores/{dataset}/{experiment}/seed{seed}.csv` of every run.
        runs: the `config.yaml` of every run, in the order of `scores`.
        table, sequences: the two CSV files to write.

    Raises:
        ValueError: runs cover different sequences, or a sequence has no frame that counts.
    """
    measured = []
    for path, run in zip(scores, runs, strict=True):
        network = yaml.safe_load(run.read_text())["network"]["network"]
        about = {"experiment": path.parent.name, "network": network, "seed": path.stem}
        measured.append(_of_run(pd.read_csv(path, dtype=_NAMES)).assign(**about))
        if set(measured[-1]["sequence"]) != set(measured[0]["sequence"]):
            raise ValueError(f"{path} covers other sequences than {scores[0]}; score both again")
    runs_table = pd.concat(measured)
    by_sequence = _over_seeds(runs_table, ["experiment", "sequence"])
    one_row = runs_table.groupby(["experiment", "network", "seed"], sort=False)
    overall = one_row.mean(numeric_only=True)
    overall["frames"], overall["sequences"] = one_row["frames"].sum(), one_row.size()
    by_experiment = _over_seeds(overall.reset_index(), ["experiment"])
    write_csv(_with_published(by_experiment, "published.csv", dataset)[TABLE], table)
    published = _with_published(by_sequence, "published_sequences.csv", dataset)
    write_csv(published[SEQUENCES], sequences)


def _of_run(rows: pd.DataFrame) -> pd.DataFrame:
    """Figures of one run per sequence."""
    figures = []
    for sequence, frames in rows.groupby("sequence", sort=False):
        if not (frames["davis"].any() and frames["released"].any()):
            raise ValueError(f"{sequence} has no annotated frame but its first two and its last")
        figure = {"sequence": sequence, "frames": int(frames["davis"].sum())}
        for choice in CHOICES:
            figure[choice] = 100 * frames.loc[frames["davis"], choice].mean()
            figure[f"{choice}_released"] = 100 * frames.loc[frames["released"], choice].mean()
        shape = statistics(frames.loc[frames["davis"], "J"].to_numpy())
        figure |= {"J_recall": 100 * shape["recall"], "J_decay": 100 * shape["decay"]}
        figures.append(figure)
    return pd.DataFrame(figures)


def _over_seeds(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means over the seeds of a group, with the deviation of J and the number of seeds."""
    groups = rows.groupby([*keys, "network"], sort=False)
    table = groups.mean(numeric_only=True)
    table["J_std"], table["seeds"] = groups["J"].std(), groups.size()
    return table.reset_index().assign(source="measured")


def _with_published(measured: pd.DataFrame, name: str, dataset: str) -> pd.DataFrame:
    """Append a dataset's published rows, their J under `J_gt_choice`, and round to 0.01."""
    published = pd.read_csv(str(files("lrtl") / name))
    published = published[published["dataset"] == dataset].rename(columns={"J": "J_gt_choice"})
    table = pd.concat([measured, published], ignore_index=True)
    whole = [c for c in ("seeds", "frames", "sequences") if c in table]
    return table.round(2).astype(dict.fromkeys(whole, "Int64"))
