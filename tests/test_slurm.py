"""The demo through a real Slurm of one node, started here with two stand-ins for GPUs."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SchedulerParameters=sched_interval=1
MpiDefault=none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=20000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
GRES_CONF = "AutoDetect=off\nName=gpu File=/dev/null\nName=gpu File=/dev/zero\n"


@pytest.fixture
def slurm(tmp_path_factory):
    """A running one-node Slurm."""
    needed = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "sinfo")
    missing = [name for name in needed if shutil.which(name) is None]
    if missing or os.getuid():
        pytest.skip(f"needs root and Slurm; not installed: {', '.join(missing) or 'nothing'}")
    # Jobs are started without the variables of Slurm, so srun looks at the usual place.
    etc = Path("/etc/slurm")
    if (etc / "slurm.conf").exists():
        pytest.skip(f"{etc} has a Slurm of its own, which a test does not replace")
    etc.mkdir(exist_ok=True)
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    (etc / "slurm.conf").write_text(SLURM_CONF.format(host=host, folder=folder))
    (etc / "gres.conf").write_text(GRES_CONF)
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    if subprocess.run(["pgrep", "-x", "munged"], capture_output=True).returncode:
        subprocess.run(["runuser", "-u", "munge", "--", shutil.which("munged")], check=True)
    for daemon in ("slurmctld", "slurmd"):
        subprocess.run([daemon], check=True)
    for _ in range(100):
        state = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True)
        if state.stdout.strip() == "idle":
            break
        time.sleep(0.2)
    else:
        pytest.fail(f"Slurm's node is not idle but {state.stdout!r}, {state.stderr!r}")
    yield
    for daemon in ("slurmd", "slurmctld"):
        pid = folder / f"{daemon}.pid"
        if pid.exists():
            subprocess.run(["kill", pid.read_text().strip()], check=False)
    for name in ("slurm.conf", "gres.conf"):
        (etc / name).unlink()


def test_demo_through_slurm(checkout, slurm):
    """Rules that ask for a GPU get one; the table arrives."""
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--latency-wait", "10"]
    command += ["--seconds-between-status-checks", "2"]
    command += ["--set-threads", "flow=2", "train=2"]  # the node has two cores
    command += ["--slurm-init-seconds-before-status-checks", "3", "--config", "sequences=comet"]
    command += ["--", "results/demo_table.csv"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run = subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    assert run.returncode == 0, run.stdout + run.stderr
    table = pd.read_csv(checkout / "results/demo_table.csv")
    assert table["experiment"].tolist() == ["flow_only", "lrtl"]
    assert "gpu=1" in run.stdout + run.stderr
