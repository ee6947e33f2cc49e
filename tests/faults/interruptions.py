"""Stages that are killed, run out of room or meet themselves; then they run again."""

import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import lrtl.train
from lrtl.motion.flow import DisFlow
from tests.faults.jobs import Job
from tests.faults.stages import Stage
from tests.faults.undisturbed import Outcome, Undisturbed, refused

YEAR = 365 * 24 * 3600  # s
PAGE = 4096  # bytes


class Unavailable(Exception):
    """A fault cannot be injected here; the reason."""


def killed(whole: Undisturbed, stage: Stage, folder: Path, rng: random.Random) -> Outcome:
    """SIGKILL at a random moment."""
    whole.give_inputs(stage, folder)
    status, _, begun = Job(folder, stage).end(rng.uniform(0, whole.seconds[stage.name]))
    return whole.after(stage, folder, begun)._replace(met=status == -signal.SIGKILL)


def killed_while_saving(
    whole: Undisturbed, stage: Stage, folder: Path, rng: random.Random
) -> Outcome:
    """SIGKILL during the write of one of the checkpoints."""
    whole.give_inputs(stage, folder)
    job, checkpoint = Job(folder, replace(stage, unit="torch.save")), rng.randint(1, 3)
    while job.units < checkpoint:
        time.sleep(0.0002)
    job.end(rng.uniform(0, 0.01))
    return whole.after(stage, folder, begun=checkpoint * stage.calls)


def killed_and_dated(whole: Undisturbed, stage: Stage, folder: Path, rng: random.Random) -> Outcome:
    """Inputs and all that a killed job left are dated up to a year ago or ahead."""
    whole.give_inputs(stage, folder)
    status, _, begun = Job(folder, stage).end(rng.uniform(0, whole.seconds[stage.name]))
    misdate(folder, rng)
    return whole.after(stage, folder, begun)._replace(met=status == -signal.SIGKILL)


def misdate(folder: Path, rng: random.Random) -> None:
    """Date all files of a folder up to a year ago or ahead."""
    for path in folder.rglob("*"):
        date = time.time() + rng.uniform(-YEAR, YEAR)
        os.utime(path, (date, date))


def twice_at_once(whole: Undisturbed, stage: Stage, folder: Path, rng: random.Random) -> Outcome:
    """Two processes make the same products; either both do or one refuses."""
    whole.give_inputs(stage, folder)
    first = Job(folder, stage)
    time.sleep(rng.uniform(0, whole.seconds[stage.name]))
    second = Job(folder, stage)
    ends = [first.end(), second.end()]
    said = "".join(printed for _, printed, _ in ends)
    fair = all(
        status == 0 or refused(status, printed, stage.products) for status, printed, _ in ends
    )
    outcome = whole.after(stage, folder, said=said)
    return outcome._replace(survived=fair and outcome.survived)


def out_of_room(whole: Undisturbed, stage: Stage, folder: Path, rng: random.Random) -> Outcome:
    """A disk with less room than the products take; then there is more."""
    with small_disk(folder) as mount:
        whole.give_inputs(stage, folder)
        pages = sum(-(-len(data) // PAGE) for data in whole.contents[stage.name].values())
        filesystem = os.statvfs(folder)
        used = filesystem.f_blocks - filesystem.f_bfree
        mount(f"size={(used + rng.randrange(pages)) * PAGE}")
        ended = Job(folder, stage).end()
        mount("size=64m")
        return whole.after_refusal(stage, folder, ended, stage.products)


def read_only(whole: Undisturbed, stage: Stage, folder: Path, rng: random.Random) -> Outcome:
    """A disk that takes no writes; then it does."""
    with small_disk(folder) as mount:
        whole.give_inputs(stage, folder)
        mount("ro")
        ended = Job(folder, stage).end()
        mount("rw")
        return whole.after_refusal(stage, folder, ended, stage.products)


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """Mount a file system in memory on a folder; gives a function that changes its options."""

    def mount(options: str) -> int:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True).returncode

    if os.getuid() or mount("size=64m"):
        raise Unavailable("a file system cannot be mounted here; it takes root")
    try:
        yield lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def not_a_number(whole: Undisturbed, stage: Stage, folder: Path, rng: random.Random) -> Outcome:
    """A flow, or a loss, that is NaN on its way; the next time it is not."""
    whole.give_inputs(stage, folder)
    ended = Job(folder, stage, NOT_A_NUMBER[stage.name]).end()
    return whole.after_refusal(stage, folder, ended, stage.products)


def diverging(whole: Undisturbed, stage: Stage, folder: Path, rng: random.Random) -> Outcome:
    """A learning rate at which the loss diverges; then the right one."""
    whole.give_inputs(stage, folder)
    status, printed, _ = Job(folder, stage, more=("--learning-rate", "1e30")).end()
    return whole.after_refusal(stage, folder, (status, printed, 0), stage.products)


_calls = itertools.count()
_flow, _loss_terms = DisFlow.flow, lrtl.train.loss_terms


def _flow_with_nan(self, first, second):
    flow = _flow(self, first, second)
    return flow * float("nan") if next(_calls) == 9 else flow


def _loss_with_nan(*arguments):
    terms = _loss_terms(*arguments)
    return terms | {"loss": terms["loss"] * float("nan")} if next(_calls) == 12 else terms


NOT_A_NUMBER = {
    "flow": {"lrtl.motion.flow.DisFlow.flow": _flow_with_nan},
    "train": {"lrtl.train.loss_terms": _loss_with_nan},
}
