"""What all stages make when nothing happens, and what a fault may change of it: nothing."""

import re
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lrtl.datasets import davis
from tests.datasets.images import encoded, write_archive
from tests.faults.jobs import Job
from tests.faults.stages import ARCHIVE, FRAMES, SIZE, STAGES, Stage

REMEDY = re.compile(r"again|make room|delete|writable|use |--config|lower|correct|another")


class Outcome(NamedTuple):
    """What became of a fault."""

    survived: bool  # the bytes are those of the undisturbed run, refusals name file and remedy
    lost: float = 0.0  # units of work done twice
    accepted: int = 0  # damaged files under final names, or used
    said: str = ""  # what was printed, for who reads why it did not survive
    met: bool = True  # whether a job was still running when it came


class Undisturbed:
    """The products of all stages, how long each took and how many units of work it had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _write_archive(folder / "mirror")
        self.seconds, self.units, self.contents = {}, {}, {}
        Job(folder, STAGES["fetch"]).end()  # the first process takes seconds to start
        for name, stage in STAGES.items():
            start = time.monotonic()
            status, printed, self.units[name] = Job(folder, stage).end()
            assert status == 0, printed
            self.seconds[name] = time.monotonic() - start
            self.contents[name] = contents(folder, stage.products)

    def give_inputs(self, stage: Stage, folder: Path) -> None:
        """Copy what a stage needs into a folder."""
        for name in stage.inputs:
            for path in self.folder.glob(f"{name}*"):  # with its records
                target = folder / path.relative_to(self.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    shutil.copytree(path, target, dirs_exist_ok=True)
                else:
                    shutil.copy(path, target)

    def after(self, stage: Stage, folder: Path, begun: int = 0, said: str = "") -> Outcome:
        """Run a stage again after a fault, unless all it makes is there, and compare.

        Args:
            stage, folder: what runs where.
            begun: units of work begun before; 0 where they are not counted.
            said: what the fault made it say.
        """
        expected, found = self.contents[stage.name], contents(folder, stage.products)
        accepted = sum(expected.get(name) != content for name, content in found.items())
        lost = 0.0
        if found != expected:
            status, printed, again = Job(folder, stage).end()
            said += printed
            done = begun + again - self.units[stage.name]
            lost = max(done, 0) / stage.calls if begun else 0.0
            found = contents(folder, stage.products) if status == 0 else {}
        survived = found == expected and not accepted and lost <= 1
        return Outcome(survived, lost, accepted, said)

    def after_refusal(
        self, stage: Stage, folder: Path, ended: tuple[int, str, int], names: tuple[str, ...]
    ) -> Outcome:
        """Run a stage again that should have refused, naming one of the files, and compare."""
        status, printed, begun = ended
        outcome = self.after(stage, folder, begun, printed)
        return outcome._replace(survived=refused(status, printed, names) and outcome.survived)


def contents(folder: Path, products: tuple[str, ...]) -> dict[str, bytes]:
    """File name to content of the products that are there under their final names."""
    found = {}
    for product in products:
        path = folder / product
        files = path.rglob("*") if path.is_dir() else [path]
        final = (f for f in files if f.is_file() and not f.match(".*.partial*"))  # see whole_file
        found |= {str(f.relative_to(folder)): f.read_bytes() for f in final}
    return found


def refused(status: int, printed: str, names: tuple[str, ...]) -> bool:
    """Whether a job ended with one line that names one of the files, and a remedy."""
    line = printed.strip().splitlines()[-1] if printed.strip() else ""
    named = any(name in line for name in names)
    return status == 1 and line.startswith("lrtl ") and named and bool(REMEDY.search(line))


def _write_archive(mirror: Path) -> None:
    """The archive of one sequence: a texture that moves, and a box for ground truth."""
    texture = np.random.default_rng(0).integers(0, 255, (60, 120, 3), np.uint8)
    truth = np.zeros((*SIZE, 3), np.uint8)
    truth[10:30, 20:50] = 255
    files = {}
    for t in range(FRAMES):
        frame = texture[6:54, 3 * t : 3 * t + 80]
        files[f"{davis.FRAMES}/dog/{t:05d}.jpg"] = encoded(frame, "JPEG")
        files[f"{davis.MASKS}/dog/{t:05d}.png"] = encoded(truth, "PNG")
    mirror.mkdir(parents=True)
    write_archive(mirror / ARCHIVE, files)
