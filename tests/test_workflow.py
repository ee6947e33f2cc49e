"""The workflow as its users run it: dry runs, errors, reruns and kills on the demo."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
TINY = ["sequences=comet,box", "preset=cpu"]
STAGES = {
    "flow": "results/flow/demo/comet/dis.zarr",
    "tracks": "results/tracks/demo/comet/chained_flow.zarr",
    "train": "results/runs/demo/lrtl/seed0/weights.safetensors",
}


def snakemake(folder: Path, *arguments: str, config=TINY, **options) -> subprocess.CompletedProcess:
    """Run the workflow of a checkout in `folder`."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", *config, "--"]
    command[3:3] = [a for a in arguments if a.startswith("-")]
    command += [a for a in arguments if not a.startswith("-")]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, **options
    )


@pytest.fixture
def checkout(tmp_path) -> Path:
    """The workflow's files, with a training of few steps."""
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("workflow", "envs", "slurm"):
        shutil.copytree(ROOT / name, tmp_path / name)
    text = (tmp_path / "config.yaml").read_text()
    text = text.replace("steps: 1000\n", "steps: 30\n      checkpoint_every: 5\n", 1)
    (tmp_path / "config.yaml").write_text(text)
    return tmp_path


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
        ("demo", []),
    ):
        run = snakemake(checkout, "-n", target, config=config or ["preset=paper"])
        assert run.returncode == 0, run.stderr
        assert {"flow", "tracks", "train", "segment", "score", "table"} <= jobs(run.stdout)


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


def test_demo_from_frames_to_table_and_what_reruns(checkout):
    run = snakemake(checkout, "results/demo_table.csv", "demo")
    assert run.returncode == 0, run.stdout + run.stderr
    table = pd.read_csv(checkout / "results/demo_table.csv")
    assert table["experiment"].tolist() == ["flow_only", "lrtl"]
    assert table["J"].between(0, 100).all()
    assert (table["J_oracle"] >= table["J_gt_choice"]).all()
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


@pytest.mark.parametrize("stage", STAGES)
def test_killed_jobs_end_in_the_same_bytes(checkout, stage, tmp_path_factory):
    """SIGKILL to the whole run at random moments; then a rerun to the end."""
    product = STAGES[stage]
    targets = list(STAGES.values())[: list(STAGES).index(stage) + 1]
    config = ["sequences=comet", "preset=cpu"]
    for target in targets[:-1]:
        assert snakemake(checkout, target, config=config).returncode == 0
    killed = tmp_path_factory.mktemp("killed") / "checkout"
    shutil.copytree(checkout, killed)
    start = time.monotonic()
    assert snakemake(checkout, product, config=config).returncode == 0
    whole = time.monotonic() - start

    rng = random.Random(0)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--rerun-incomplete"]
    command += ["--config", *config, "--", product]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for _ in range(2):
        process = subprocess.Popen(
            command,
            cwd=killed,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(whole * rng.uniform(0.4, 0.9))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        snakemake(killed, "--unlock", config=config)
    run = snakemake(killed, "--rerun-incomplete", product, config=config)
    assert run.returncode == 0, run.stdout + run.stderr
    assert digest(killed / product) == digest(checkout / product)
