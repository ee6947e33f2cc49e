"""Inject faults into every stage: `python -m tests.faults [--injections 100] [FAULT ...]`.

Prints a table, and writes it to results/faults.csv: per stage and fault the injections, how many
were survived (the final bytes are those of the undisturbed run, and what was refused was named with
a remedy), the most units of work done twice (a unit is a chunk of flow or tracks, the steps between
two checkpoints of training, else the product), and the damaged files that were taken for whole.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from lrtl.files import write_csv
from tests.faults import hostile, interruptions, workflow
from tests.faults.downloads import DOWNLOADS, download
from tests.faults.interruptions import Unavailable
from tests.faults.stages import ROOT, STAGES
from tests.faults.undisturbed import Outcome, Undisturbed


class Fault(NamedTuple):
    """What can happen to a stage; a random fault is injected many times, another once."""

    stage: str
    name: str
    inject: Callable[..., Outcome]  # undisturbed, stage, folder, rng
    random: bool = True


def _of(names: str, fault: str, inject: Callable[..., Outcome], often: bool = True) -> list[Fault]:
    return [Fault(name, fault, inject, often) for name in names.split()]


ALL = " ".join(STAGES)
READERS = ALL.removeprefix("fetch ")
FAULTS = [
    *_of(ALL, "SIGKILL", interruptions.killed),
    *_of("train", "SIGKILL while a checkpoint is written", interruptions.killed_while_saving),
    *_of("flow tracks train", "wrong dates after a SIGKILL", interruptions.killed_and_dated),
    *_of(ALL, "full disk", interruptions.out_of_room),
    *_of(ALL, "read-only disk", interruptions.read_only, False),
    *_of("flow tracks", "two processes at once", interruptions.twice_at_once),
    *_of(READERS, "flipped bit in an input", hostile.bit_flipped),
    *_of(READERS, "truncated input", hostile.cut_short),
    *_of("flow train", "NaN", interruptions.not_a_number, False),
    *_of("train", "diverging loss", interruptions.diverging, False),
    *(Fault("fetch", kind, partial(download, kind), False) for kind in DOWNLOADS),
    *(
        Fault("prepare", f"archive with {kind}", partial(hostile.archive, kind), False)
        for kind in hostile.ARCHIVES
    ),
    *(
        Fault("flow", f"weights: {kind}", partial(hostile.weights, kind), False)
        for kind in hostile.WEIGHTS
    ),
    *_of("train", "malicious checkpoint", hostile.checkpoint, False),
    *_of("segment", "malicious trained weights", hostile.run_weights, False),
    *_of("Snakemake", "two runs at once", workflow.two_runs, False),
    *_of("Snakemake", "wrong dates", workflow.dated, False),
]


def inject(fault: Fault, whole: Undisturbed, injections: int) -> dict:
    """A row of the table: what became of a fault, injected as often as it can differ."""
    outcomes, note, injections = [], "", injections if fault.random else 1
    rng = random.Random(f"{fault.stage} {fault.name}")
    while len(outcomes) < injections:
        with tempfile.TemporaryDirectory(prefix="fault") as folder:
            try:
                inside = Path(folder).resolve() / "here"
                inside.mkdir()
                outcome = fault.inject(whole, STAGES.get(fault.stage), inside, rng)
            except Unavailable as error:
                note = str(error)
                break
        if outcome.met or not outcome.survived:
            outcomes.append(outcome)
        if not outcome.survived or outcome.accepted:
            tqdm.write(f"{fault.stage}, {fault.name}: {outcome[:3]}\n{outcome.said[-2000:]}")
    return {
        "stage": fault.stage,
        "fault": fault.name,
        "injections": len(outcomes),
        "survived": sum(outcome.survived for outcome in outcomes),
        "lost": round(max((outcome.lost for outcome in outcomes), default=0.0), 2),
        "accepted": sum(outcome.accepted for outcome in outcomes),
        "note": note,
    }


def main() -> int:
    """Inject faults and write the table, row by row; 1 if one was not survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("faults", nargs="*", help="parts of their stages and names; all if none")
    parser.add_argument("--injections", type=int, default=3, help="of every random fault")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "faults.csv")
    a = parser.parse_args()
    wanted = a.faults or [""]
    chosen = [f for f in FAULTS if any(part in f"{f.stage} {f.name}" for part in wanted)]
    if not chosen:
        parser.error(f"no fault is called {' or '.join(wanted)}; see FAULTS")
    rows = []
    with tempfile.TemporaryDirectory(prefix="undisturbed") as folder:
        whole = Undisturbed(Path(folder))
        for fault in tqdm(chosen, "faults"):
            rows.append(inject(fault, whole, a.injections))
            table = pd.DataFrame(rows)
            write_csv(table, a.out)
    print(table.to_string(index=False))
    return int((table["survived"] < table["injections"]).any() or table["accepted"].any())


if __name__ == "__main__":
    sys.exit(main())
