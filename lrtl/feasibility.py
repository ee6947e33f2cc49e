"""The trajectory loss of corrupted ground-truth masks (Sec. 4, Fig. 3 and appendix D)."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from lrtl.config import FeasibilityConfig
from lrtl.corruption import add_noise, restructure, soften
from lrtl.datasets.layout import PALETTE
from lrtl.datasets.movi import read_video
from lrtl.datasets.trajectories import RigidVideo
from lrtl.figures.style import write_chart
from lrtl.files import write_csv
from lrtl.losses import trajectory_loss
from lrtl.movi import normalised_tracks

CLASSES = 20  # K of appendix D


def feasibility(path: Path, config: FeasibilityConfig, rows: Path, figure: Path, masks: Path):
    """Write Figure 3 of a video as CSV and PNG, and pictures of its corrupted masks.

    Columns of `rows`: `panel` (noise, temperature or both), `structure` s, `noise` eta,
    `temperature` tau, the `loss` averaged over the trials and its deviation, `loss_std`.
    """
    video = read_video(path)
    table = losses(video, config)
    write_csv(table, rows)
    write_chart(lambda: draw(video, config, table), figure)
    write_chart(lambda: draw_masks(video, config), masks)


def losses(video: RigidVideo, config: FeasibilityConfig) -> pd.DataFrame:
    """The loss of every configuration of the figure's panels, over trials of their own draws."""
    rng = np.random.default_rng(0)
    height, width = video.size
    pixels = rng.permutation(height * width)[: config.tracks]
    points = np.stack([pixels % width / (width - 1), pixels // width / (height - 1)]) * 2 - 1
    points = torch.from_numpy(points)[None]  # (1, 2, N)
    tracks = torch.from_numpy(normalised_tracks(video, config.frame)[..., pixels])[None]
    rows = []
    for panel, structure, noise, temperature in configurations(config):
        values = []
        for trial in range(config.trials):
            labels = corrupted(video, config, structure, noise, trial)
            mask = soften(labels, CLASSES, config.logit, temperature)[None]
            values.append(trajectory_loss(mask, points, tracks, config.rank).item())
        setting = {"structure": structure, "noise": noise, "temperature": temperature}
        figures = {"loss": round(np.mean(values), 6), "loss_std": round(np.std(values), 6)}
        rows.append({"panel": panel} | setting | figures)
    return pd.DataFrame(rows)


def configurations(config: FeasibilityConfig) -> list[tuple[str, int, float, float]]:
    """Panel, s, eta and tau: one axis after the other with s, the other at rest, then both."""
    quiet, sharp = min(config.noise), min(config.temperature)
    lines = [("noise", eta, sharp) for eta in config.noise]
    lines += [("temperature", quiet, tau) for tau in config.temperature]
    pairs = zip(config.noise, config.temperature, strict=False)
    lines += [("both", eta, tau) for eta, tau in pairs]
    crossed = product(lines, config.structure)
    return [(panel, s, eta, tau) for (panel, eta, tau), s in crossed]


def corrupted(
    video: RigidVideo, config: FeasibilityConfig, structure: int, noise: float, trial: int
) -> np.ndarray:
    """Ground-truth labels (H, W) with a structural change and noise; a trial is its own draw."""
    truth = video.segmentations[config.frame].astype(int)
    labels = restructure(truth, structure, np.random.default_rng([0, trial]))
    return add_noise(labels, noise, CLASSES, np.random.default_rng([1, trial]))


def draw(video: RigidVideo, config: FeasibilityConfig, table: pd.DataFrame) -> Figure:
    """The frame, and the loss over s, a line for each noise and temperature, +- one deviation."""
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    frame, *panels = figure.subplots(1, 4)
    frame.imshow(video.video[config.frame])
    frame.set_axis_off()
    frame.set_title(f"{video.name}, frame {config.frame}")
    labels = {"noise": r"$\eta$ {noise:g}", "temperature": r"$\tau$ {temperature:g}"}
    labels["both"] = ", ".join(labels.values())
    for axes, (name, rows) in zip(panels, table.groupby("panel", sort=False), strict=True):
        for key, line in rows.groupby(["noise", "temperature"], sort=False):
            settings = dict(zip(("noise", "temperature"), key, strict=True))
            axes.plot(line["structure"], line["loss"], label=labels[name].format(**settings))
            low, high = line["loss"] - line["loss_std"], line["loss"] + line["loss_std"]
            axes.fill_between(line["structure"], low, high, alpha=0.2)
        axes.set(xlabel="structural change s", title=name)
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    panels[0].set_ylabel(r"$\mathcal{L}_t$, mean over K")
    return figure


def draw_masks(video: RigidVideo, config: FeasibilityConfig) -> Figure:
    """Rows of corrupted masks: noise (Fig. 6), fewer objects (Fig. 8), more of them (Fig. 9)."""
    fewer = [s for s in config.structure if s <= 0]
    more = [s for s in config.structure if s >= 0]
    rows = [
        [(rf"$\eta$ = {eta:g}", 0, eta) for eta in config.noise],
        [(f"s = {s}", s, 0.0) for s in fewer],
        [(f"s = {s}", s, 0.0) for s in more],
    ]
    columns = max(map(len, rows))
    figure = Figure(figsize=(1.6 * columns, 5.4), layout="constrained")
    colours = np.array(PALETTE, np.uint8).reshape(-1, 3)
    for axes, row in zip(figure.subplots(3, columns, squeeze=False), rows, strict=True):
        for cell in axes:
            cell.set_axis_off()
        for cell, (title, structure, noise) in zip(axes, row, strict=False):
            cell.imshow(colours[corrupted(video, config, structure, noise, 0)])
            cell.set_title(title)
    return figure
