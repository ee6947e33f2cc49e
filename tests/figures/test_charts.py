"""Charts hold the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from lrtl.figures import charts
from lrtl.figures.style import write_chart

TABLE = pd.DataFrame(
    {
        "experiment": ["flow_only", "lrtl", "gwm"],
        "network": ["unet", "unet", "maskformer_dino"],
        "J": [61.5, 63.0, np.nan],
        "J_std": [1.5, np.nan, np.nan],
        "J_gt_choice": [62.0, 64.0, 79.5],
        "J_oracle": [66.0, 67.0, np.nan],
        "source": ["measured", "measured", "GWM Table 10"],
    }
)


def widths(axes):
    (container,) = (c for c in axes.containers if isinstance(c, BarContainer))
    return [bar.get_width() for bar in container]


def marks(figure, name):
    """The horizontal places of a kind of marks, as the legend calls them."""
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    handle = legend.legend_handles[names.index(name)]
    (line,) = (
        line
        for line in figure.axes[0].lines
        if line.get_marker() == handle.get_marker() and line.get_color() == handle.get_color()
    )
    return np.asarray(line.get_xdata(), float)


def test_a_table_has_bars_deviations_and_published_marks():
    figure = charts.table(TABLE, "davis")
    axes = figure.axes[0]
    assert widths(axes)[:2] == [61.5, 63.0] and np.isnan(widths(axes)[2])
    (low, high), *_ = axes.containers[0].lines[2][0].get_segments()
    assert (low[0], high[0]) == (60.0, 63.0)
    np.testing.assert_equal(marks(figure, "published"), [np.nan, np.nan, 79.5])
    np.testing.assert_equal(marks(figure, "ground-truth choice"), [62, 64, np.nan])
    np.testing.assert_equal(marks(figure, "oracle"), [66, 67, np.nan])
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["flow_only, unet", "lrtl, unet", "gwm, maskformer_dino (GWM Table 10)"]
    assert [text.get_text() for text in axes.texts] == ["61.5", "63.0", "79.5"]


def test_a_papers_table_has_a_panel_for_each_dataset():
    rows = pd.DataFrame(
        {
            "row": ["r = 3", "r = 4", "r = 3"],
            "dataset": ["davis", "davis", "fbms59"],
            "J": [60.0, np.nan, 50.0],
            "J_std": [1.0, np.nan, np.nan],
            "J_as_paper": [61.0, np.nan, 51.0],
            "J_paper": [76.0, 79.6, np.nan],
        }
    )
    figure = charts.paper_table(rows, "lrtl_table5")
    assert [axes.get_title() for axes in figure.axes] == ["J, davis", "J, fbms59"]
    np.testing.assert_equal(widths(figure.axes[0]), [60, np.nan])
    np.testing.assert_equal(marks(figure, "published"), [76, 79.6])
    assert widths(figure.axes[1]) == [50]


def test_rand_indices_stand_beside_the_papers():
    rows = pd.DataFrame(
        {
            "method": ["kmeans", "lsr", "kmeans"],
            "ARI": [73.8, 91.4, 15.3],
            "ARI_std": [6.7, 8.5, np.nan],
            "FG_ARI": [38.7, 54.1, 42.5],
            "FG_ARI_std": [8.6, 8.3, np.nan],
            "source": ["measured", "measured", "LRTL Table 1"],
        }
    )
    figure = charts.rand_table(rows, "movi")
    assert [widths(axes) for axes in figure.axes] == [[73.8, 91.4], [38.7, 54.1]]
    np.testing.assert_equal(marks(figure, "published"), [15.3, np.nan])


def test_speeds_have_no_upper_end():
    rows = {"experiment": ["unet"], "network": ["unet"], "fps": [130.0], "fps_paper": [6.4]}
    figure = charts.speed(pd.DataFrame(rows), "speed")
    assert widths(figure.axes[0]) == [130] and figure.axes[0].get_xlim()[1] > 130
    assert marks(figure, "published") == [6.4]


def test_sequences_have_a_bar_for_each_experiment():
    rows = pd.DataFrame(
        {
            "experiment": ["flow_only", "flow_only", "lrtl", "lrtl", "gwm", "gwm"],
            "sequence": ["dog", "goat", "goat", "dog", "camel", "goat"],
            "J": [80.0, 60.0, 61.0, 81.0, np.nan, np.nan],
            "J_std": [1.0, 2.0, np.nan, np.nan, np.nan, np.nan],
            "J_gt_choice": [80.0, 60.0, 61.0, 81.0, 89.0, 78.6],
            "source": ["measured"] * 4 + ["GWM Table 10"] * 2,
        }
    )
    axes = charts.sequences(rows, "davis").axes[0]
    bars = [c for c in axes.containers if isinstance(c, BarContainer)]
    assert [[bar.get_height() for bar in container] for container in bars] == [[80, 60], [81, 61]]
    (published,) = (line for line in axes.lines if line.get_marker() == "_")
    np.testing.assert_equal(published.get_ydata(), [np.nan, 78.6])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["dog", "goat"]
    alone = charts.sequences(rows[4:], "davis").axes[0]
    assert [label.get_text() for label in alone.get_xticklabels()] == ["camel", "goat"]


def test_scores_have_a_panel_for_each_sequence():
    rows = pd.DataFrame({"sequence": list("aabbb"), "frame": list("01012"), "J": [0.5] * 5})
    rows["J_oracle"] = [0.6, 0.7, 0.8, 0.9, 1.0]
    figure = charts.scores(rows, "davis")
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    oracle, measured = (line.get_ydata() for line in figure.axes[1].lines)
    np.testing.assert_allclose(oracle, [80, 90, 100])
    np.testing.assert_allclose(measured, [50, 50, 50])
    assert len(charts.scores(rows.drop(columns="J_oracle"), "davis").axes[0].lines) == 1


def test_training_curves_have_a_panel_for_each_column():
    rng, steps = np.random.default_rng(0), 500
    rows = {"step": range(steps), "loss": rng.random(steps), "perspective": -rng.random(steps)}
    rows |= {"rate": np.linspace(1e-3, 0, steps), "gradient_norm": 1 + rng.random(steps)}
    figure = charts.curves(pd.DataFrame(rows), "run")
    titles = ["loss", "perspective", "rate", "gradient norm"]
    assert [axes.get_title() for axes in figure.axes] == titles
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear", "log"]
    every, mean = (line.get_ydata() for line in figure.axes[0].lines)
    np.testing.assert_array_equal(every, rows["loss"])
    assert mean[250] == pytest.approx(rows["loss"][245:255].mean())  # of a fiftieth of the steps


def test_a_landscape_has_a_mark_for_each_partition():
    rows = pd.DataFrame({"sequence": ["dog", "mean"], "true": [0.8, 0.9], "halves": [1.0, 1.1]})
    rows = rows.assign(shifted=[1.1, 1.2], random=[1.2, 1.3])
    axes = charts.landscape(rows, "davis").axes[0]
    marked = [line.get_ydata().tolist() for line in axes.lines[:4]]
    assert marked == [[0.8, 0.9], [1.0, 1.1], [1.1, 1.2], [1.2, 1.3]]
    frames = charts.landscape(rows.assign(frame=["00000", "00005"]), "dog").axes[0]
    assert [label.get_text() for label in frames.get_xticklabels()] == ["00000", "00005"]


def test_a_chart_is_the_same_every_time_and_its_file_appears_whole(tmp_path):
    for name in ("a.png", "b.png"):
        write_chart(lambda: charts.table(TABLE, "davis"), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    def broken() -> Figure:
        raise ValueError("no figure")

    with pytest.raises(ValueError, match="no figure"):
        write_chart(broken, tmp_path / "c.png")
    assert not list(tmp_path.glob("*c.*"))
