"""The workflow through a real Slurm of one node, started here with two stand-ins for GPUs."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import command_line, edit, environment, snakemake
from tests.test_workflow import digest

TRACKS = "results/tracks/demo/comet/chained_flow.zarr"
WEIGHTS = "results/runs/demo/lrtl/seed0/weights.safetensors"
MARK = "# Of tests/test_slurm.py\n"
# Jobs of `main` give way to those of `urgent`, thirty seconds after SIGTERM at the latest.
SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=cred_expire=5
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
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=1
SchedulerParameters=sched_interval=1
MpiDefault=none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=20000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP GraceTime=30
PartitionName=urgent Nodes={host} State=UP PriorityTier=2 PreemptMode=OFF
"""
GRES_CONF = "AutoDetect=off\nName=gpu File=/dev/null\nName=gpu File=/dev/zero\n"
# Jobs are started without the variables of Slurm, so srun looks at the usual place.
ETC = Path("/etc/slurm")
NODE = socket.gethostname().split(".")[0]
THROUGH_SLURM = (
    "--profile=slurm",
    "--latency-wait=2",
    "--seconds-between-status-checks=1",
    "--slurm-init-seconds-before-status-checks=1",
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A running one-node Slurm."""
    needed = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "sinfo")
    missing = [name for name in needed if shutil.which(name) is None]
    if missing or os.getuid():
        pytest.skip(f"needs root and Slurm; not installed: {', '.join(missing) or 'nothing'}")
    conf = ETC / "slurm.conf"
    if conf.exists() and not conf.read_text().startswith(MARK):
        pytest.skip(f"{conf} is of a Slurm that a test does not replace")
    stop()  # one that a killed test left behind
    try:
        start(tmp_path_factory.mktemp("slurm"))
        yield
    finally:
        stop()


def start(folder: Path) -> None:
    """Start Slurm's daemons and wait until the node is idle."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    ETC.mkdir(exist_ok=True)
    (ETC / "slurm.conf").write_text(MARK + SLURM_CONF.format(host=NODE, folder=folder))
    (ETC / "gres.conf").write_text(GRES_CONF)
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    if subprocess.run(["pgrep", "-x", "munged"], capture_output=True).returncode:
        subprocess.run(["runuser", "-u", "munge", "--", shutil.which("munged")], check=True)
        shutil.copy("/run/munge/munged.pid", folder)
    for daemon in ("slurmctld", "slurmd"):
        subprocess.run([daemon], check=True)
    wait_for(lambda: output_of("sinfo", "-h", "-p", "main", "-o", "%t") == "idle", 20)


def stop() -> None:
    """End the jobs and the daemons of a Slurm that was started here, and remove its settings."""
    conf = ETC / "slurm.conf"
    if not conf.exists():
        return
    folder = Path(re.search("SlurmdPidFile=(.*)/", conf.read_text())[1])
    pids = {path.stem: int(path.read_text()) for path in folder.glob("*.pid")}
    try:
        if "slurmctld" in pids:
            output_of("scancel", "--user=root", "--signal=KILL", "--full")
            wait_for(lambda: not output_of("squeue", "-h"), 60)
    finally:
        for daemon in ("slurmd", "slurmctld", "munged"):
            if daemon in pids and Path(f"/proc/{pids[daemon]}").exists():
                os.kill(pids[daemon], signal.SIGTERM)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.values()), 20)
        for name in ("slurm.conf", "gres.conf"):
            (ETC / name).unlink(missing_ok=True)


def output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def wait_for(condition, seconds: float = 120) -> float:
    """Seconds until a condition holds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, output_of("squeue", "--states=all")
        time.sleep(0.1)
    return time.monotonic() - start


def test_the_demo_through_slurm(demo_run, slurm, tmp_path):
    """All its targets, with stand-ins for GPUs, to the bytes of the local run."""
    made = shutil.ignore_patterns("results", "logs", "benchmarks", ".snakemake")
    folder = shutil.copytree(demo_run, tmp_path / "checkout", ignore=made)
    for rules in (folder / "workflow/rules").glob("*.smk"):  # bytes depend on threads
        rules.write_text(rules.read_text().replace("1 if not ON_GPU else 4", "1"))
    begin = time.monotonic()
    run = snakemake(folder, *THROUGH_SLURM, "demo", config=["sequences=comet,box", "preset=paper"])
    assert run.returncode == 0, run.stdout + run.stderr
    print(f"demo: {submissions(run)} submissions in {time.monotonic() - begin:.0f} s")
    for name in ("demo_table.csv", "demo_sequences.csv", "demo_landscape.csv", "pictures"):
        assert digest(folder / "results" / name) == digest(demo_run / "results" / name), name
    assert submissions(run) == 15
    assert "gpu=1" in run.stdout + run.stderr


def test_two_sequences_of_davis_through_slurm(checkout, slurm, tmp_path_factory):
    """From the real archive and weights to the bytes of a local run."""
    if "LRTL_MIRROR" not in os.environ:
        pytest.skip("set LRTL_MIRROR to a folder with DAVIS-data.zip and raft-small.pth")
    edit(checkout, "size: [240, 424], updates: 12}", "size: [64, 112], updates: 2, gaps: [-1, 1]}")
    edit(checkout, "chained_flow, size: [240, 424]}", "chained_flow, size: [64, 112], radius: 10}")
    edit(checkout, "steps: 8000\n      decay_steps: 8000", "quad_gaps: [1]\n      steps: 10")
    edit(checkout, "davis: [flow_only, tracks_only, flow_and_tracks, lrtl]", "davis: [lrtl]")
    config = ["preset=cpu", "sequences=dog,goat", f"mirror={os.environ['LRTL_MIRROR']}"]
    products = ["davis_table.csv", "davis_sequences.csv"]
    compare(checkout, "results/davis_table.csv", products, config, tmp_path_factory)


def compare(folder, target, products, config, tmp_path_factory) -> subprocess.CompletedProcess:
    """Make a target through Slurm and locally, expecting the same bytes."""
    local = tmp_path_factory.mktemp("local") / "checkout"
    shutil.copytree(folder, local)
    seconds = {}
    for where, arguments in ((local, ["--retries=1"]), (folder, THROUGH_SLURM)):
        begin = time.monotonic()
        run = snakemake(where, *arguments, target, config=config)
        assert run.returncode == 0, run.stdout + run.stderr
        seconds[where] = time.monotonic() - begin
    for name in products:
        assert digest(folder / "results" / name) == digest(local / "results" / name), name
    overhead = (seconds[folder] - seconds[local]) / submissions(run)
    print(f"{target}: {submissions(run)} submissions, {seconds[local]:.0f} s locally, ", end="")
    print(f"{seconds[folder]:.0f} s through Slurm, {overhead:.1f} s more for each")
    return run


def submissions(run: subprocess.CompletedProcess) -> int:
    return (run.stdout + run.stderr).count("has been submitted with SLURM jobid")


def test_a_training_outlives_its_node_its_preemption_and_its_cancellation(
    checkout,
    slurm,
    tmp_path_factory,
):
    """Each time it goes on once, from its checkpoint, to the bytes of an undisturbed run."""
    for _ in ("flow", "tracks"):
        edit(checkout, "size: [270, 480]", "size: [90, 160]")
    edit(checkout, "steps: 30\n      checkpoint_every: 5", "steps: 200\n      checkpoint_every: 10")
    rules = checkout / "workflow/rules/train.smk"  # the node has no room for four times 8 GB
    rules.write_text(rules.read_text().replace("ON_GPU else 8000", "ON_GPU else 2000"))
    config, run = ["preset=cpu", "sequences=comet"], "results/runs/demo/lrtl/seed0"
    assert snakemake(checkout, TRACKS, config=config).returncode == 0
    local = tmp_path_factory.mktemp("local") / "checkout"
    shutil.copytree(checkout, local)
    assert snakemake(local, WEIGHTS, config=config).returncode == 0

    log, checkpoint = checkout / "logs/train/demo/lrtl/seed0.log", checkout / f"{run}.checkpoint"
    flags = (*THROUGH_SLURM, "--retries=4")
    command = command_line(*flags, WEIGHTS, config=config)
    where = {"cwd": checkout, "env": environment()}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **where) as through_slurm:
        try:
            wait_for(checkpoint.exists)
            step = rf"slurmstepd: \[{job_id()}\."
            output_of("scontrol", "update", f"nodename={NODE}", "state=down", "reason=test")
            ending = wait_for(lambda: not output_of("pgrep", "--full", step))
            time.sleep(ending + 5)  # the node looks for the end of a job at growing intervals
            log.write_text("")
            output_of("scontrol", "update", f"nodename={NODE}", "state=resume")
            wait_for(lambda: "resuming from step" in read(log))

            first = job_id()
            urgent = ("-p", "urgent", "--exclusive", "--output=/dev/null", "--wrap", "true")
            output_of("sbatch", *urgent)
            seconds = wait_for(lambda: state_of(first) == "FAILED", 30)
            step = re.search(r"goes on from step (\d+)$", read(log))[1]
            print(f"preempted at step {step}, {seconds:.1f} s from SIGTERM to the end of the job")
            wait_for(lambda: f"resuming from step {step} of" in read(log))

            output_of("scontrol", "update", f"nodename={NODE}", "state=drain", "reason=test")
            begun = checkpoint.stat().st_mtime
            wait_for(lambda: checkpoint.stat().st_mtime > begun)  # a drained node ends what it runs
            output_of("scancel", job_id())
            log.write_text("")
            output_of("scontrol", "update", f"nodename={NODE}", "state=resume")
            wait_for(lambda: "resuming from step" in read(log))
            assert through_slurm.wait() == 0
        finally:
            through_slurm.kill()
            # A node that tracks no processes leaves jobs behind that wait for an ended child.
            subprocess.run(["pkill", "--signal=KILL", "--full", str(checkout / "Snakefile")])
    assert digest(checkout / run) == digest(local / run)


def read(log: Path) -> str:
    """A log, which Snakemake removes while it gives a job to Slurm again."""
    return log.read_text() if log.exists() else ""


def job_id() -> str | None:
    """The only job of partition `main` that is queued or runs."""
    return output_of("squeue", "-h", "-p", "main", "-o", "%i") or None


def state_of(job: str) -> str:
    return output_of("squeue", "-h", "--states=all", "-j", job, "-o", "%T")
