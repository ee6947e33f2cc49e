"""Snakemake where two runs meet in one folder, or dates are wrong."""

import random
import signal
import subprocess
import time
from pathlib import Path

from lrtl.datasets import demo
from tests.conftest import command_line, environment, lay_out, snakemake
from tests.faults.interruptions import misdate
from tests.faults.undisturbed import Outcome, contents

PRODUCT = "results/datasets/demo/box"


def two_runs(whole, stage, folder: Path, rng: random.Random) -> Outcome:
    """A second run starts while the first one waits: it is refused, with the remedy."""
    lay_out(folder)
    first = subprocess.Popen(
        command_line(PRODUCT),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while first.poll() is None and not any((folder / ".snakemake/locks").glob("*")):
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # or it ends before the second one looks
    second = snakemake(folder, PRODUCT)
    first.send_signal(signal.SIGCONT)
    said = second.stdout + second.stderr
    fair = second.returncode != 0 and "cannot be locked" in said and "--unlock" in said
    return _whole(folder, first.wait() == 0 and fair, said)


def dated(whole, stage, folder: Path, rng: random.Random) -> Outcome:
    """All files, made and given, are dated up to a year ago or ahead; then it runs again."""
    lay_out(folder)
    snakemake(folder, PRODUCT)
    misdate(folder, rng)
    again = snakemake(folder, PRODUCT)
    return _whole(folder, again.returncode == 0, again.stdout + again.stderr)


def _whole(folder: Path, fair: bool, said: str) -> Outcome:
    """The outcome, with the product compared to one that is made without Snakemake."""
    demo.prepare("box", None, folder / "alone" / "box")
    expected = contents(folder / "alone", ("box",))
    found = contents(folder / PRODUCT / "..", ("box",))
    found.pop("box/.snakemake_timestamp", None)
    return Outcome(fair and found == expected, 0, int(found != expected), said)
