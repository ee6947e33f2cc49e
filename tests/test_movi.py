"""Single videos by exact trajectories: from a rendered video to Table 1 and Figure 3."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from tqdm import trange

from lrtl.config import FeasibilityConfig
from lrtl.datasets.movi import write_video
from lrtl.datasets.movi_mini import render
from lrtl.feasibility import configurations, feasibility, losses
from lrtl.movi import normalised_tracks, optimise, segment_video
from lrtl.movi_table import write_movi_table
from lrtl.settings import resolve
from tests.baselines.test_clustering import ROOT, settings

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.fixture(scope="module")
def video():
    """A rendered video of a quarter of the frames and of the side."""
    whole = render(4)
    cut = np.s_[::4, ::4, ::4]
    return replace(
        whole,
        video=whole.video[cut],
        segmentations=whole.segmentations[cut],
        depth=whole.depth[cut],
        camera_positions=whole.camera_positions[::4],
        camera_quaternions=whole.camera_quaternions[::4],
        positions=whole.positions[:, ::4],
        quaternions=whole.quaternions[:, ::4],
        offset=0.5 / 4 - 0.5,
    )


def small(**changes):
    values = {"width": 2, "steps": 3, "batch": 2, "tracks": 300, "stride": 4, "every": 3}
    return settings(**{"clusters": [2, 5], "components": 6} | values | changes)


def feasible(**changes) -> FeasibilityConfig:
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in CONFIG["feasibility"].items()}
    return FeasibilityConfig(**values | changes)


def test_tracks_are_in_frame_sizes(video):
    tracks = normalised_tracks(video, 2).reshape(-1, 2, 32, 32)
    x, y = tracks[2]
    # The sample of a pixel is half a px of the whole frame from its corner.
    np.testing.assert_allclose(x[0], (np.arange(32) * 4 + 0.5) / 128, atol=1e-6)
    np.testing.assert_allclose(y[:, 0], (np.arange(32) * 4 + 0.5) / 128, atol=1e-6)
    assert tracks.dtype == np.float32
    assert np.abs(tracks).max() <= 20


def test_optimising_lowers_the_loss_and_repeats(video, capsys, monkeypatch):
    monkeypatch.setattr("lrtl.movi.trange", partial(trange, mininterval=0))  # shows every step
    labels = optimise(video, small(steps=40, learning_rate=5e-3))
    assert labels.shape == video.depth.shape
    assert labels.dtype == np.uint8
    values = [float(part.split("]")[0]) for part in capsys.readouterr().err.split("loss=")[1:]]
    assert len(values) >= 40
    assert np.mean(values[-10:]) < np.mean(values[:10])
    np.testing.assert_array_equal(optimise(video, small()), optimise(video, small()))


def test_a_run_that_diverges_stops_with_its_step(video):
    with pytest.raises(FloatingPointError, match=r"00004, step \d+: .* not finite"):
        optimise(video, small(steps=5, learning_rate=1e30))


def test_from_video_to_table(video, tmp_path):
    videos = [tmp_path / f"{name}.npz" for name in (0, 1)]
    for path in videos:
        write_video(video, path)
    labels = []
    for method in ("kmeans", "lsr", "lrtl"):
        for path in videos:
            out = tmp_path / method / path.name
            segment_video(path, method, small(), out)
            labels.append(out)
    write_movi_table(videos, labels, tmp_path / "frames.csv", tmp_path / "table.csv")
    frames = pd.read_csv(tmp_path / "frames.csv")
    assert len(frames) == 2 * 2 * (2 + 2 + 1)  # videos, frames, numbers of clusters of each method
    table = pd.read_csv(tmp_path / "table.csv")
    assert list(table["method"]) == ["kmeans", "lsr", "lrtl", "kmeans", "ssc", "lrr", "lrtl"]
    tried = frames[frames["method"] == "lsr"].groupby(["video", "clusters"])["ARI"].mean()
    assert table.loc[1, "ARI"] == pytest.approx(100 * tried.groupby("video").max().mean(), abs=0.01)
    assert table.loc[0, "ARI_std"] == 0  # the same video twice
    paper = table[table["source"] == "LRTL Table 1"].set_index("method")
    assert tuple(paper.loc["lrtl", ["ARI", "FG_ARI"]]) == (46.07, 65.76)
    with pytest.raises(ValueError, match="of video 1, there are 0"):
        write_movi_table(videos[:1], labels, tmp_path / "a.csv", tmp_path / "b.csv")
    with pytest.raises(ValueError, match="unknown method 'em'; one of kmeans, ssc"):
        segment_video(videos[0], "em", small(), tmp_path / "c.npz")


def test_figure_3s_statements_hold():
    whole = render(CONFIG["feasibility"]["video"])
    table = losses(
        whole,
        feasible(
            tracks=1024,
            trials=2,
            noise=(0.0, 0.5),
            temperature=(1.0, 3.0),
            structure=(-2, -1, 0, 1, 2),
        ),
    )
    loss = table.set_index(["panel", "noise", "temperature", "structure"])["loss"].sort_index()
    for s in (-2, 0, 2):  # more noise, and softer masks, cost more
        assert loss["noise", 0.5, 1.0, s] > loss["noise", 0.0, 1.0, s]
        assert loss["temperature", 0.0, 3.0, s] > loss["temperature", 0.0, 1.0, s]
    for tau in (1.0, 3.0):  # the true number of segments is the best, merging the worst
        line = loss["temperature", 0.0, tau]
        assert line.idxmin() == 0
        for s in (1, 2):
            assert line[-s] > line[s]


def test_panels_are_the_papers():
    panels = configurations(feasible())
    lines = {(panel, eta, tau) for panel, _, eta, tau in panels}
    assert {tau for panel, _, tau in lines if panel == "noise"} == {1.0}
    assert {eta for panel, eta, _ in lines if panel == "temperature"} == {0.0}
    assert len(panels) == 8 * len(lines) == 8 * 15


def test_the_figure_and_the_pictures(video, tmp_path):
    write_video(video, tmp_path / "4.npz")
    config = feasible(frame=2, tracks=300, trials=2, noise=(0.0, 1.0), structure=(-1, 0, 1))
    outputs = [tmp_path / name for name in ("rows.csv", "figure.png", "masks.png")]
    feasibility(tmp_path / "4.npz", config, *outputs)
    assert len(pd.read_csv(outputs[0])) == 3 * (2 + 5 + 2)
    for path in outputs[1:]:
        with Image.open(path) as image:
            assert image.width > 300
    first = [path.read_bytes() for path in outputs]
    feasibility(tmp_path / "4.npz", config, *outputs)
    assert first == [path.read_bytes() for path in outputs]


def test_the_stand_in_differs_in_scale_alone():
    paper, mini = (resolve(CONFIG, name)["movi"] for name in ("movi", "movi_mini"))
    assert (paper["components"], paper["steps"], paper["ssc_alpha"]) == (25, 5000, 100)
    assert (paper["lrr_penalty"], paper["lrr_growth"], paper["lrr_iterations"]) == (
        0.2,
        1.01,
        10000,
    )
    for name in ("components", "rank", "ssc_alpha", "lrr_penalty", "lrr_growth", "lsr_penalty"):
        assert mini[name] == paper[name]
