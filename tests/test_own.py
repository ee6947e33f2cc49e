"""Clips in, masks and pictures out, by the rules of the workflow; with a few steps of training."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import lrtl
from lrtl import own
from lrtl.__main__ import parser
from lrtl.own import clip_settings, remark, segment_clips
from tests.datasets.test_clips import scene, write_video

SHORT = {
    "flow": {"size": [60, 98]},
    "tracks": {"size": [60, 98]},
    "network": {"width": 4, "input_size": [48, 80]},
    "losses": {"flow_size": [48, 80], "track_count": 64},
    "training": {"steps": 10, "decay_steps": 10},
}


def pan(hue, length):
    """A square that moves over a picture that pans."""
    frames = [scene(hue, t) for t in range(length)]
    for t, frame in enumerate(frames):
        frame[20:40, 20 + 2 * t : 40 + 2 * t] = scene(1, 9)[20:40, 20:40]
    return frames


def test_a_clip_with_a_cut_becomes_masks_and_pictures(tmp_path, capfd):
    write_video(tmp_path / "clip.mp4", pan(0, 16) + pan(2, 14))
    write_video(tmp_path / "two.mp4", pan(0, 2))
    clips, out = [tmp_path / "clip.mp4", tmp_path / "two.mp4"], tmp_path / "out"
    segment_clips(clips, out, "fast", (0, None), SHORT, 2, parser=parser())
    printed = capfd.readouterr().out
    assert "together" in printed and "CPU minutes" in printed
    names = {"clip_1": 16, "clip_2": 14, "two": 2}
    for name, length in names.items():
        for folder in (name, f"{name}_objects"):
            assert len(list((out / folder).glob("*.png"))) == length
        assert (out / f"{name}.mp4").stat().st_size > 0 and (out / f"{name}.png").exists()
    trained = out / "pipeline/together/results/runs/clips/lrtl/seed0/weights.safetensors"
    assert (trained.parent / "foreground.csv").exists()
    about = json.loads((out / "clip_1_objects/objects.json").read_text())
    assert set(about) == {"objects", "stability"}
    before = trained.stat().st_mtime_ns
    segment_clips(clips, out, "fast", (0, None), SHORT, 2)
    assert trained.stat().st_mtime_ns == before
    segment_clips(clips[1:], out, "fast", (0, None), SHORT, 2)
    assert trained.stat().st_mtime_ns > before


def test_clips_may_be_trained_on_one_by_one(tmp_path, monkeypatch):
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", pan(0, 2))
    clips, delivered = [tmp_path / "a.mp4", tmp_path / "b.mp4"], []
    monkeypatch.setattr(own, "_run", lambda *_: 0)
    monkeypatch.setattr(own, "_deliver", lambda *shot: delivered.append(shot))
    monkeypatch.setattr(own, "remark", lambda *_: None)
    out = tmp_path / "out"
    segment_clips(clips, out, "fast", (0, None), SHORT, 2, each=True)
    for name in ("a", "b"):
        told = yaml.safe_load((out / "pipeline" / name / "clips.yaml").read_text())
        assert told["clips"] == [name]
    assert delivered == [(n, out / "pipeline" / n / "results", out) for n in ("a", "b")]


def test_shots_without_or_with_doubtful_foreground_are_named(tmp_path):
    (tmp_path / "a_objects").mkdir()
    remarks = []
    for steady in ("null", "0.1", "0.9"):
        text = f'{{"objects": 1, "stability": {steady}}}'
        (tmp_path / "a_objects/objects.json").write_text(text)
        remarks.append(remark("a", tmp_path))
    assert remarks == [
        "a: nothing was found that moves on its own, its masks are empty",
        f"a: doubtful, its foreground is not steady (0.1); see {tmp_path}/a.png",
        None,
    ]


def test_an_array_becomes_masks(monkeypatch):
    frames = np.stack(pan(0, 6))
    monkeypatch.setattr(own, "clip_settings", lambda *_: SHORT)
    masks = lrtl.segment(frames, cores=2)
    assert masks.shape == (6, 60, 98) and masks.dtype == bool
    with pytest.raises(ValueError, match=r"frames are float64 \(6, 60, 98, 3\), expected uint8"):
        lrtl.segment(frames / 255)


def test_what_cannot_be_segmented_is_named(tmp_path):
    write_video(tmp_path / "clip.mp4", pan(0, 4))
    (tmp_path / "other").mkdir()
    write_video(tmp_path / "other/clip.mp4", pan(0, 4))
    both = [tmp_path / "clip.mp4", tmp_path / "other/clip.mp4"]
    with pytest.raises(ValueError, match="two clips are called clip; rename one"):
        segment_clips(both, tmp_path / "out", "fast", (0, None), {}, 1)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="without a GPU; use fast or cpu"):
            segment_clips(both[:1], tmp_path / "out", "paper", (0, None), {}, 1)
    with pytest.raises(ValueError, match="stopped, see above"):
        segment_clips(both[:1], tmp_path / "out", "none", (0, None), {}, 1)


def test_nothing_of_the_users_own_is_replaced(tmp_path):
    """The output may hold no clip and no files of something else, not even beside the clip."""
    write_video(tmp_path / "clip.mp4", pan(0, 4))
    frames = tmp_path / "frames"
    frames.mkdir()
    for t in range(3):
        Image.fromarray(pan(0, 4)[t]).save(frames / f"{t}.png")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for clip, out, error in (
        ("clip.mp4", ".", "overlap; name a folder elsewhere"),
        ("frames", "frames/out", "overlap"),
        ("frames", "frames", "overlap"),
        ("clip.mp4", "clip.mp4", "overlap"),
        ("clip.mp4", "other", "holds other files; name a new or empty folder"),
    ):
        with pytest.raises(ValueError, match=error):
            segment_clips([tmp_path / clip], tmp_path / out, "fast", (0, None), SHORT, 1)
    write_video(tmp_path / "pipeline.mp4", pan(0, 4))
    with pytest.raises(ValueError, match="cannot be called pipeline here; rename"):
        segment_clips([tmp_path / "pipeline.mp4"], tmp_path / "new", "fast", (0, None), SHORT, 1)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_weights_come_from_a_mirror(tmp_path, capfd):
    """Its folder is found from wherever the workflow runs, and named when it lacks a file."""
    write_video(tmp_path / "clip.mp4", pan(0, 4))
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "raft-small.pth").write_bytes(b"no weights")
    clips, out = [tmp_path / "clip.mp4"], tmp_path / "out"
    mirror = os.path.relpath(tmp_path / "mirror")
    with pytest.raises(ValueError, match="stopped, see above"):
        segment_clips(clips, out, "cpu", (0, None), SHORT, 1, mirror)
    assert f"{tmp_path / 'mirror' / 'raft-small.pth'}" in "".join(capfd.readouterr())


def test_a_call_that_was_ended_goes_on(tmp_path):
    """After Ctrl-C, and after a kill, which leaves Snakemake's lock; two calls do not meet."""
    write_video(tmp_path / "clip.mp4", pan(0, 4))
    call = (
        "from pathlib import Path; from tests.test_own import SHORT, segment_clips;"
        f"segment_clips([Path({str(tmp_path / 'clip.mp4')!r})], Path({str(tmp_path / 'out')!r}),"
        "'fast', (0, None), SHORT | {'training': {'steps': 100, 'decay_steps': 100}}, 1)"
    )
    log = tmp_path / "out/pipeline/together/logs/train/clips/lrtl/seed0.log"
    for end in (signal.SIGINT, signal.SIGKILL):
        log.unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", call], start_new_session=True, stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None and not log.exists():
                time.sleep(0.1)
            assert process.returncode is None
            with pytest.raises(ValueError, match="another call is at work in"):
                segment_clips([tmp_path / "clip.mp4"], tmp_path / "out", "fast", (0, None), {}, 1)
            os.killpg(process.pid, end)
            process.wait()
    subprocess.run([sys.executable, "-c", call], check=True)
    assert len(list((tmp_path / "out/clip").glob("*.png"))) == 4


def test_settings_of_clips():
    assert clip_settings(None, None) == {"network": {}, "losses": {}}
    expected = {"network": {"components": 6, "input_size": [96, 160]}}
    expected["losses"] = {"flow_size": [96, 160]}
    assert clip_settings(6, (96, 160)) == expected
    with pytest.raises(ValueError, match=r"size is \(100, 160\), expected multiples of 32 px"):
        clip_settings(None, (100, 160))
    with pytest.raises(ValueError, match="components is 1, expected 2 to 255"):
        clip_settings(1, None)
