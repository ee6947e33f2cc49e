"""Fixtures: real data where there is some, a rendered sequence, and the workflow with a run."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lrtl.config import FlowConfig, MergeConfig, TracksConfig
from lrtl.datasets import demo
from lrtl.datasets.layout import Sequence
from lrtl.datasets.render import SIZE
from lrtl.models import dino
from lrtl.motion.flow import estimate_flow
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.tracks import track_sequence
from lrtl.samples import Motion
from tests.models.published import PUBLISHED
from tests.small import NETWORK

ROOT = Path(__file__).parents[1]
TINY = ["sequences=comet,box", "preset=cpu"]

# Two processes of tests, and what they start, share two cores.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# Files that take longest come first, so that two processes end together.
LONGEST = ("test_slurm.py", "test_workflow.py", "test_own.py", "test_extending.py")


def pytest_collection_modifyitems(items) -> None:
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


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


def lay_out(folder: Path) -> Path:
    """Copy the workflow's files to a folder, with a training of few steps."""
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder)
    for name in ("workflow", "envs", "slurm"):
        shutil.copytree(ROOT / name, folder / name)
    edit(folder, "steps: 1000\n", "steps: 30\n      checkpoint_every: 5\n")
    return folder


def edit(checkout: Path, old: str, new: str) -> None:
    """Change the settings of a checkout."""
    text = (checkout / "config.yaml").read_text()
    assert old in text
    (checkout / "config.yaml").write_text(text.replace(old, new, 1))


@pytest.fixture
def checkout(tmp_path) -> Path:
    """The workflow's files, with a training of few steps."""
    return lay_out(tmp_path)


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory) -> Path:
    """A checkout with the products of the demo, and a table of a paper; not to be changed."""
    folder = lay_out(tmp_path_factory.mktemp("demo"))
    own = "paper_tables:\n  own: {datasets: [demo], rows: {Flow: flow_only, All of it: lrtl}}\n"
    edit(folder, "paper_tables:\n", own)
    edit(folder, "paper_merge: published", "paper_merge: frame")
    run = snakemake(folder, "results/demo_table.csv", "demo", "results/tables/own.csv")
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of real archives and weights that LRTL_MIRROR names."""
    folder = os.environ.get("LRTL_MIRROR")
    if not folder:
        pytest.skip("LRTL_MIRROR names no folder with DAVIS-data.zip and raft-small.pth")
    return Path(folder)


@pytest.fixture(scope="session")
def comet(tmp_path_factory) -> Sequence:
    """The rendered sequence `comet`, prepared."""
    folder = tmp_path_factory.mktemp("datasets") / "comet"
    demo.prepare("comet", None, folder)
    return Sequence.open(folder)


@pytest.fixture(scope="session")
def exact_flow(tmp_path_factory) -> Path:
    """A store of the exact flow of `comet`, of gaps 1 and -1."""
    scene = demo.scene("comet")
    about = {"gaps": [-1, 1], "estimator": "exact", "weights_sha256": None, "updates": 1}
    path = tmp_path_factory.mktemp("flow") / "exact.zarr"
    store = FlowStore.build(path, scene.length, SIZE, about)
    for t in range(scene.length):
        for index, gap in enumerate((-1, 1)):
            if 0 <= t + gap < scene.length:
                store.write(index, t, scene.flow(t, gap))
    store.finish()
    return path


@pytest.fixture(scope="session")
def motions(comet, tmp_path_factory) -> list[Motion]:
    """`comet` with its flow and tracks, as trainings of `tests.small` read it."""
    folder = tmp_path_factory.mktemp("motion")
    estimate_flow(comet, FlowConfig("dis", (90, 160), (-1, 1), 1, "float32"), folder / "flow.zarr")
    flow = FlowStore.open(folder / "flow.zarr")
    track_sequence(folder / "flow.zarr", tracks_config(radius=6, stride=8), folder / "tracks.zarr")
    tracks = TrackStore.open(folder / "tracks.zarr")
    return [Motion.load(comet, flow, tracks, NETWORK.input_size)]


@pytest.fixture
def tiny_dino(tmp_path, monkeypatch) -> Path:
    """A checkpoint of random weights; `dino_vits8` has its size, three blocks of 16 channels."""
    published = dino.ARCHITECTURES["dino_vits8"]
    tiny = published._replace(channels=16, heads=2, depth=3)
    monkeypatch.setitem(dino.ARCHITECTURES, "dino_vits8", tiny)
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: 0.3 * torch.randn(value.shape, generator=generator) + name.endswith("norm1.weight")
        for name, value in dino.DinoKeys("dino_vits8").state_dict().items()
    }
    torch.save(weights, tmp_path / tiny.weights)
    return tmp_path / tiny.weights


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> dict[str, Path]:
    """Random weights under the names of Swin-Tiny's and ResNet-50's published files."""
    folder = tmp_path_factory.mktemp("weights")
    generator, paths = torch.Generator().manual_seed(0), {}
    for network, (name, shapes) in PUBLISHED.items():
        state = {}
        for key, shape in shapes.items():
            noise = torch.randn(shape, generator=generator)
            near_one = len(shape) == 1 and key.endswith(("weight", "running_var"))
            fan_in = math.prod(shape[1:])
            state[key] = 1 + 0.1 * noise.abs() if near_one else noise / max(fan_in, 10) ** 0.5
        paths[network] = folder / name
        torch.save(state, paths[network])
    return paths


@pytest.fixture
def tiny_backbones(published, tmp_path, monkeypatch) -> dict[str, Path]:
    """The file of weights of every network that has one; DINO's ViT-B/8 has 16 channels."""
    tiny = dino.ARCHITECTURES["dino_vitb8"]._replace(channels=16, heads=2)
    monkeypatch.setitem(dino.ARCHITECTURES, "dino_vitb8", tiny)
    torch.save(dino.DinoKeys("dino_vitb8").state_dict(), tmp_path / tiny.weights)
    return published | {"maskformer_dino": tmp_path / tiny.weights}


def tracks_config(radius: int, stride: int, **changes) -> TracksConfig:
    """Settings of tracks, by chained flow unless changed."""
    settings = {
        "tracker": "chained_flow",
        "size": SIZE,
        "boundary": "paper",
        "queries": "every_frame",
        "coverage": 0.95,
        "auxiliary": "none",
        "points_per_call": 1000,
        "precision": "float32",
    }
    return TracksConfig(radius=radius, stride=stride, **settings | changes)


def merge_config(**changes) -> MergeConfig:
    """Settings of merging, the defaults unless changed."""
    settings = {
        "affinity": "motion",
        "affinity_floor": 1e-12,
        "grouping": "correlation_clustering",
        "decision": "video",
        "still": 0.0,
    }
    return MergeConfig(**settings | changes)


def assert_same_bytes(whole, cut):
    """Two folders hold the same files."""
    names = [{p.relative_to(f) for p in f.rglob("*") if p.is_file()} for f in (whole, cut)]
    assert names[0] == names[1]
    for name in names[0]:
        assert (whole / name).read_bytes() == (cut / name).read_bytes(), name
