"""The README's commands: flags that the command line takes, targets that the workflow can plan."""

import re
import shlex
import subprocess
import sys

import pytest

from lrtl.__main__ import parser
from tests.conftest import ROOT

BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())
COMMANDS = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("lrtl ")])
def test_lrtl_takes_these_flags(command):
    parser().parse_args(shlex.split(command)[1:])


# A report needs a run; tests/test_report.py makes one.
PLANS = [c for c in COMMANDS if c.startswith("snakemake ") and "--report" not in c]


@pytest.mark.parametrize("command", PLANS)
def test_snakemake_plans_these_targets(checkout, command):
    words = command.replace("--sdm conda", "--sdm env-modules").split()  # conda may not be here
    dry = [sys.executable, "-m", *words, "--dry-run", "--quiet"]
    run = subprocess.run(dry, cwd=checkout, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
