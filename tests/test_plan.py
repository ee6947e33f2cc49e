"""Plans: jobs read from a dry run, work counted by hand, and what earlier jobs took."""

import json

import numpy as np
import pandas as pd
import pytest

from lrtl.__main__ import parser
from lrtl.affinity import AFFINITIES
from lrtl.methods import ESTIMATORS, NETWORKS, TRACKERS
from lrtl.plan import FRAMES, Job, _job, amount, as_text, plan, price
from tests.conftest import ROOT

FLOW = """    input: results/datasets/davis/dog, resources/weights/raft-small.pth
    output: results/flow/davis/dog/raft_small.zarr
    jobid: 6
    wildcards: dataset=davis, sequence=dog, estimator=raft_small
    resources: tmpdir=/tmp, gpu={gpu}, runtime=120, mem_mb=8000, mem=8 GB, mem_mib=7630
Shell command:{space}
        lrtl flow {part} \\
            --sequence results/datasets/davis/dog \\
            --out results/flow/davis/dog/raft_small.zarr \\
            --estimator raft_small --size 240 424 --gaps -2 -1 1 2 --updates 12 \\
            --precision float32 \\
             \\
            2>&1 | tee logs/flow/davis/dog/raft_small.log

"""
TRACKS = ["tracks", "--source", "flow.zarr", "--out", "tracks.zarr", "--tracker", "chained_flow"]
TRACKS += ["--size", "240", "424", "--radius", "20", "--stride", "4", "--boundary", "paper"]
TRACKS += ["--queries", "every_frame", "--coverage", "0.95", "--auxiliary", "none"]
TRACKS += ["--points-per-call", "1000", "--precision", "float32"]
SCORE = ["score", "masks", "--dataset", "davis", "--names", "dog,goat", "--out", "scores.csv"]
COSTS = pd.DataFrame(
    [("flow", "raft_small", "CPU", 2.0, 0.5, "a desk"), ("score", "any", "CPU", 0.1, 0.0, "guess")],
    columns=["verb", "method", "device", "seconds", "megabytes", "source"],
).set_index(["verb", "method", "device"])


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    """A working folder in which nothing has run."""
    monkeypatch.chdir(tmp_path)


def flow_job(gpu=0, part=""):
    return _job("flow", FLOW.format(gpu=gpu, part=part, space=" "), parser())


def job_of(*flags, benchmark=None):
    names = {"dataset": "davis", "sequence": "dog"}
    resources = {"mem_mb": "4000"}
    return Job(flags[0], names, benchmark, resources, parser().parse_args(list(flags)))


def test_a_job_is_read_with_its_flags():
    job = flow_job()
    assert job.rule == "flow" and job.benchmark is None
    assert job.wildcards == {"dataset": "davis", "sequence": "dog", "estimator": "raft_small"}
    assert job.resources["mem_mb"] == "8000" and job.resources["gpu"] == "0"
    assert job.flags.gaps == [-2, -1, 1, 2] and job.flags.size == [240, 424]


def test_work_by_hand():
    assert amount(flow_job()) == pytest.approx(FRAMES["davis"] * 4 * 240 * 424 / 1e6)
    assert amount(flow_job(part="--part 1/4")) == pytest.approx(amount(flow_job()) / 4)
    assert amount(job_of(*TRACKS)) == pytest.approx(FRAMES["davis"] * 60 * 106 * 41 / 1e6)
    assert amount(job_of(*SCORE)) == 2 * FRAMES["davis"]


def test_frames_are_counted_where_there_are_some(tmp_path):
    folder = tmp_path / "results/datasets/davis/dog"
    folder.mkdir(parents=True)
    (folder / "sequence.json").write_text(json.dumps({"frames": ["00000", "00001"]}))
    assert amount(flow_job()) == pytest.approx(2 * 4 * 240 * 424 / 1e6)
    assert amount(job_of(*SCORE)) == 2 + FRAMES["davis"]


def test_a_price_by_hand():
    work = amount(flow_job())
    row = price(flow_job(), COSTS)
    assert row["hours"] == pytest.approx(2 * work / 3600)
    assert row["disk_gb"] == pytest.approx(work / 2000)
    assert (row["device"], row["memory_gb"], row["known_from"]) == ("CPU", 8, "a desk")
    assert price(job_of(*SCORE), COSTS)["hours"] == pytest.approx(0.2 * FRAMES["davis"] / 3600)


def test_what_is_not_known_is_said():
    row = price(flow_job(gpu=1), COSTS)
    assert row["known_from"] == "unknown" and "hours" not in row and row["device"] == "GPU"


def test_earlier_jobs_of_the_data_set_count_more(tmp_path):
    for name, seconds, memory in (("lrtl/seed0", 50, "100"), ("lrtl/seed1", 70, "NA")):
        path = tmp_path / f"benchmarks/score/davis/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tmax_rss\n{seconds}\t{memory}\n")
    row = price(job_of(*SCORE, benchmark="benchmarks/score/davis/flow_only/seed0.tsv"), COSTS)
    assert row["hours"] == pytest.approx(60 / 3600)
    assert row["memory_gb"] == 0.1 and row["known_from"] == "measured here"
    other = price(job_of(*SCORE, benchmark="benchmarks/score/demo/lrtl/seed0.tsv"), COSTS)
    assert other["known_from"] == "guess"


def test_a_plan_of_a_table(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    targets, config = ["results/tables/lrtl_table4.csv"], ["preset=cpu", "sequences=dog,goat"]
    table = plan([*targets, "--config", *config], parser()).set_index("rule")
    jobs = {"prepare": 2, "flow": 2, "tracks": 2, "train": 4, "segment": 16, "score": 8}
    assert table["jobs"][list(jobs)].to_dict() == jobs
    assert set(table["device"]) == {"CPU"}
    assert table["hours"][list(jobs)].notna().all() and np.isnan(table["hours"]["fetch_archive"])
    assert table["hours"]["train"] == table["hours"].max()
    total = float(as_text(table.reset_index()).split("together ")[1].split()[0])
    assert total == pytest.approx(table["hours"].sum(), abs=0.1)
    split = plan([*targets, "--config", *config, "split=2"], parser()).set_index("rule")
    assert split["jobs"]["flow_part"] == 4 and "flow" not in split.index
    assert split["hours"]["flow_part"] == pytest.approx(table["hours"]["flow"])


def test_costs_are_of_what_there_is():
    costs = pd.read_csv(ROOT / "lrtl/costs.csv")
    assert not costs.duplicated(["verb", "method", "device"]).any()
    verbs = parser()._subparsers._group_actions[0].choices
    assert set(costs["verb"]) <= set(verbs)
    assert set(costs["method"]) <= {*ESTIMATORS, *TRACKERS, *NETWORKS, *AFFINITIES, "any"}
    assert set(costs["device"]) == {"CPU", "GPU"} and (costs["seconds"] > 0).all()
    estimated = costs["source"].str.startswith("estimate")
    assert (estimated == (costs["device"] == "GPU")).all()  # none was measured on a GPU


def test_targets_that_cannot_be_made_are_named(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    with pytest.raises(ValueError, match=r"(?s)cannot plan results/tables/none.csv.*none.csv"):
        plan(["results/tables/none.csv"], parser())
    with pytest.raises(ValueError, match=r"(?s)cannot plan demo.*unknown preset 'gpu'"):
        plan(["demo", "--config", "preset=gpu"], parser())


def test_a_plan_is_made_in_a_checkout():
    with pytest.raises(ValueError, match=r"there is no Snakefile here; run it in a checkout"):
        plan(["demo"], parser())
