"""Frames per second of a network that was never trained."""

from dataclasses import asdict

import pandas as pd

from lrtl.methods import NETWORKS
from lrtl.runs import save_run, settings_text
from lrtl.speed import measure_speed
from tests.small import LOSSES, NETWORK


def test_a_run_is_timed_beside_the_paper(comet, tmp_path):
    run = tmp_path / "runs/demo/lrtl/seed0"
    model = NETWORKS[NETWORK.network](NETWORK)
    settings = {"network": asdict(NETWORK), "losses": asdict(LOSSES)}
    save_run(run, model, settings_text(settings))
    measure_speed(run, comet, tmp_path / "speed.csv")
    rows = pd.read_csv(tmp_path / "speed.csv")
    assert rows["experiment"].tolist() == ["lrtl"]
    assert (rows["fps"] > 0).all() and set(rows["frames"]) == {len(comet.frames)}
    assert set(rows["parameters"]) == {sum(p.numel() for p in model.parameters())}
    assert set(rows["fps_paper"]) == {6.4}
