"""The table of methods: their code, their weights and their environments are there."""

from pathlib import Path
from pkgutil import resolve_name

import pytest

from lrtl.datasets.fetch import WEIGHTS
from lrtl.methods import ESTIMATORS, NETWORKS, TRACKERS
from lrtl.models.maskformer import BACKBONES
from lrtl.motion.cotracker import VARIANTS
from lrtl.motion.tapir import TAPIR_VARIANTS

ROOT = Path(__file__).parents[1]
METHODS = ESTIMATORS | TRACKERS | NETWORKS


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_names_is_there(name):
    method = METHODS[name]
    assert callable(resolve_name(method.code))
    assert method.weights is None or method.weights in WEIGHTS
    assert (ROOT / "envs" / f"{method.environment}.yaml").is_file()


def test_no_two_methods_share_a_name():
    assert len(METHODS) == len(ESTIMATORS) + len(TRACKERS) + len(NETWORKS)


def test_variants_of_one_code_are_methods():
    assert set(VARIANTS) | set(TAPIR_VARIANTS) < set(TRACKERS)
    assert set(BACKBONES) < set(NETWORKS)
