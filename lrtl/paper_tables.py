"""Scores of several datasets -> a paper's table, row by row, as CSV, Markdown and LaTeX.

The names of its rows and their figures are in `paper_tables.csv`; the config says which experiment
repeats a row.
"""

from importlib.resources import files
from pathlib import Path

import pandas as pd

from lrtl.files import write_csv, write_text
from lrtl.metrics import bootstrap_interval
from lrtl.tables import over_seeds, over_sequences, read_runs, whole_numbers

BY_FRAME = ("segtrackv2", "fbms59")  # the papers average these over all frames, not by sequence
COLUMNS = [
    *("row", "dataset", "experiment", "network"),
    *("J", "J_std", "J_low", "J_high", "J_frames", "F", "J_crf"),
    *("J_as_paper", "as_paper", "J_paper"),
    *("seeds", "sequences", "frames", "source"),
]


def write_paper_table(
    name: str,
    rows: list[str],
    experiments: list[str],
    as_paper: list[str],
    scores: list[Path],
    runs: list[Path],
    out: Path,
) -> None:
    """Write a table as CSV, a line per row and dataset, and as text in .md and .tex beside it.

    `J`, `J_std`, `J_frames`, `F` and `J_crf` are as in `lrtl.tables`; `J_low` and `J_high` bound
    the 95 % bootstrap interval of `J` over sequences. `J_paper` is the paper's figure, from
    `source`, and `J_as_paper` ours taken in the same way: of the components merged as `as_paper`
    says, ground truth chooses between mask and complement in every frame, the frames are those the
    released code counts, and datasets in `BY_FRAME` are averaged over all frames. A row that no
    experiment repeats has the paper's figure alone.

    Args:
        name: of the table, as in `paper_tables.csv`; another has no published figures.
        rows, experiments: the rows that are repeated, and the experiment of each.
        as_paper: the experiment with the paper's merging of each.
        scores, runs: of all seeds of all these on all datasets, see `lrtl.tables`.
        out: `results/tables/{name}.csv`.
    """
    measured = _measured(read_runs(scores, runs))
    papers = measured[["dataset", "experiment", "J_as_paper"]]
    papers = papers.rename(columns={"experiment": "as_paper"})
    repeated = pd.DataFrame({"row": rows, "experiment": experiments, "as_paper": as_paper})
    repeated = repeated.merge(measured.drop(columns="J_as_paper")).merge(papers)
    published = pd.read_csv(str(files("lrtl") / "paper_tables.csv"))
    published = published[published["table"] == name].rename(columns={"J": "J_paper"})
    order = list(dict.fromkeys([*published["row"], *rows]))
    table = published.merge(repeated, "outer", ["row", "dataset"])
    table = table.sort_values("row", key=lambda names: names.map(order.index), kind="stable")
    table = whole_numbers(table[[column for column in COLUMNS if column in table]])
    write_csv(table, out)
    write_text(as_text(table), out)


def _measured(runs: pd.DataFrame) -> pd.DataFrame:
    """Figures of every experiment on every dataset, with the interval over sequences."""
    keys = ["dataset", "experiment"]
    table = over_seeds(over_sequences(runs), keys).drop(columns="source")
    sequences = over_seeds(runs, [*keys, "sequence"]).groupby(keys)["J"]
    table = table.join(sequences.agg(bootstrap_interval).rename("interval"), on=keys)
    table["J_low"], table["J_high"] = table["interval"].str[0], table["interval"].str[1]
    by_frame = table["dataset"].isin(BY_FRAME)
    released = "J_gt_choice_released"
    table["J_as_paper"] = table[f"{released}_frames"].where(by_frame, table[released])
    return table


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """A table to print: J with its deviation and interval, J as the paper's, and the paper's."""
    text = {"": list(dict.fromkeys(table["row"]))}
    for dataset in dict.fromkeys(table["dataset"]):
        lines = table[table["dataset"] == dataset].set_index("row").reindex(text[""])
        text[f"J, {dataset}"] = [_figure(line) for line in lines.itertuples()]
        text[f"J as the paper's, {dataset}"] = [_rounded(j) for j in lines["J_as_paper"]]
        text[f"paper, {dataset}"] = [_rounded(j) for j in lines["J_paper"]]
    return pd.DataFrame(text)


def _figure(line) -> str:
    """For instance `60.4 ± 0.8 [52.1, 67.9]`, or what there is of it."""
    parts = [_rounded(line.J)]
    parts += [f"± {line.J_std:.1f}"] if pd.notna(line.J_std) else []
    parts += [f"[{line.J_low:.1f}, {line.J_high:.1f}]"] if pd.notna(line.J_low) else []
    return " ".join(parts)


def _rounded(value: float) -> str:
    return f"{value:.1f}" if pd.notna(value) else ""
