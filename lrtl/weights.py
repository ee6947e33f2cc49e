"""Published checkpoints."""

import pickle
from pathlib import Path

import torch
from torch import nn


def load_weights(model: nn.Module, path: Path, name: str, expected: str) -> nn.Module:
    """Load a published checkpoint, tensors only, into a model and freeze it.

    Args:
        model: what the checkpoint is for.
        path: the file; a state dict, possibly under `model` and with `module.` before its keys.
        name: the model's, for errors.
        expected: the file's published name, for errors.

    Raises:
        ValueError: the file is not a checkpoint of this architecture.
    """
    remedy = f"expected {expected} for {name}; delete the file and fetch it again"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a torch checkpoint ({error}); {remedy}") from error
    try:
        state = state.get("model", state)
        state = {key.removeprefix("module."): value for key, value in state.items()}
        model.load_state_dict(state)
    except (AttributeError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} does not fit {name} ({reason}); {remedy}") from error
    return model.eval().requires_grad_(False)
