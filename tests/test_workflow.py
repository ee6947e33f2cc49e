"""The workflow as its users run it: dry runs, errors, reruns and kills on the demo."""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lrtl.datasets import fbms59
from lrtl.datasets.layout import Sequence
from tests.conftest import command_line, edit, environment, snakemake
from tests.datasets.images import box, write_archive
from tests.datasets.test_fbms59 import colour, grey


def jobs(output: str) -> set[str]:
    """Rules of the job table of a dry run."""
    table = output.partition("Job stats:")[2].partition("\n\n")[0]
    rows = (line.split() for line in table.splitlines())
    return {row[0] for row in rows if len(row) == 2 and row[1].isdigit()} - {"total"}


def digest(path: Path) -> dict[str, str]:
    """File name to sha256 of a product, without Snakemake's time stamp."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {
        str(p.relative_to(path.parent)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(files)
        if p.name != ".snakemake_timestamp"
    }


def test_dry_runs_of_every_dataset(checkout):
    for target, config in (
        ("results/davis_table.csv", []),
        ("results/davis_table.csv", ["preset=cpu", "sequences=dog,goat"]),
        ("davis", ["preset=cpu"]),
        ("results/segtrackv2_table.csv", ["preset=cpu"]),
        ("fbms59", ["preset=cpu", "sequences=bear01,cars1"]),
        ("demo", []),
    ):
        run = snakemake(checkout, "-n", target, config=config or ["preset=paper"])
        assert run.returncode == 0, run.stderr
        assert {"flow", "tracks", "train", "segment", "score", "table"} <= jobs(run.stdout)


def test_merging_by_appearance_fetches_its_weights(checkout):
    edit(checkout, "affinity: motion ", "affinity: dino_vits8 ")
    run = snakemake(checkout, "-n", "-p", "results/demo_table.csv")
    assert run.returncode == 0, run.stderr
    assert "fetch_weights" in jobs(run.stdout)
    weights = "--affinity-weights resources/weights/dino_deitsmall8_pretrain.pth"
    assert weights in run.stdout + run.stderr


def test_a_dry_run_over_backbones(checkout):
    """Their weights are fetched once and given to training and segmentation."""
    edit(
        checkout,
        "davis: [flow_only, tracks_only, flow_and_tracks, lrtl]",
        "davis: [unet, maskformer_swin]",
    )
    run = snakemake(checkout, "-n", "-p", "results/davis_table.csv", config=["sequences=dog"])
    assert run.returncode == 0, run.stderr
    name = "swin_tiny_patch4_window7_224.pth"
    assert run.stdout.count(f"--name {name}") == 1
    assert run.stdout.count(f"--backbone-weights resources/weights/{name}") == 2 * 3  # seeds
    assert run.stdout.count("--learning-rate 6e-05 --weight-decay 0.01") == 3


def test_every_table_of_a_paper_resolves(checkout):
    run = snakemake(checkout, "-n", "tables", config=["preset=paper"])
    assert run.returncode == 0, run.stderr
    assert {"tracks", "train", "segment", "score", "paper_table"} <= jobs(run.stdout)
    names = yaml.safe_load((checkout / "config.yaml").read_text())["paper_tables"]
    assert set(names) == {*(f"lrtl_table{number}" for number in range(2, 11)), "merging"}
    for name in [*names, "lrtl_speed"]:
        for suffix in ("csv", "md", "tex", "html"):
            assert f"results/tables/{name}.{suffix}" in run.stdout


def test_a_network_is_trained_once_however_often_it_is_merged(checkout):
    edit(
        checkout,
        "davis: [flow_only, tracks_only, flow_and_tracks, lrtl]",
        "davis: [lrtl.frame, lrtl, lrtl.released]",
    )
    config = ["preset=cpu", "sequences=dog", "seeds=0,1"]
    run = snakemake(checkout, "-n", "-p", "davis", config=config)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("lrtl train ") == run.stdout.count("lrtl foreground ") == 2
    assert run.stdout.count("lrtl masks ") == run.stdout.count("lrtl pictures ") == 3 * 2
    assert run.stdout.count("--weights results/runs/davis/lrtl/seed1/weights.safetensors") == 3


def test_an_experiment_is_trained_on_the_tracks_of_its_tracker(checkout):
    for experiment, tracker, radius, name in (
        ("lrtl", "cotracker2", 21, "cotracker2"),
        ("tapir", "tapir", 21, "tapir"),
        ("context_30", "cotracker2", 31, "cotracker2-31"),
    ):
        run = f"results/runs/davis/{experiment}/seed0/config.yaml"
        dry = snakemake(checkout, "-n", "-p", run, config=["preset=paper", "sequences=dog"])
        assert dry.returncode == 0, dry.stderr
        stores = re.findall(r"results/tracks/davis/dog/[\w-]+\.zarr", dry.stdout)
        assert set(stores) == {f"results/tracks/davis/dog/{name}.zarr"}
        tracks = re.findall(r"--tracker (\w+) --size \d+ \d+ --radius (\d+)", dry.stdout)
        assert tracks == [(tracker, str(radius))]


def test_dry_runs_of_videos_with_exact_trajectories(checkout):
    for target in ("movi_mini", "results/movi_table.csv", "results/figures/movi_landscape.png"):
        run = snakemake(checkout, "-n", target, config=["movi_videos=2"])
        assert run.returncode == 0, run.stderr
        assert "movi_video" in jobs(run.stdout)
        assert not {"flow", "train", "table"} & jobs(run.stdout)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (["preset=gpu"], "unknown preset 'gpu'"),
        (["sequences=cat"], "unknown sequence 'cat'"),
        (["preste=cpu"], "'preste' was unexpected"),
    ],
)
def test_wrong_settings_stop_the_run_with_their_name(checkout, config, message):
    run = snakemake(checkout, "-n", "results/davis_table.csv", config=config)
    assert run.returncode != 0
    assert message in run.stdout + run.stderr


def test_an_unknown_experiment_is_named(checkout):
    edit(checkout, "demo: [flow_only, lrtl]", "demo: [ours]")
    run = snakemake(checkout, "-n", "results/demo_table.csv")
    assert run.returncode != 0
    assert "ours" in run.stdout + run.stderr


def test_a_missing_archive_without_network(checkout):
    (checkout / "mirror").mkdir()
    config = ["preset=cpu", "sequences=dog", "mirror=mirror"]
    blocked = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    os.environ.update(blocked)
    try:
        run = snakemake(checkout, "resources/archives/DAVIS-data.zip", "-T0", config=config)
    finally:
        for name in blocked:
            del os.environ[name]
    assert run.returncode != 0
    assert "cannot download DAVIS-data.zip" in run.stdout + run.stderr
    assert "mirror=FOLDER" in run.stdout + run.stderr


def test_a_job_that_failed_asks_for_more_memory(checkout):
    archive = checkout / "resources/archives/DAVIS-data.zip"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"no archive")
    config = ["preset=cpu", "sequences=dog"]
    run = snakemake(checkout, "results/datasets/davis/dog", "--retries=2", config=config)
    assert run.returncode != 0
    asked = re.findall(r"resources: .*?mem_mb=(\d+)", run.stdout + run.stderr)
    assert [int(amount) for amount in asked] == [1500, 3000, 4500]


def test_sequences_of_one_dataset_come_from_two_archives(checkout):
    (checkout / "mirror").mkdir()
    masks = {"cars3": colour(), "cars1": grey("cars1", 1, (1, 10, 19), box(2, 4))}
    for sequence, files in masks.items():
        write_archive(checkout / "mirror" / Path(fbms59.archive_of(sequence)).name, files)
    prepared = [f"results/datasets/fbms59/{sequence}" for sequence in masks]
    run = snakemake(checkout, *prepared, config=["preset=cpu", "mirror=mirror"])
    assert run.returncode == 0, run.stdout + run.stderr
    for folder in prepared:
        assert len(Sequence.open(checkout / folder).annotated) == 3
    archives = sorted(p.name for p in (checkout / "resources/archives").glob("*.zip"))
    assert archives == ["FBMS_Testset.zip", "FBMS_Trainingset.zip"]


def test_demo_from_frames_to_table(demo_run):
    table = pd.read_csv(demo_run / "results/demo_table.csv")
    assert table["experiment"].tolist() == ["flow_only", "lrtl"]
    assert table["J"].between(0, 100).all()
    assert (table["J_oracle"] >= table["J_gt_choice"]).all()
    own = pd.read_csv(demo_run / "results/tables/own.csv")
    assert own["as_paper"].tolist() == ["flow_only.frame", "lrtl.frame"]
    runs, masks = (sorted(os.listdir(demo_run / f"results/{of}/demo")) for of in ("runs", "masks"))
    assert runs == ["flow_only", "lrtl"]  # trained once, merged twice
    assert masks == ["flow_only", "flow_only.frame", "lrtl", "lrtl.frame"]
    assert own["row"].tolist() == ["Flow", "All of it"]
    assert own["J"].tolist() == table["J"].tolist()
    assert (demo_run / "results/tables/own.md").read_text().count("\n") == 4
    assert (demo_run / "results/figures/demo_comparison.png").stat().st_size > 1000
    for name in ("comet.mp4", "box.mp4", "box.png"):
        assert (demo_run / "results/pictures/demo/lrtl/seed0" / name).stat().st_size > 1000
    for name in ("pictures/demo/motion/comet.png", "figures/demo/flow_only/seed0_curves.png"):
        assert (demo_run / "results" / name).stat().st_size > 1000
    landscape = pd.read_csv(demo_run / "results/demo_landscape.csv").set_index("sequence")
    assert landscape.loc["mean", "true"] < landscape.loc["mean", ["halves", "random"]].min()


def test_what_reruns_after_a_change(demo_run, tmp_path):
    changed = shutil.copytree(demo_run, tmp_path / "changed")
    again = snakemake(changed, "-n", "results/demo_table.csv")
    assert "Nothing to be done" in again.stdout + again.stderr
    edit(changed, "smoothness_weight: 0.1 ", "smoothness_weight: 0.2 ")
    loss = jobs(snakemake(changed, "-n", "results/demo_table.csv").stdout)
    assert loss == {"train", "segment", "score", "table"}
    edit(changed, "gaps: [-1, 1], updates", "gaps: [-1, 1, 2], updates")
    gap = jobs(snakemake(changed, "-n", "results/demo_table.csv").stdout)
    assert gap == {"flow", "tracks", "train", "segment", "score", "table"}


def test_killed_runs_end_in_the_same_bytes(checkout, tmp_path_factory):
    """SIGKILL to Snakemake and its jobs at random moments from frames to weights."""
    config, product = ["sequences=comet", "preset=cpu"], "results/runs/demo/lrtl/seed0"
    target = f"{product}/weights.safetensors"
    killed = tmp_path_factory.mktemp("killed") / "checkout"
    shutil.copytree(checkout, killed)
    start = time.monotonic()
    assert snakemake(checkout, target, config=config).returncode == 0
    whole = time.monotonic() - start

    rng = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(
            command_line("--rerun-incomplete", target, config=config),
            cwd=killed,
            env=environment(),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(whole * rng.uniform(0.3, 0.9))
        with suppress(ProcessLookupError):  # it has ended before
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        snakemake(killed, "--unlock", config=config)
    run = snakemake(killed, "--rerun-incomplete", target, config=config)
    assert run.returncode == 0, run.stdout + run.stderr
    for stage in ("results/flow", "results/tracks", product):
        assert digest(killed / stage) == digest(checkout / stage)
