"""Fixtures: real data where there is some, and a small rendered sequence with its motion."""

import os
from pathlib import Path

import pytest
import torch

from lrtl.datasets import demo
from lrtl.datasets.layout import Sequence

torch.set_num_threads(2)


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
