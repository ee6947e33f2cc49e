"""The command line: errors in one line, and a disk that fills up."""

import subprocess
import sys

from lrtl.settings import SECTIONS, descriptions

FLOW = ["--estimator", "dis", "--size", "180", "320", "--gaps", "-1", "1"]
FLOW += ["--updates", "1", "--precision", "float32"]


def lrtl(*arguments):
    command = [sys.executable, "-m", "lrtl", *map(str, arguments), "--threads", "1"]
    return subprocess.run(command, capture_output=True, text=True)


def test_errors_are_one_line_with_the_verb(tmp_path):
    run = lrtl("flow", "--sequence", tmp_path, "--out", tmp_path / "dis.zarr", *FLOW)
    assert run.returncode == 1
    message = run.stderr.strip().splitlines()
    assert len(message) == 1
    assert message[0].startswith(f"lrtl flow: {tmp_path} is not a prepared sequence")


def test_settings_out_of_range_are_named(comet, tmp_path):
    flags = [flag if flag != "dis" else "farneback" for flag in FLOW]
    run = lrtl("flow", "--sequence", comet.folder, "--out", tmp_path / "flow.zarr", *flags)
    assert run.returncode == 1
    assert "estimator is 'farneback', expected one of raft_large, raft_small, dis" in run.stderr


def test_help_has_what_the_schema_says_of_every_setting():
    for section in SECTIONS:
        assert all(descriptions(section).values())
    run = lrtl("train", "--help")
    assert run.returncode == 0
    assert "Weight of the trajectory loss, 1/px." in run.stdout
    assert "Segments predicted per frame, K." in run.stdout
