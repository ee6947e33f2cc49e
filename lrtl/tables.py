"""Scores -> result tables: means over seeds beside the papers' figures."""

from importlib.resources import files
from pathlib import Path

import pandas as pd
import yaml

from lrtl.files import checked, read_csv, write_csv
from lrtl.metrics import statistics

CHOICES = ("J", "J_gt_choice", "J_oracle", "F", "J_crf")
RUN = ["dataset", "experiment", "network", "seed"]
TABLE = [
    *("experiment", "network", "seeds"),
    *("J", "J_std", "J_gt_choice", "J_oracle", "J_recall", "J_decay"),
    *("J_released", "J_gt_choice_released", "J_oracle_released"),
    *("J_frames", "F", "F_recall", "F_decay", "J_crf"),
    *("sequences", "frames", "source"),
]
SEQUENCES = [
    *("experiment", "sequence", "network", "seeds"),
    *("J", "J_std", "J_gt_choice", "J_oracle", "J_recall", "J_decay"),
    *("J_released", "J_gt_choice_released", "J_oracle_released"),
    *("F", "F_recall", "F_decay", "J_crf"),
    *("frames", "source"),
]
_NAMES = {"sequence": str, "frame": str}  # columns that may look like numbers and are not


def write_tables(
    dataset: str, scores: list[Path], runs: list[Path], table: Path, sequences: Path
) -> None:
    """Write the result table of a dataset and the same per sequence.

    Figures are in 0..100. `J` is the mean over a sequence's frames, over sequences and over seeds,
    with the honest choice of foreground, under the dataset's protocol; `J_std` its standard
    deviation over seeds, empty for one seed; `J_frames` its mean over all frames, whatever their
    sequence; `F` the boundary measure; `_recall` and `_decay` of `J` and `F` are of each sequence's
    frames, see `lrtl.metrics.statistics`, and averaged as these are; `J_crf`, if scored, J after
    the dense CRF; `_gt_choice` and `_oracle` as in `lrtl.score`, `_released` under the released
    code's protocol. Rows of papers stand below, with their figure under `J_gt_choice`, since there
    ground truth chose each frame's foreground, and the checkpoint; `J` stays empty, `J_recall` and
    `J_decay` are of the published figure.

    Args:
        dataset: its name.
        scores: `results/scores/{dataset}/{experiment}/seed{seed}.csv` of every run.
        runs: the `config.yaml` of every run, in the order of `scores`.
        table, sequences: the two CSV files to write.

    Raises:
        ValueError: runs cover different sequences, or a sequence has no frame that counts.
    """
    measured = read_runs(scores, runs)
    by_experiment = over_seeds(over_sequences(measured), ["experiment"])
    by_sequence = over_seeds(measured, ["experiment", "sequence"])
    write_csv(_with_published(by_experiment, "published.csv", dataset, TABLE), table)
    published = _with_published(by_sequence, "published_sequences.csv", dataset, SEQUENCES)
    write_csv(published, sequences)


def read_runs(scores: list[Path], runs: list[Path]) -> pd.DataFrame:
    """Figures of every run, a row per sequence; arguments as in `write_tables`."""
    measured, first = [], {}
    for path, run in zip(scores, runs, strict=True):
        network = yaml.safe_load(checked(run).read_text())["network"]["network"]
        names = (path.parent.parent.name, path.parent.name, network, path.stem)
        rows = read_csv(path, dtype=_NAMES)
        if not {"J_oracle", "F"} <= set(rows):
            raise ValueError(f"{path} has no columns J_oracle and F; score its masks again")
        figures = sequence_figures(rows)
        measured.append(figures.assign(**dict(zip(RUN, names, strict=True))))
        other, covered = first.setdefault(names[0], (path, set(figures["sequence"])))
        if set(figures["sequence"]) != covered:
            raise ValueError(f"{path} covers other sequences than {other}; score both again")
    return pd.concat(measured)


def sequence_figures(rows: pd.DataFrame) -> pd.DataFrame:
    """Figures of scores, a row per sequence: means over the frames that count, 0 to 100."""
    figures = []
    for sequence, frames in rows.groupby("sequence", sort=False):
        if not (frames["benchmark"].any() and frames["released"].any()):
            raise ValueError(f"{sequence} has no annotated frame but its first two and its last")
        figure = {"sequence": sequence}
        for suffix, counted in (("", "benchmark"), ("_released", "released")):
            figure[f"frames{suffix}"] = int(frames[counted].sum())
            for choice in frames.columns.intersection(CHOICES):
                figure[f"{choice}{suffix}"] = 100 * frames.loc[frames[counted], choice].mean()
        for measure in ("J", "F"):
            shape = statistics(frames.loc[frames["benchmark"], measure].to_numpy())
            figure |= {f"{measure}_{name}": 100 * shape[name] for name in ("recall", "decay")}
        figures.append(figure)
    return pd.DataFrame(figures)


def summary(rows: pd.DataFrame) -> str:
    """Scores as a table to print, 0 to 100, of the frames that count.

    Means over sequences with J's and F's recall and decay, and beside them means over all frames.
    """
    figures = sequence_figures(rows)
    choices = [choice for choice in CHOICES if choice in figures]
    counted, means = figures["frames"].sum(), figures.mean(numeric_only=True)
    table = pd.DataFrame(
        {
            "mean": means[choice],
            "recall": means.get(f"{choice}_recall"),
            "decay": means.get(f"{choice}_decay"),
            "of all frames": (figures[choice] * figures["frames"]).sum() / counted,
        }
        for choice in choices
    )
    text = table.set_axis(choices).to_string(float_format="%.2f", na_rep="")
    return f"{text}\nmeans over {len(figures)} sequences, {counted} frames that count"


def over_sequences(rows: pd.DataFrame) -> pd.DataFrame:
    """Means of each run over sequences, with `_frames` over all frames of all sequences."""
    pooled = {
        "J_frames": rows["J"] * rows["frames"],
        "J_gt_choice_released_frames": rows["J_gt_choice_released"] * rows["frames_released"],
    }
    groups = rows.assign(**pooled).groupby(RUN, sort=False)
    table, sums = groups.mean(numeric_only=True), groups.sum(numeric_only=True)
    table["J_frames"] = sums["J_frames"] / sums["frames"]
    released = sums["J_gt_choice_released_frames"] / sums["frames_released"]
    return table.assign(
        J_gt_choice_released_frames=released, frames=sums["frames"], sequences=groups.size()
    ).reset_index()


def over_seeds(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means over the seeds of a group, with the deviation of J and the number of seeds."""
    groups = rows.groupby([*keys, "network"], sort=False)
    table = groups.mean(numeric_only=True)
    table["J_std"], table["seeds"] = groups["J"].std(), groups.size()
    return table.reset_index().assign(source="measured")


def whole_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Round figures to 0.01, and have counts as integers, empty where they are missing."""
    counts = table.columns.intersection(["seeds", "frames", "sequences"])
    return table.round(2).astype(dict.fromkeys(counts, "Int64"))


def _with_published(measured: pd.DataFrame, name: str, dataset: str, columns) -> pd.DataFrame:
    """Append a dataset's published rows, their J under `J_gt_choice`."""
    published = pd.read_csv(str(files("lrtl") / name))
    published = published[published["dataset"] == dataset].rename(columns={"J": "J_gt_choice"})
    table = whole_numbers(pd.concat([measured, published], ignore_index=True))
    return table[[column for column in columns if column in table]]
