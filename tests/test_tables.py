"""Tables from scores whose means are known by hand."""

import pandas as pd
import pytest

from lrtl.tables import SEQUENCES, TABLE, write_tables


@pytest.fixture
def tables(tmp_path):
    """Two seeds of `lrtl` and one of `flow_only` on two sequences of four frames."""
    scores, runs = [], []
    for experiment, seed, base in (("flow_only", 0, 0.2), ("lrtl", 0, 0.5), ("lrtl", 1, 0.7)):
        rows = [
            {
                "sequence": sequence,
                "frame": f"{i:05d}",
                "object": 1,
                "J": base + offset + 0.01 * i,
                "J_gt_choice": base + 0.1,
                "J_oracle": base + 0.2,
                "davis": 0 < i < 3,
                "released": 1 < i < 3,
            }
            for sequence, offset in (("dog", 0.0), ("goat", 0.1))
            for i in range(4)
        ]
        path = tmp_path / "scores" / experiment / f"seed{seed}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(path, index=False)
        run = tmp_path / f"{experiment}{seed}.yaml"
        run.write_text("network: {network: unet}\n")
        scores.append(path)
        runs.append(run)

    def write(dataset):
        out = tmp_path / "table.csv", tmp_path / "sequences.csv"
        write_tables(dataset, scores, runs, *out)
        return [pd.read_csv(path) for path in out]

    return write


def test_means_over_frames_sequences_and_seeds(tables):
    table, sequences = tables("demo")
    assert list(table) == TABLE
    assert list(sequences) == SEQUENCES
    assert table["experiment"].tolist() == ["flow_only", "lrtl"]
    assert table["seeds"].tolist() == [1, 2]
    assert table["frames"].tolist() == [4, 4]
    assert table["J"].tolist() == pytest.approx([26.5, 66.5])
    assert table["J_std"].fillna(-1).tolist() == pytest.approx([-1, 14.14], abs=0.01)
    assert table["J_released"].tolist() == pytest.approx([27, 67])
    assert (table["source"] == "measured").all()
    lrtl = sequences[sequences["experiment"] == "lrtl"]
    assert lrtl["J"].tolist() == pytest.approx([61.5, 71.5])
    assert lrtl["J_recall"].tolist() == [100, 100]


def test_papers_stand_below_without_an_honest_figure(tables):
    table, sequences = tables("davis")
    papers = table[table["source"] != "measured"]
    assert papers["J"].isna().all()
    rows = papers.set_index(["experiment", "network"])["J_gt_choice"]
    assert rows["lrtl", "dino_maskformer"] == 82.2
    assert rows["flow_only", "dino_maskformer"] == 78.5
    gwm = sequences[sequences["source"] == "GWM Table 10"]
    assert len(gwm) == 20
    assert gwm["J_gt_choice"].mean() == pytest.approx(79.5, abs=0.05)
