"""Frames per second of a network that was never trained."""

from dataclasses import asdict

import pandas as pd

from lrtl.files import check_file, write_csv
from lrtl.methods import NETWORKS
from lrtl.runs import save_run, settings_text
from lrtl.speed import measure_speed, write_speed_table
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


def test_speeds_stand_in_a_table_and_as_text(tmp_path):
    rows = []
    for name, fps, published in (("unet", 130.5, 6.4), ("maskformer_swin", 2.0, None)):
        row = {"experiment": name, "fps": fps, "fps_paper": published}
        rows.append(tmp_path / f"{name}.csv")
        write_csv(pd.DataFrame([row]), rows[-1])
    write_speed_table(rows, tmp_path / "lrtl_speed.csv")
    table = (tmp_path / "lrtl_speed.csv").read_text()
    assert table == "experiment,fps,fps_paper\nunet,130.5,6.4\nmaskformer_swin,2.0,\n"
    lines = (tmp_path / "lrtl_speed.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[:1] + cells[2:] == [line.split(",") for line in table.splitlines()]
    latex = (tmp_path / "lrtl_speed.tex").read_text()
    assert r"maskformer\_swin & 2.0 &  \\" in latex and r"unet & 130.5 & 6.4 \\" in latex
    for name in ("lrtl_speed.csv", "lrtl_speed.md", "lrtl_speed.tex"):
        check_file(tmp_path / name)
