"""Labels of MOVi-F's or movi_mini's videos -> Table 1 of the LRTL paper, beside its figures."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from lrtl.datasets.movi import read_video
from lrtl.files import write_csv
from lrtl.metrics import adjusted_rand, foreground_rand

TABLE = ["method", "ARI", "ARI_std", "FG_ARI", "FG_ARI_std", "clusters", "videos", "source"]


def write_movi_table(videos: list[Path], labels: list[Path], scores: Path, table: Path) -> None:
    """Score labels and average them.

    `scores` has a row per frame, method and number of clusters. `table` has one per method, in
    0..100: means over a video's frames, then over videos, and their deviation over videos. Where a
    method was run with several numbers of clusters, the one with the best mean ARI counts for each
    video: ground truth chooses it, as in the paper. Rows of the paper stand below.

    Args:
        videos: one .npz per video.
        labels: `.../{method}/{video}.npz` of every method and video.

    Raises:
        ValueError: labels of a video that is not there.
    """
    truth = {path.stem: read_video(path).segmentations for path in videos}
    rows = [row for path in labels for row in _rows(path, truth)]
    frames = pd.DataFrame(rows)
    write_csv(frames, scores)
    tried = frames.groupby(["method", "video", "clusters"], sort=False)[["ARI", "FG_ARI"]].mean()
    best = tried.loc[tried.groupby(["method", "video"], sort=False)["ARI"].idxmax()].reset_index()
    methods = best.groupby("method", sort=False)
    measured = 100 * methods[["ARI", "FG_ARI"]].mean()
    measured[["ARI_std", "FG_ARI_std"]] = 100 * methods[["ARI", "FG_ARI"]].std()
    measured["clusters"], measured["videos"] = methods["clusters"].mean(), methods.size()
    measured = measured.reset_index().assign(source="measured")
    published = pd.read_csv(str(files("lrtl") / "published_movi.csv"))
    result = pd.concat([measured, published], ignore_index=True)[TABLE]
    write_csv(result.round(2).astype({"videos": "Int64"}), table)


def _rows(path: Path, truth: dict[str, np.ndarray]) -> list[dict]:
    """Scores of a method's labels of a video, a row per number of clusters and frame."""
    if path.stem not in truth:
        raise ValueError(f"{path} is of video {path.stem}, there are {', '.join(truth)}")
    with np.load(path, allow_pickle=False) as found:
        labels, clusters, frames = (found[name] for name in ("labels", "clusters", "frames"))
    about = {"method": path.parent.name, "video": path.stem}
    return [
        about
        | {
            "clusters": int(count),
            "frame": int(frame),
            "ARI": round(adjusted_rand(maps[i], truth[path.stem][frame]), 6),
            "FG_ARI": round(foreground_rand(maps[i], truth[path.stem][frame]), 6),
        }
        for count, maps in zip(clusters, labels, strict=True)
        for i, frame in enumerate(frames)
    ]
