"""The papers' tables: rows by hand, their text, and the config that repeats them."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from lrtl.paper_tables import COLUMNS, write_paper_table
from tests.test_tables import CAT, DOG, write_scores

ROOT = Path(__file__).parents[1]
PUBLISHED = pd.read_csv(ROOT / "lrtl/paper_tables.csv")


def paper_table(folder, name, rows, runs, as_paper=None):
    """The table of `rows`, name to experiment, and of `runs`, (dataset, experiment, seed) to J.

    `as_paper` are the experiments with the paper's merging, by default the same.
    """
    scores, configs = [], []
    for (dataset, experiment, seed), sequences in runs.items():
        scores.append(folder / "scores" / dataset / experiment / f"seed{seed}.csv")
        write_scores(scores[-1], sequences)
        configs.append(folder / "runs" / dataset / experiment / f"seed{seed}" / "config.yaml")
        configs[-1].parent.mkdir(parents=True)
        configs[-1].write_text("network: {network: unet}\n")
    out = folder / "tables" / f"{name}.csv"
    experiments = list(rows.values())
    write_paper_table(name, list(rows), experiments, as_paper or experiments, scores, configs, out)
    table = pd.read_csv(out)
    assert table.columns.tolist() == [c for c in COLUMNS if c != "J_crf"]
    return table.set_index(["row", "dataset"])


def test_rows_by_hand(tmp_path):
    runs = {("davis", "lrtl", seed): {"cat": CAT, "dog": DOG} for seed in (0, 1)}
    runs |= {("davis", "rank_3", 0): {"cat": CAT, "dog": CAT}}
    rows = {"r = 3": "rank_3", "r = 5": "lrtl"}
    table = paper_table(tmp_path, "lrtl_table5", rows, runs)
    assert [row for row, _ in table.index] == ["r = 3", "r = 4", "r = 5", "r = 6"]
    assert table["J_paper"].tolist() == [76.0, 79.6, 82.2, 80.9]
    assert table["experiment"].fillna("").tolist() == ["rank_3", "", "lrtl", ""]
    ours = table.loc["r = 5", "davis"]
    assert (ours["J"], ours["J_std"], ours["seeds"], ours["frames"]) == (62.5, 0, 2, 8)
    assert (ours["J_low"], ours["J_high"]) == (60, 65)  # the lower and the upper of two
    assert ours["J_as_paper"] == 71.67  # ground truth chooses: of 63.33 and 80
    assert table.loc["r = 4"][["J", "seeds", "J_as_paper"]].isna().all(axis=None)


def test_the_papers_figure_is_compared_with_its_merging(tmp_path):
    experiments = {"lrtl": DOG, "lrtl.published": CAT}
    runs = {("davis", name, 0): {"cat": J} for name, J in experiments.items()}
    table = paper_table(tmp_path, "lrtl_table10", {"LRTL (Ours)": "lrtl"}, runs, ["lrtl.published"])
    apart = paper_table(tmp_path / "apart", "lrtl_table10", {"LRTL (Ours)": "lrtl"}, runs)
    other = {"LRTL (Ours)": "lrtl.published"}
    published = paper_table(tmp_path / "published", "lrtl_table10", other, runs)
    row = "LRTL (Ours)", "davis"
    assert table.loc[row, "J"] == apart.loc[row, "J"] != published.loc[row, "J"]
    assert table.loc[row, "J_as_paper"] == published.loc[row, "J_as_paper"]
    assert table.loc[row, "J_as_paper"] != apart.loc[row, "J_as_paper"]
    assert table.loc[row, "as_paper"] == "lrtl.published"


def test_the_papers_average_some_datasets_over_frames(tmp_path):
    runs = {
        (name, "lrtl", 0): {"cat": [1.0] * 12, "dog": [0.6] * 6} for name in ("davis", "fbms59")
    }
    table = paper_table(tmp_path, "lrtl_table2", {"LRTL": "lrtl"}, runs).loc["LRTL"]
    assert table.loc["davis", ["J", "J_as_paper"]].tolist() == [80, 80]
    assert table.loc["fbms59", "J"] == 80
    assert table.loc["fbms59", "J_frames"] == 88.57  # 10 and 4 frames
    assert table.loc["fbms59", "J_as_paper"] == 90  # 9 and 3 frames
    assert table["J_paper"].to_dict() == {"davis": 82.2, "segtrackv2": 81.2, "fbms59": 79.6}


def test_a_table_of_ones_own_has_no_published_figures(tmp_path):
    runs = {("davis", "no_smoothness", 0): {"cat": CAT, "dog": DOG}}
    table = paper_table(tmp_path, "own", {"without": "no_smoothness"}, runs)
    assert table["J"].tolist() == [62.5] and table["J_paper"].isna().all()


def test_the_text_beside(tmp_path):
    runs = {("davis", "tracks_only", s): {"cat": CAT, "dog": DOG if s else CAT} for s in (0, 1)}
    paper_table(tmp_path, "lrtl_table4", {"L_t": "tracks_only"}, runs)
    lines = (tmp_path / "tables/lrtl_table4.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["", "J, davis", "J as the paper's, davis", "paper, davis"]
    assert cells[2:4] == [
        ["L_f", "", "", "78.5"],
        ["L_t", "61.2 ± 1.8 [60.0, 62.5]", "67.5", "71.9"],
    ]
    latex = (tmp_path / "tables/lrtl_table4.tex").read_text()
    assert r"L\_t & 61.2 ± 1.8 [60.0, 62.5] & 67.5 & 71.9 \\" in latex
    assert latex.startswith(r"\begin{tabular}{llll}") and r"\bottomrule" in latex


@pytest.mark.parametrize("name", sorted(set(PUBLISHED["table"])))
def test_the_config_repeats_rows_the_paper_has(name):
    """A row's name that the paper does not have would stand alone."""
    table = yaml.safe_load((ROOT / "config.yaml").read_text())["paper_tables"][name]
    published = PUBLISHED[PUBLISHED["table"] == name]
    assert set(table["rows"]) <= set(published["row"])
    assert set(table["datasets"]) <= set(published["dataset"])


def test_published_figures():
    assert not PUBLISHED.duplicated(["table", "row", "dataset"]).any()
    assert PUBLISHED["J"].between(0, 100).all()
    assert PUBLISHED.groupby("table").size().to_dict() == {
        **{"lrtl_table2": 35, "lrtl_table3": 5, "lrtl_table4": 4, "lrtl_table5": 4},
        **{"lrtl_table6": 4, "lrtl_table7": 4, "lrtl_table8": 4, "lrtl_table9": 3},
        "lrtl_table10": 3,
    }
    published = PUBLISHED[PUBLISHED["dataset"] == "davis"].set_index(["table", "row"])["J"]
    best = published.groupby("table").max().drop("lrtl_table8")
    assert best["lrtl_table3"] == published["lrtl_table4", "L_t"] == 71.9
    assert (best.drop("lrtl_table3") == 82.2).all()
