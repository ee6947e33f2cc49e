"""What targets will take, before anything runs: time, disk and memory of each rule.

Snakemake says in a dry run which jobs there are and with which commands; the commands' flags say
how much each job has to do. `costs.csv` has the cost of a unit of work and where it was measured.
Earlier jobs of the same rule and data set count more: their mean time replaces the estimate.
"""

import json
import math
import re
import shlex
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lrtl.datasets import clips
from lrtl.datasets.clips import Shot

# Frames of a sequence that is not prepared yet: a data set's mean, DAVIS's of others.
FRAMES = {"davis": 69, "segtrackv2": 70, "fbms59": 235}
COLUMNS = ["rule", "device", "jobs", "hours", "disk_gb", "memory_gb", "known_from"]


class Job(NamedTuple):
    """A job of a dry run."""

    rule: str
    wildcards: dict[str, str]
    benchmark: str | None
    resources: dict[str, str]
    flags: Namespace | None  # of its command, None for a rule without one


def plan(arguments: list[str], parser: ArgumentParser, folder: Path = Path()) -> pd.DataFrame:
    """Price the jobs that Snakemake would run, a row per rule, device and source.

    Columns: `jobs`; `hours`, the sum of the jobs' times, on their own GPU or core; `disk_gb` that
    their products take; `memory_gb`, the largest of earlier jobs, else what the rule asks for;
    `known_from`, what the hours are known from: `measured here` or a source in `costs.csv`. Hours
    and disk space are empty where nothing is known.

    Args:
        arguments: of Snakemake: files or rules, then for instance `--config preset=cpu`.
        parser: of the command line of `lrtl`, which the jobs' commands are read with.
        folder: where Snakemake works.

    Raises:
        ValueError: there is no Snakefile, or Snakemake does not take the arguments.
    """
    if "--snakefile" not in arguments and not Path("Snakefile").exists():
        raise ValueError("there is no Snakefile here; run it in a checkout of the project")
    jobs = dry_run(arguments, parser)
    costs = pd.read_csv(str(files("lrtl") / "costs.csv")).set_index(["verb", "method", "device"])
    split = {job.rule.removesuffix("_part") for job in jobs if job.rule.endswith("_part")}
    rows = [price(job, costs, folder) for job in jobs if job.flags and job.rule not in split]
    table = pd.DataFrame(rows, columns=COLUMNS)
    groups = table.groupby(["rule", "device", "known_from"], sort=False)
    sums = groups[["jobs", "hours", "disk_gb"]].sum(min_count=1)
    return sums.assign(memory_gb=groups["memory_gb"].max()).reset_index()[COLUMNS]


def as_text(table: pd.DataFrame) -> str:
    """A plan to print, with the sums; a question mark where nothing is known."""
    if table.empty:
        return "nothing to be done"
    text = table.to_string(index=False, float_format="%.2f", na_rep="?")
    sums = table.groupby("device")["hours"].sum()
    total = [
        f"{60 * hours:.0f} {device} minutes" if hours < 2 else f"{hours:.1f} {device} hours"
        for device, hours in sums.items()
    ]
    total.append(f"{table['disk_gb'].sum():.1f} GB on disk")
    unknown = table.loc[table["hours"].isna(), "rule"].unique()
    without = f", without {', '.join(unknown)}" if len(unknown) else ""
    return f"{text}\ntogether {', '.join(total)}{without}"


def dry_run(arguments: list[str], parser: ArgumentParser) -> list[Job]:
    """The jobs that Snakemake would run."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--printshellcmds", "--nocolor"]
    run = subprocess.run([*command, *arguments], capture_output=True, text=True)
    if run.returncode:
        text = "\n".join([*run.stdout.splitlines(), *run.stderr.splitlines()][-5:])
        raise ValueError(f"snakemake cannot plan {' '.join(arguments)}:\n{text}")
    blocks = re.split(r"^(?:local)?rule (\w+):\n", run.stdout, flags=re.MULTILINE)[1:]
    return [_job(*block, parser) for block in zip(blocks[::2], blocks[1::2], strict=True)]


def _job(rule: str, block: str, parser: ArgumentParser) -> Job:
    lines = dict(re.findall(r"^    (\w+): (.*)$", block, re.MULTILINE))
    command = re.search(r"^ +lrtl (.*?)2>&1", block, re.MULTILINE | re.DOTALL)
    flags = parser.parse_args(shlex.split(command[1].replace("\\\n", ""))) if command else None
    wildcards, resources = (_pairs(lines.get(name, "")) for name in ("wildcards", "resources"))
    return Job(rule, wildcards, lines.get("benchmark"), resources, flags)


def _pairs(text: str) -> dict[str, str]:
    """Read `name=value, name=value`."""
    return dict(part.split("=", 1) for part in text.split(", ") if part)


def price(job: Job, costs: pd.DataFrame, folder: Path = Path()) -> dict:
    """A row of the plan for one job."""
    device = "GPU" if int(job.resources.get("gpu", 0)) else "CPU"
    row = {"rule": job.rule, "device": device, "jobs": 1, "known_from": "unknown"}
    row["memory_gb"] = int(job.resources["mem_mb"]) / 1000
    verb, work = job.flags.verb, amount(job, folder)
    for method in (_method(job.flags), "any"):
        if (verb, method, device) in costs.index:
            cost = costs.loc[(verb, method, device)]
            row["hours"], row["disk_gb"] = work * cost.seconds / 3600, work * cost.megabytes / 1000
            row["known_from"] = cost.source
            break
    return row | _measured(job, folder)


def amount(job: Job, folder: Path = Path()) -> float:
    """How much a job has to do, in the units of `costs.csv`."""
    flags = job.flags
    match flags.verb:
        case "flow":  # megapixels of pairs
            pairs = _frames(job, folder) * len(flags.gaps)
            return _share(flags) * pairs * math.prod(flags.size) / 1e6
        case "tracks":  # millions of points times frames
            points = math.prod(flags.size) / flags.stride**2
            return _share(flags) * _frames(job, folder) * points * (2 * flags.radius + 1) / 1e6
        case "train":
            return flags.steps
        case "masks" | "objects" | "landscape" | "pictures" | "prepare":
            return _frames(job, folder)
        case "score":
            return sum(_frames(job, folder, name) for name in flags.names.split(","))
        case _:
            return 1


def _share(flags: Namespace) -> float:
    return 1 / int(flags.part.partition("/")[2]) if flags.part else 1


def _frames(job: Job, folder: Path, sequence: str | None = None) -> int:
    """Frames of a sequence, counted if it is prepared or a shot of somebody's clip."""
    names = job.wildcards["dataset"], sequence or job.wildcards["sequence"]
    about = folder / Path("results/datasets", *names, "sequence.json")
    if about.exists():
        return len(json.loads(about.read_text())["frames"])
    if names[0] == clips.NAME:
        return Shot.open(folder / clips.archive_of(names[1])).length
    return FRAMES.get(names[0], FRAMES["davis"])


def _method(flags: Namespace) -> str:
    """What does the work: a flow estimator, a tracker, a network or DINO's features."""
    stage = {"flow": "estimator", "tracks": "tracker", "train": "network", "masks": "affinity"}
    return getattr(flags, stage.get(flags.verb, ""), "any")


def _measured(job: Job, root: Path) -> dict:
    """Time and memory of earlier jobs of the same rule and data set, by their benchmarks."""
    if not job.benchmark:
        return {}
    depth = 3 if "dataset" in job.wildcards else 2
    folder = root / Path(*Path(job.benchmark).parts[:depth])
    rows = [pd.read_csv(path, sep="\t") for path in sorted(folder.glob("**/*.tsv"))]
    if not rows:
        return {}
    seen = pd.concat(rows)
    measured = {"hours": seen["s"].mean() / 3600, "known_from": "measured here"}
    memory = pd.to_numeric(seen["max_rss"], errors="coerce").max() / 1000  # none of short jobs
    return measured | ({"memory_gb": memory} if pd.notna(memory) else {})
