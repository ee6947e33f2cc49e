"""PIPs++'s adapter with a stand-in model, and the real code where it is on the path."""

import tarfile

import numpy as np
import pytest
import torch

from lrtl.motion import pips
from lrtl.motion.learned import cuda_or_cpu
from lrtl.motion.pips import Pips, open_pips
from lrtl.weights import load_weights
from tests.conftest import tracks_config
from tests.motion.frames import POINTS, SIZE, counted


class StandIn(torch.nn.Module):
    """Points that move a px of the model's frame to the right from frame to frame."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(1))
        self.calls = []

    def forward(self, still, rgbs, iters, beautify):
        numbers = rgbs[0, :, 0, 0, 0].round()
        self.calls.append((numbers.int().tolist(), still[0]))
        moved = (numbers - numbers[0])[None, :, None, None] * torch.tensor([1.0, 0.0])
        return [still, still + moved.cuda()], None, None, None


@pytest.fixture
def config(tmp_path):
    """Settings of PIPs++ with a file of weights, changed by keywords."""
    (tmp_path / "weights.pth").write_bytes(b"stand-in")

    def build(**changes):
        about = {"tracker": "pips2", "size": SIZE, "weights": str(tmp_path / "weights.pth")}
        return tracks_config(20, 4, **about | changes)

    return build


def test_points_are_followed_both_ways_and_seen_inside_the_frame(config):
    model = StandIn()
    positions, visible = Pips(counted(12), config(), model).track(POINTS, 5, 2, 9)
    expected = np.repeat(POINTS[None], 8, 0)
    expected[:, 0] += (np.arange(2, 10) - 5)[:, None] * 159 / 895
    np.testing.assert_allclose(positions, expected, atol=1e-4)
    assert (positions[3] == POINTS).all()
    inside = (positions[:, 0] >= 0) & (positions[:, 0] <= 159)
    assert (visible == inside).all()
    assert visible[3].all()
    assert not visible[4:, 2].any()
    assert not visible[:3, 0].any()
    assert [numbers for numbers, _ in model.calls] == [
        [5, 6, 7, 8, 9, 9, 9, 9],
        [5, 4, 3] + [2] * 5,
    ]
    still = model.calls[0][1]
    torch.testing.assert_close(still[4, 2], torch.tensor([895.0, 511.0]))


def test_calls_have_few_enough_points_and_none_is_for_one_frame(config, monkeypatch):
    model = StandIn()
    tracker = Pips(counted(12), config(points_per_call=2), model)
    positions, visible = tracker.track(POINTS, 0, 0, 3)
    assert positions.shape == (4, 2, 3)
    assert [still.shape[1] for _, still in model.calls] == [2, 1]
    positions, visible = tracker.track(POINTS, 4, 4, 4)
    assert (positions == POINTS[None]).all()
    assert visible.all()
    assert len(model.calls) == 2
    monkeypatch.setattr(pips, "POINTS_AT_ONCE", 1)
    tracker.track(POINTS, 0, 0, 3)
    assert len(model.calls) == 5


def test_without_the_code_the_error_has_remedy_and_licence(config, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "nets", None)
    with pytest.raises(ValueError, match=r"MIT: git clone .*aharley/pips2 .*checkout 8b5bd9e"):
        open_pips(tmp_path, config())


def test_weights_come_in_an_archive(tmp_path):
    """As published: of several checkpoints with an optimizer's state, the last."""
    model = torch.nn.Linear(2, 1)
    with tarfile.open(tmp_path / "published.tar.gz", "w:gz") as archive:
        for step in (1, 2):
            torch.nn.init.constant_(model.weight, step)
            state = {"optimizer_state_dict": {}, "model_state_dict": model.state_dict()}
            torch.save(state, tmp_path / "model.pth")
            archive.add(tmp_path / "model.pth", f"reference_model/model-00000000{step}.pth")
    loaded = load_weights(torch.nn.Linear(2, 1), tmp_path / "published.tar.gz", "it", "that")
    assert loaded.weight.tolist() == [[2, 2]]
    whole = (tmp_path / "published.tar.gz").read_bytes()
    for damaged in (whole[:-60], b"none"):
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"(?s)not a torch checkpoint .*expected that for it"):
            load_weights(torch.nn.Linear(2, 1), tmp_path / "damaged", "it", "that")


def test_tracks_are_those_of_the_real_demo(config, monkeypatch):
    """Random weights on small frames: the demo's way through the same frames.

    The last layer is damped: updates of random weights let rounding errors grow a thousandfold.
    """
    code = pytest.importorskip("nets.pips2", reason="PIPs++ is not on Python's path")
    monkeypatch.setattr(pips, "RESOLUTION", (128, 192))
    torch.manual_seed(0)
    model = code.Pips(stride=8).eval().requires_grad_(False)
    model.delta_block.dense.weight *= 0.02
    model.delta_block.dense.bias *= 0.02
    adapter = Pips(counted(12), config(points_per_call=2), model)
    adapter.images = torch.rand(17, 3, 128, 192) * 255
    positions, _ = adapter.track(POINTS, 8, 0, 16)
    scale = np.array([[191 / 159], [127 / 119]], np.float32)
    start = torch.from_numpy((POINTS * scale).T)[None, None]  # (1, 1, N, 2)
    expected = []
    for clip in (adapter.images[:9].flip(0), adapter.images[8:]):
        with cuda_or_cpu():
            tracks, *_ = model(
                start.repeat(1, len(clip), 1, 1), clip[None], iters=16, beautify=True
            )
        expected.append(tracks[-1][0].transpose(1, 2).numpy() / scale)
    expected = np.concatenate([expected[0][:0:-1], expected[1]])
    assert np.abs(np.diff(expected, axis=0)).max() > 0.5
    np.testing.assert_allclose(positions, expected, atol=1e-3)
