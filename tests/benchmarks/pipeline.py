"""The whole pipeline on the demo, and the plan of every table of the paper."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pipeline():
    """The whole demo, from rendered frames to tables and pictures, and a dry run of all tables."""
    demo = ["--cores", "2", "--config", "preset=cpu", "--", "demo"]
    yield "demo_pipeline_seconds", _snakemake(*demo), "s", "snakemake --cores 2 demo"
    yield "tables_dry_run_seconds", _snakemake("-n", "--", "tables"), "s", "snakemake -n tables"


def _snakemake(*arguments: str) -> float:
    """Wall-clock seconds of Snakemake in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(ROOT / name, folder)
        for name in ("workflow", "envs"):
            shutil.copytree(ROOT / name, Path(folder) / name)
        command = [sys.executable, "-m", "snakemake", "--quiet", "all", *arguments]
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - start
