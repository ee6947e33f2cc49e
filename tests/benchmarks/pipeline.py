"""The whole pipeline on the demo."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def demo_pipeline():
    """The whole demo in an empty folder, from the rendered frames to tables and pictures."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(ROOT / name, folder)
        for name in ("workflow", "envs"):
            shutil.copytree(ROOT / name, Path(folder) / name)
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "all"]
        command += ["--config", "preset=cpu", "--", "demo"]
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        seconds = time.perf_counter() - start
    return "demo_pipeline_seconds", seconds, "s", "snakemake --cores 2 demo"
