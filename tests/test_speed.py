"""Frames per second of a network that was never trained."""

from dataclasses import asdict

import pandas as pd
import yaml
from safetensors.torch import save_file

from lrtl.files import whole_file
from lrtl.methods import NETWORKS
from lrtl.speed import measure_speed
from lrtl.train import _plain
from tests.small import LOSSES, NETWORK


def test_a_run_is_timed_beside_the_paper(comet, tmp_path):
    run = tmp_path / "runs/demo/lrtl/seed0"
    model = NETWORKS[NETWORK.network](NETWORK)
    with whole_file(run / "weights.safetensors") as temporary:
        save_file(model.state_dict(), temporary)
    settings = _plain({"network": asdict(NETWORK), "losses": asdict(LOSSES)})
    with whole_file(run / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(settings))
    measure_speed(run, comet, tmp_path / "speed.csv")
    rows = pd.read_csv(tmp_path / "speed.csv")
    assert rows["experiment"].tolist() == ["lrtl"]
    assert (rows["fps"] > 0).all() and set(rows["frames"]) == {len(comet.frames)}
    assert set(rows["parameters"]) == {sum(p.numel() for p in model.parameters())}
    assert set(rows["fps_paper"]) == {6.4}
