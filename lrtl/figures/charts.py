"""Charts of the CSV files that the pipeline writes: training curves, scores and tables."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from lrtl.figures.style import COLOURS

MARKERS = "Dosv^"
PAPER = "published"  # the name of a column or an experiment with a paper's figures
PUBLISHED = {"color": COLOURS[-1], "markersize": 12, "markeredgewidth": 2}
SMOOTH = 50  # parts of a run over each of which a training curve is averaged


def curves(table: pd.DataFrame, title: str) -> Figure:
    """Training curves, a panel for each column on `step`: every step, and a running mean."""
    names = [name for name in table if name != "step"]
    figure, panels = _panels(len(names), 3, (4.2, 2.4), title)
    window = max(len(table) // SMOOTH, 1)
    for axes, name in zip(panels, names, strict=True):
        axes.set(title=name.replace("_", " "), xlabel="step")
        values, noisy = table[name], name != "rate"
        axes.plot(table["step"], values, alpha=0.3 if noisy else 1, linewidth=0.5 if noisy else 1.5)
        if noisy:
            mean = values.rolling(window, center=True, min_periods=1).mean()
            axes.plot(table["step"], mean, color=COLOURS[0])
        if noisy and (values > 0).all():
            axes.set_yscale("log", subs=[])
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
    return figure


def scores(table: pd.DataFrame, title: str) -> Figure:
    """J over the annotated frames, a panel for each sequence, with the oracle if it was scored."""
    sequences = list(table.groupby("sequence", sort=False))
    figure, panels = _panels(len(sequences), 5, (2.6, 1.9), title, sharey=True)
    for axes, (sequence, rows) in zip(panels, sequences, strict=True):
        if "J_oracle" in rows:
            axes.plot(100 * rows["J_oracle"].to_numpy(), color="0.65", label="J, oracle")
        axes.plot(100 * rows["J"].to_numpy(), label="J")
        axes.set(title=sequence, ylim=(0, 100), xlabel="annotated frame")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def sequences(table: pd.DataFrame, title: str) -> Figure:
    """Bars of J per sequence, one for each experiment, with published figures as marks.

    Sequences that have published figures alone are left out if any was measured.
    """
    measured, published = _parts(table)
    names = list(dict.fromkeys(measured["sequence"] if len(measured) else published["sequence"]))
    experiments = list(dict.fromkeys(measured["experiment"]))
    figure = Figure(
        figsize=(2.5 + 0.16 * len(names) * (1 + len(experiments)), 3.4), layout="constrained"
    )
    axes = _titled(figure, title).subplots()
    width, places = 0.8 / max(len(experiments), 1), np.arange(len(names))
    for index, experiment in enumerate(experiments):
        rows = measured[measured["experiment"] == experiment].set_index("sequence").reindex(names)
        shift = (index + 0.5) * width - 0.4
        axes.bar(places + shift, rows["J"], width, yerr=rows["J_std"], label=experiment)
    for (experiment, source), rows in published.groupby(["experiment", "source"]):
        values = rows.set_index("sequence")["J_gt_choice"].reindex(names)
        axes.plot(places, values, "_", **PUBLISHED, label=f"{experiment}, {source}")
    _name_places(axes, names)
    axes.set(ylabel="J", ylim=(0, 100))
    figure.legend(loc="outside right upper")
    return figure


def table(table: pd.DataFrame, title: str) -> Figure:
    """Bars of J with its deviation over seeds, and published figures below."""
    rows = pd.DataFrame(
        {
            "name": table["experiment"] + ", " + table["network"],
            "value": table["J"],
            "error": table["J_std"],
            "ground-truth choice": table["J_gt_choice"].where(table["source"] == "measured"),
            "oracle": table["J_oracle"],
            PAPER: table["J_gt_choice"].where(table["source"] != "measured"),
        }
    )
    rows["name"] += np.where(table["source"] == "measured", "", " (" + table["source"] + ")")
    return bars({"J": rows}, title, 100)


def paper_table(table: pd.DataFrame, title: str) -> Figure:
    """Bars of J with its interval, a panel for each dataset, beside the paper's figures."""
    panels = {
        f"J, {dataset}": pd.DataFrame(
            {
                "name": rows["row"],
                "value": rows["J"],
                "error": rows.get("J_std"),
                "as the paper's": rows["J_as_paper"],
                PAPER: rows["J_paper"],
            }
        )
        for dataset, rows in table.groupby("dataset", sort=False)
    }
    return bars(panels, title, 100)


def rand_table(table: pd.DataFrame, title: str) -> Figure:
    """Bars of the adjusted Rand index with its deviation over videos, beside the paper's."""
    measured, published = _parts(table)
    published = published.set_index("method")
    panels = {
        name: pd.DataFrame(
            {
                "name": measured["method"],
                "value": measured[column],
                "error": measured[f"{column}_std"],
                PAPER: measured["method"].map(published[column]),
            }
        )
        for name, column in (("ARI", "ARI"), ("FG-ARI", "FG_ARI"))
    }
    return bars(panels, title, 100)


def speed(table: pd.DataFrame, title: str) -> Figure:
    """Bars of frames per second, beside the paper's."""
    names = table["experiment"] + ", " + table["network"]
    rows = pd.DataFrame({"name": names, "value": table["fps"], PAPER: table["fps_paper"]})
    return bars({"frames per second": rows}, title, None)


def landscape(table: pd.DataFrame, title: str) -> Figure:
    """Marks of the trajectory loss of partitions, relative to that of one segment."""
    names = table["frame" if "frame" in table else "sequence"].tolist()
    figure = Figure(figsize=(3 + 0.35 * len(names), 3.4), layout="constrained")
    axes = _titled(figure, title).subplots()
    for marker, name in zip(MARKERS, ("true", "halves", "shifted", "random"), strict=False):
        axes.plot(table[name].to_numpy(), marker, label=f"{name} partition")
    axes.axhline(1, color="0.4", linewidth=1)
    _name_places(axes, names)
    axes.set_ylabel("loss, relative to one segment's")
    figure.legend(loc="outside right upper")
    return figure


def bars(panels: dict[str, pd.DataFrame], title: str, limit: float | None) -> Figure:
    """Horizontal bars, a panel for each table, whose columns stand for one figure each.

    `name` is the bar's, `value` its length, `error` its deviation; further columns are marks. The
    number beside a row is its value, or the published one where there is none.
    """
    count = max(map(len, panels.values()))
    size = (2.6 + 4.0 * len(panels), 1.4 + 0.26 * count)
    figure = Figure(figsize=size, layout="constrained")
    grid = _titled(figure, title).subplots(1, len(panels), squeeze=False)[0]
    legend = {}
    for axes, (name, rows) in zip(grid, panels.items(), strict=True):
        legend |= _draw_bars(axes, rows)
        axes.set(title=name, xlim=(0, limit))
    figure.legend(legend.values(), legend.keys(), loc="outside lower left", ncols=4)
    return figure


def _draw_bars(axes: Axes, rows: pd.DataFrame) -> dict:
    """Draw one panel; what stands in the legend, by its name."""
    places, error = np.arange(len(rows)), {"ecolor": "0.2", "capsize": 2.5}
    legend = {"measured": axes.barh(places, rows["value"], 0.7, xerr=rows.get("error"), **error)}
    marks = [name for name in rows if name not in ("name", "value", "error")]
    for name, marker, colour in zip(marks, MARKERS, COLOURS[1:], strict=False):
        look = {"marker": marker, "color": colour, "markeredgecolor": "white", "ms": 5.5}
        look = PUBLISHED | {"marker": "|"} if name == PAPER else look
        if rows[name].notna().any():
            (legend[name],) = axes.plot(rows[name], places, linestyle="", **look)
    for place, value in zip(places, rows["value"].fillna(rows[PAPER]), strict=True):
        if pd.notna(value):
            beside = axes.get_yaxis_transform()
            axes.text(1.02, place, f"{value:.1f}", transform=beside, va="center")
    axes.set_yticks(places, rows["name"])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    return legend


def _name_places(axes: Axes, names: list[str]) -> None:
    """Write slanted names below the places 0, 1, ... of the horizontal axis."""
    places = range(len(names))
    axes.set_xticks(places, names, rotation=35, ha="right", rotation_mode="anchor")
    axes.grid(visible=False, axis="x")


def _parts(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The measured and the published rows."""
    measured = table["source"] == "measured"
    return table[measured], table[~measured]


def _titled(figure: Figure, title: str) -> Figure:
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _panels(count: int, most: int, size: tuple[float, float], title: str, **shared):
    """A figure of `count` panels, at most so many in a row, of `size` in inches each."""
    rows = -(-count // most)
    columns = -(-count // rows)
    figure = Figure(figsize=(columns * size[0], rows * size[1] + 0.4), layout="constrained")
    grid = _titled(figure, title).subplots(rows, columns, squeeze=False, **shared).ravel()
    for axes in grid[count:]:
        axes.remove()
    return figure, grid[:count]
