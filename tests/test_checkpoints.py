"""Checkpoints: read as they were written, by the same settings, and never when a bit differs."""

import random

import pytest
import torch

from lrtl.checkpoints import load_checkpoint, save_checkpoint

STATE = {"step": 5, "settings": "seed: 0", "model": {"weight": torch.arange(64.0)}}


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    save_checkpoint(tmp_path / "run.checkpoint", STATE)
    state = load_checkpoint(tmp_path / "run.checkpoint", "seed: 0")
    assert torch.equal(state["model"]["weight"], STATE["model"]["weight"])
    assert state["step"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["run.checkpoint"]
    assert load_checkpoint(tmp_path / "run.checkpoint", "seed: 1") is None
    assert load_checkpoint(tmp_path / "other.checkpoint", "seed: 0") is None


@pytest.mark.parametrize("seed", range(50))
def test_a_checkpoint_with_a_flipped_bit_or_without_its_end_is_refused(tmp_path, capsys, seed):
    path, rng = tmp_path / "run.checkpoint", random.Random(seed)
    save_checkpoint(path, STATE)
    data = bytearray(path.read_bytes())
    if seed % 2:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    else:
        del data[rng.randrange(len(data)) :]
    path.write_bytes(data)
    assert load_checkpoint(path, "seed: 0") is None
    assert "run.checkpoint is damaged: starting anew" in capsys.readouterr().out
