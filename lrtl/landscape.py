"""The trajectory loss of the true partition beside that of others, on the tracks training uses."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lrtl.config import LossConfig
from lrtl.datasets.layout import Sequence
from lrtl.files import read_csv, write_csv
from lrtl.losses import trajectory_loss
from lrtl.motion.reading import moving_average, normalise_points, read_tracks
from lrtl.motion.store import TrackStore

EVERY = 5  # frames between those that are compared
SHIFT = (1 / 6, 3 / 16)  # of the height and the width, by which the true mask is moved, wrapping


def landscape(sequence: Sequence, store: TrackStore, losses: LossConfig, out: Path) -> None:
    """Write the loss of partitions of annotated frames relative to that of one segment.

    Columns `sequence, frame, tracks, true, halves, shifted, random`: the number of tracks used and
    Eq. 4 summed over the two segments of the ground truth, of left and right halves, of the ground
    truth moved by a sixth of the height and 3/16 of the width, and of a random half of the tracks.
    """
    rows = []
    for index in range(0, len(sequence.frames), EVERY):
        mask = sequence.mask(index)
        if mask is None:
            continue
        tracks = read_tracks(store, index, losses)
        positions = tracks.positions(tracks.usable)
        points = normalise_points(tracks.pixels(positions[tracks.query_index]))
        points = torch.from_numpy(points)[None]
        matrix = tracks.pixels(moving_average(positions, losses.track_filter))
        matrix = torch.from_numpy(matrix)[None]  # (1, T, 2, N)
        count = matrix.shape[-1]
        if count <= losses.rank:
            continue
        foreground = torch.from_numpy(mask > 0)
        height, width = foreground.shape
        shift = (round(SHIFT[0] * height), round(SHIFT[1] * width))
        partitions = {
            "true": foreground,
            "halves": torch.arange(width).expand(height, width) < width / 2,
            "shifted": foreground.roll(shift, (0, 1)),
            "random": torch.from_numpy(np.random.default_rng(index).random((height, width)) < 0.5),
        }
        one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        reference = trajectory_loss(one, points.double(), matrix, losses.rank)
        row = {"sequence": sequence.name, "frame": sequence.frames[index], "tracks": count}
        for name, partition in partitions.items():
            value = 2 * trajectory_loss(_two(partition), points.double(), matrix, losses.rank)
            row[name] = round((value / reference).item(), 6)
        rows.append(row)
    columns = ["sequence", "frame", "tracks", "true", "halves", "shifted", "random"]
    write_csv(pd.DataFrame(rows, columns=columns), out)


def landscape_table(rows: list[Path], out: Path) -> None:
    """Average the landscape over each sequence's frames, and over the sequences in a last row."""
    frames = pd.concat([read_csv(path, dtype={"frame": str}) for path in rows])
    table = frames.drop(columns="frame").groupby("sequence", sort=False).mean()
    table.loc["mean"] = table.mean()
    write_csv(table.round(4).reset_index(), out)


def _two(partition: Tensor) -> Tensor:
    return torch.stack([partition, ~partition]).double()[None]  # (1, 2, H, W)
