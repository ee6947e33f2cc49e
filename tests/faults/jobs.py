"""A stage in a process of its own, forked from one that has imported lrtl, which takes seconds."""

import multiprocessing
import os
import pkgutil
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import lrtl.__main__
from tests.faults.stages import Stage

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["lrtl.__main__", "torch._dynamo"])
LONGEST = 120  # s


class Job:
    """A stage that runs in a folder.

    Args:
        folder: where the paths of the stage are.
        stage: its command line and the function called once a unit.
        patches: name to what stands in its place in this process.
        more: further flags.
    """

    def __init__(self, folder: Path, stage: Stage, patches: dict | None = None, more=()) -> None:
        self._notes = Path(tempfile.mkdtemp(prefix="job"))
        arguments = [*stage.arguments, *more]
        about = (folder, arguments, stage.unit, self._notes, patches or {})
        self._process = FORKS.Process(target=_be_lrtl, args=about)
        self._process.start()

    def end(self, kill_after: float = LONGEST) -> tuple[int, str, int]:
        """Wait for the end, or kill it after some seconds.

        Returns:
            The exit status, what it printed, and how many units of work it began.
        """
        self._process.join(kill_after)
        self._process.kill()
        self._process.join()
        log, units = self._notes / "log", self.units
        printed = log.read_text() if log.exists() else ""
        shutil.rmtree(self._notes)
        return self._process.exitcode, printed, units

    @property
    def units(self) -> int:
        """How many units of work it began."""
        journal = self._notes / "units"
        return journal.stat().st_size if journal.exists() else 0


def _be_lrtl(folder: Path, arguments: list[str], unit: str, notes: Path, patches: dict) -> None:
    """Run the command line in this process, and note the calls of `unit`."""
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(os.open(notes / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    journal = os.open(notes / "units", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.argv = ["lrtl", *arguments]
    with ExitStack() as stack:
        for name, value in patches.items():
            stack.enter_context(patch(name, value))
        original = pkgutil.resolve_name(unit)

        def noted(*values, **named):
            os.write(journal, b".")
            return original(*values, **named)

        stack.enter_context(patch(unit, noted))
        sys.exit(lrtl.__main__.main())
