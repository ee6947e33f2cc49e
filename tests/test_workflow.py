"""The workflow as its users run it: dry runs, errors, reruns and kills on the demo."""

import hashlib
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lrtl.datasets import fbms59
from lrtl.datasets.layout import Sequence
from tests.datasets.images import box, write_archive
from tests.datasets.test_fbms59 import colour, grey

ROOT = Path(__file__).parents[1]
TINY = ["sequences=comet,box", "preset=cpu"]


def environment() -> dict[str, str]:
    """With the path to the `lrtl` beside this Python."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def command_line(*arguments: str, config=TINY) -> list[str]:
    """Snakemake on some targets, with some flags."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", *config, "--"]
    command[3:3] = [a for a in arguments if a.startswith("-")]
    return command + [a for a in arguments if not a.startswith("-")]


def snakemake(folder: Path, *arguments: str, config=TINY, **options) -> subprocess.CompletedProcess:
    """Run the workflow of a checkout in `folder`."""
    command = command_line(*arguments, config=config)
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment(), **options
    )


@pytest.fixture
def checkout(tmp_path) -> Path:
    check_out(tmp_path)
    return tmp_path


def check_out(folder: Path) -> None:
    """Copy the workflow's files, with a training of few steps."""
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder)
    for name in ("workflow", "envs", "slurm"):
        shutil.copytree(ROOT / name, folder / name)
    text = (folder / "config.yaml").read_text()
    text = text.replace("steps: 1000\n", "steps: 30\n      checkpoint_every: 5\n", 1)
    (folder / "config.yaml").write_text(text)


def edit(checkout: Path, old: str, new: str) -> None:
    text = (checkout / "config.yaml").read_text()
    assert old in text
    (checkout / "config.yaml").write_text(text.replace(old, new, 1))


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
    edit(checkout, "davis: [flow_only, tracks_only, lrtl]", "davis: [unet, maskformer_swin]")
    run = snakemake(checkout, "-n", "-p", "results/davis_table.csv", config=["sequences=dog"])
    assert run.returncode == 0, run.stderr
    name = "swin_tiny_patch4_window7_224.pth"
    assert run.stdout.count(f"--name {name}") == 1
    assert run.stdout.count(f"--backbone-weights resources/weights/{name}") == 2 * 3  # seeds
    assert run.stdout.count("--learning-rate 6e-05 --weight-decay 0.01") == 3


def test_every_table_of_a_paper_resolves_in_seconds(checkout):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    run = snakemake(checkout, "-n", "tables", config=["preset=paper"])
    assert run.returncode == 0, run.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 15
    assert {"tracks", "train", "segment", "score", "paper_table"} <= jobs(run.stdout)
    names = yaml.safe_load((checkout / "config.yaml").read_text())["paper_tables"]
    assert set(names) == {f"lrtl_table{number}" for number in range(2, 11)}
    for name in names:
        assert f"results/tables/{name}.csv" in run.stdout


def test_an_experiment_is_trained_on_the_tracks_of_its_tracker(checkout):
    for experiment, tracker, radius, name in (
        ("lrtl", "cotracker2", 20, "cotracker2"),
        ("tapir", "tapir", 20, "tapir"),
        ("context_30", "cotracker2", 30, "cotracker2-30"),
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


def test_demo_from_frames_to_table_and_what_reruns(checkout):
    own = "paper_tables:\n  own: {datasets: [demo], rows: {Flow: flow_only, All of it: lrtl}}\n"
    edit(checkout, "paper_tables:\n", own)
    run = snakemake(checkout, "results/demo_table.csv", "demo", "results/tables/own.csv")
    assert run.returncode == 0, run.stdout + run.stderr
    table = pd.read_csv(checkout / "results/demo_table.csv")
    assert table["experiment"].tolist() == ["flow_only", "lrtl"]
    assert table["J"].between(0, 100).all()
    assert (table["J_oracle"] >= table["J_gt_choice"]).all()
    own = pd.read_csv(checkout / "results/tables/own.csv")
    assert own["row"].tolist() == ["Flow", "All of it"]
    assert own["J"].tolist() == table["J"].tolist()
    assert (checkout / "results/tables/own.md").read_text().count("\n") == 4
    assert (checkout / "results/figures/demo_comparison.png").stat().st_size > 1000
    for name in ("comet.mp4", "box.mp4", "box.png"):
        assert (checkout / "results/pictures/demo/lrtl/seed0" / name).stat().st_size > 1000
    landscape = pd.read_csv(checkout / "results/demo_landscape.csv").set_index("sequence")
    assert landscape.loc["mean", "true"] < landscape.loc["mean", ["halves", "random"]].min()

    again = snakemake(checkout, "-n", "results/demo_table.csv")
    assert "Nothing to be done" in again.stdout + again.stderr
    edit(checkout, "smoothness_weight: 0.1 ", "smoothness_weight: 0.2 ")
    loss = jobs(snakemake(checkout, "-n", "results/demo_table.csv").stdout)
    assert loss == {"train", "segment", "score", "table"}
    edit(checkout, "gaps: [-1, 1], updates", "gaps: [-1, 1, 2], updates")
    gap = jobs(snakemake(checkout, "-n", "results/demo_table.csv").stdout)
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
        time.sleep(whole * rng.uniform(0.3, 0.9))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        snakemake(killed, "--unlock", config=config)
    run = snakemake(killed, "--rerun-incomplete", target, config=config)
    assert run.returncode == 0, run.stdout + run.stderr
    for stage in ("results/flow", "results/tracks", product):
        assert digest(killed / stage) == digest(checkout / stage)
