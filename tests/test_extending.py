"""docs/extending.md, followed: its files created, its lines changed, its commands run.

The last name above a block is its file's.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from lrtl.datasets.layout import Sequence
from lrtl.motion.store import TrackStore
from tests.conftest import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
SMALLER = {  # not in the text: fewer steps, frames and pixels
    "config.yaml": [("steps: 1000\n", "steps: 20\n"), ("size: [270, 480]", "size: [90, 160]")],
    "lrtl/datasets/demo.py": [("LENGTH = 48 ", "LENGTH = 12 ")],
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the checkout with smaller sizes."""
    folder = tmp_path_factory.mktemp("extending")
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder)
    for name in ("lrtl", "workflow", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, edits in SMALLER.items():
        for old, new in edits:
            change(folder / name, old, new, times=None)
    return folder


def change(path: Path, old: str, new: str, times: int | None = 1) -> None:
    """Replace lines that have to be there, once unless `times` is None."""
    text = path.read_text()
    assert old in text if times is None else text.count(old) == times, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new))


def follow(checkout: Path, title: str) -> int:
    """Do what a section of the text says; the number of lines changed in existing files."""
    text = (ROOT / "docs/extending.md").read_text()
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    added = 0
    for block in BLOCK.finditer(section):
        kind, body = block.groups()
        names = re.findall(r"`([^`]+)`", BLOCK.sub("", section[: block.start()]))
        if kind == "python":
            assert not (checkout / names[-1]).exists()
            (checkout / names[-1]).write_text(body)
        elif kind == "diff":
            lines = body.splitlines(keepends=True)
            sides = ["".join(line[1:] for line in lines if line[0] in (" ", s)) for s in "-+"]
            change(checkout / names[-1], *sides)
            added += sum(line.startswith("+") for line in lines)
        else:
            run(checkout, body)
    return added


def run(checkout: Path, command: str) -> None:
    """Run a command of the text with the code of the copy."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        ["bash", "-euc", command], cwd=checkout, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_data_set(checkout):
    assert follow(checkout, "A data set") == 4
    sequence = Sequence.open(checkout / "results/datasets/balls/left")
    assert (len(sequence.frames), len(sequence.annotated)) == (12, 12)
    table = pd.read_csv(checkout / "results/balls_table.csv")
    assert list(table["experiment"]) == ["lrtl"]
    assert table["sequences"][0] == 2
    assert table["frames"][0] == 24


def test_a_network(checkout):
    assert follow(checkout, "A network") == 2
    settings = yaml.safe_load(
        (checkout / "results/runs/demo/dilated/seed0/config.yaml").read_text()
    )
    assert settings["network"]["network"] == "dilated"
    assert len(pd.read_csv(checkout / "results/scores/demo/dilated/seed0.csv")) == 12


def test_a_tracker(checkout):
    assert follow(checkout, "A tracker") == 1
    store = TrackStore.open(checkout / "results/tracks/demo/comet/lucas_kanade.zarr")
    assert store.attributes["tracker"] == "lucas_kanade"
    positions, visibility, _, index = store.read(6)
    moved = np.abs(positions[index + 1] - positions[index]).max(0)  # (N,)
    assert visibility[index + 1].mean() > 0.5
    assert 0 < np.median(moved[visibility[index + 1]]) < 5
