"""The flow of a sequence: DIS against exact flow, gaps, and refusal of what is not finite."""

import numpy as np
import pytest

from lrtl.config import FlowConfig, Part
from lrtl.datasets import demo
from lrtl.motion import flow as module
from lrtl.motion.flow import estimate_flow
from lrtl.motion.store import FlowStore
from tests.conftest import assert_same_bytes


def test_dis_is_near_the_exact_flow(comet, tmp_path):
    config = FlowConfig("dis", (180, 320), (-1, 2), 1, "float32")
    estimate_flow(comet, config, tmp_path / "dis.zarr")
    store = FlowStore.open(tmp_path / "dis.zarr")
    scene = demo.scene("comet")
    for frame, gap in ((5, -1), (20, 2), (45, 2)):
        error = np.hypot(*(store.read(frame, gap) - scene.flow(frame, gap)))
        assert np.median(error) < 0.5
    with pytest.raises(ValueError, match="no flow from frame 47 at gap 2"):
        store.read(47, 2)


def test_flow_that_is_not_finite_fails_with_its_pair(comet, tmp_path, monkeypatch):
    class Broken(module.DisFlow):
        def flow(self, first, second):
            return np.full((1, 2, 180, 320), np.nan, np.float32)

    monkeypatch.setattr(module, "DisFlow", Broken)
    config = FlowConfig("dis", (180, 320), (1,), 1, "float32")
    with pytest.raises(ValueError, match=r"flow of frame 0 at gap 1 .*not finite"):
        estimate_flow(comet, config, tmp_path / "dis.zarr")
    assert not (tmp_path / "dis.zarr").exists()


def test_parts_of_a_sequence_make_the_store_that_one_job_makes(comet, tmp_path):
    config = FlowConfig("dis", (90, 160), (-1, 2), 1, "float32")
    estimate_flow(comet, config, tmp_path / "one.zarr")
    for part in ("3/3", "1/3", "2/3"):
        estimate_flow(comet, config, tmp_path / "parts.zarr", Part.parse(part))
        assert not (tmp_path / "parts.zarr").exists()
    estimate_flow(comet, config, tmp_path / "parts.zarr")
    assert_same_bytes(tmp_path / "one.zarr", tmp_path / "parts.zarr")


@pytest.mark.parametrize("text", ["0/3", "4/3", "2", "a/b", "-1/2"])
def test_a_part_that_is_none_is_named(text):
    with pytest.raises(ValueError, match=f"part is '{text}', expected INDEX/COUNT"):
        Part.parse(text)


def test_parts_share_all_frames():
    for frames, count in ((7, 3), (2, 5), (100, 1)):
        parts = [Part(i, count).of(frames) for i in range(1, count + 1)]
        assert [frame for part in parts for frame in part] == list(range(frames))


def test_no_estimator_replaces_another():
    with pytest.raises(ValueError, match="weights is None, expected a file for raft_small"):
        FlowConfig("raft_small", (180, 320), (1,), 12, "float32")
    with pytest.raises(ValueError, match="estimator is 'raft', expected one of raft_large"):
        FlowConfig("raft", (180, 320), (1,), 12, "float32")
