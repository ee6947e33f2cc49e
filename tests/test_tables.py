"""Tables of scores small enough to average by hand, beside the papers' rows."""

import pandas as pd
import pytest

from lrtl.methods import NETWORKS
from lrtl.tables import SEQUENCES, TABLE, sequence_figures, summary, write_tables

# Frames 0..5 of J: DAVIS's protocol counts 1..4, the released code's 2..4.
CAT = [0.0, 0.9, 0.6, 0.6, 0.3, 0.0]  # means 0.6 and 0.5
DOG = [0.0, 0.2, 0.8, 0.8, 0.8, 0.0]  # means 0.65 and 0.8


def write_scores(path, sequences):
    rows = []
    for name, values in sequences.items():
        last = len(values) - 1
        for t, value in enumerate(values):
            row = {"sequence": name, "frame": f"{t:05d}", "object": 1, "J": value}
            row |= {"J_gt_choice": max(value, 1 - value), "J_oracle": 1.0, "F": value / 2}
            rows.append(row | {"benchmark": 0 < t < last, "released": 1 < t < last})
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


def tables(folder, runs, dataset="demo"):
    scores, configs = [], []
    for (experiment, seed), sequences in runs.items():
        scores.append(folder / "scores" / dataset / experiment / f"seed{seed}.csv")
        write_scores(scores[-1], sequences)
        configs.append(folder / "runs" / dataset / experiment / f"seed{seed}" / "config.yaml")
        configs[-1].parent.mkdir(parents=True)
        configs[-1].write_text("network: {network: unet}\n")
    out = folder / "table.csv", folder / "sequences.csv"
    write_tables(dataset, scores, configs, *out)
    table, per_sequence = (pd.read_csv(path, dtype={"sequence": str}) for path in out)
    assert table.columns.tolist() == [c for c in TABLE if c != "J_crf"]
    assert per_sequence.columns.tolist() == [c for c in SEQUENCES if c != "J_crf"]
    return table, per_sequence


def test_means_by_hand(tmp_path):
    runs = {("lrtl", 0): {"cat": CAT, "dog": DOG}, ("lrtl", 1): {"cat": CAT, "dog": CAT}}
    table, _ = tables(tmp_path, runs)
    (row,) = table.to_dict("records")
    assert row["experiment"] == "lrtl" and row["network"] == "unet" and row["source"] == "measured"
    assert row["seeds"] == 2 and row["sequences"] == 2 and row["frames"] == 8
    assert row["J"] == 61.25  # of 62.5 and 60
    assert row["J_std"] == 1.77  # 2.5 / sqrt(2)
    assert row["J_released"] == 57.5  # of 65 and 50
    assert row["J_gt_choice"] == 72.5  # of (70 + 80) / 2 and 70
    assert row["J_gt_choice_released"] == 67.5  # of (63.33 + 80) / 2 and 63.33
    assert row["J_oracle"] == row["J_oracle_released"] == 100
    assert row["F"] == pytest.approx(61.25 / 2, abs=0.01)
    assert row["J_recall"] == 75 and row["F_recall"] == 0
    assert row["J_decay"] == 15  # of (30 - 30) / 2 and 30
    assert row["F_decay"] == 7.5


def test_a_sequence_weighs_the_same_whatever_its_length(tmp_path):
    table, _ = tables(tmp_path, {("lrtl", 0): {"cat": [1.0] * 60, "dog": [0.0] * 6}})
    assert table["J"].item() == 50
    assert table["J_frames"].item() == 93.55  # 58 of the 62 frames that count


def test_one_seed_has_no_deviation(tmp_path):
    table, sequences = tables(tmp_path, {("lrtl", 0): {"cat": CAT}})
    assert table["J_std"].isna().all() and sequences["J_std"].isna().all()
    assert table["seeds"].tolist() == [1]


def test_sequences_by_hand(tmp_path):
    runs = {("lrtl", seed): {"cat": CAT, "01": DOG} for seed in (0, 1)}
    _, sequences = tables(tmp_path, runs)
    assert sequences.columns[:3].tolist() == ["experiment", "sequence", "network"]
    assert sequences["sequence"].tolist() == ["cat", "01"]
    cat, dog = sequences.to_dict("records")
    assert (cat["J"], dog["J"]) == (60, 65)
    assert (cat["J_std"], cat["seeds"], cat["frames"]) == (0, 2, 4)
    assert (cat["J_recall"], dog["J_recall"]) == (75, 75)
    assert (cat["J_decay"], dog["J_decay"]) == (30, -30)  # bins of two frames
    assert (cat["F"], cat["F_recall"], cat["F_decay"]) == (30, 0, 15)


def test_rows_come_in_the_order_given_and_papers_last(tmp_path):
    runs = {(name, 0): {"cat": CAT, "dog": DOG} for name in ("tracks_only", "flow_only", "lrtl")}
    table, sequences = tables(tmp_path, runs, "davis")
    assert table["experiment"][:3].tolist() == ["tracks_only", "flow_only", "lrtl"]
    assert (table["source"] == "measured").tolist() == [True] * 3 + [False] * (len(table) - 3)
    assert sequences["experiment"][:4].tolist() == ["tracks_only"] * 2 + ["flow_only"] * 2


def test_papers_figures_are_those_chosen_by_ground_truth(tmp_path):
    table, sequences = tables(tmp_path, {("lrtl", 0): {"cat": CAT}}, "davis")
    papers = table[table["source"] != "measured"].set_index(["experiment", "network"])
    assert papers["J"].isna().all() and papers["J_gt_choice_released"].isna().all()
    assert papers["seeds"].isna().all() and set(papers["sequences"]) == {20}
    assert set(papers.index.get_level_values("network")) <= set(NETWORKS)
    figures = papers["J_gt_choice"]
    assert figures["flow_only", "maskformer_dino"] == 78.5
    assert figures["tracks_only", "maskformer_dino"] == 71.9
    assert figures["lrtl", "maskformer_dino"] == 82.2
    assert figures["gwm", "unet"] == 78.3 and figures["lrtl", "unet"] == 80.6
    gwm = sequences[sequences["source"] != "measured"]
    assert len(gwm) == gwm["sequence"].nunique() == 20
    assert gwm["J_gt_choice"].mean() == pytest.approx(figures["gwm", "maskformer_dino"], abs=0.06)
    whole = papers.loc["gwm", "maskformer_dino"]
    assert (whole["J_recall"], whole["J_decay"]) == (95.3, 5.8)
    assert gwm["J_recall"].mean() == pytest.approx(95.3, abs=0.4)
    assert gwm["J_decay"].mean() == pytest.approx(5.8, abs=0.06)
    assert papers["F_recall"].isna().all()


def test_other_datasets_have_no_paper(tmp_path):
    table, sequences = tables(tmp_path, {("lrtl", 0): {"cat": CAT}})
    assert set(table["source"]) == set(sequences["source"]) == {"measured"}


def test_runs_on_different_sequences_do_not_share_a_table(tmp_path):
    with pytest.raises(ValueError, match=r"seed1.csv covers other sequences than .*seed0.csv"):
        tables(tmp_path, {("lrtl", 0): {"cat": CAT, "dog": DOG}, ("lrtl", 1): {"cat": CAT}})


def test_scores_without_f_are_named(tmp_path):
    path, run = tmp_path / "seed0.csv", tmp_path / "config.yaml"
    path.write_text("sequence,frame,J,J_oracle\n")
    run.write_text("network: {network: unet}\n")
    with pytest.raises(ValueError, match=r"seed0.csv has no columns J_oracle and F"):
        write_tables("demo", [path], [run], tmp_path / "table.csv", tmp_path / "sequences.csv")


def test_the_dense_crf_has_a_column_where_it_was_scored():
    rows = pd.DataFrame({"sequence": ["cat"] * 6, "J": CAT, "F": CAT, "J_crf": DOG})
    rows = rows.assign(benchmark=[False] + [True] * 4 + [False], released=[True] * 6)
    assert sequence_figures(rows)["J_crf"].tolist() == pytest.approx([65])


def test_a_summary_by_hand():
    lengths = {"cat": 1.0, "dog": 0.0}
    rows = pd.DataFrame(
        {"sequence": name, "J": value, "F": value, "benchmark": True, "released": True}
        for name, count in (("cat", 3), ("dog", 1))
        for value in [lengths[name]] * count
    )
    assert summary(rows).splitlines() == [
        "   mean  recall  decay  of all frames",
        "J 50.00   50.00   0.00          75.00",
        "F 50.00   50.00   0.00          75.00",
        "means over 2 sequences, 4 frames that count",
    ]


def test_a_summary_has_recall_and_decay_of_j_and_f_alone():
    rows = pd.DataFrame({"sequence": ["cat"] * 4, "J": CAT[1:5], "F": 0.25, "J_gt_choice": 1.0})
    lines = summary(rows.assign(benchmark=True, released=True)).splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["J", "60.00", "75.00", "30.00", "60.00"],
        ["J_gt_choice", "100.00", "100.00"],
        ["F", "25.00", "0.00", "0.00", "25.00"],
    ]


def test_a_sequence_without_a_frame_that_counts_is_named(tmp_path):
    with pytest.raises(ValueError, match="dog has no annotated frame but"):
        tables(tmp_path, {("lrtl", 0): {"cat": CAT, "dog": [0.5, 0.5]}})
