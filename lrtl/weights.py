"""Published checkpoints."""

import pickle
import re
import tarfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import torch
from torch import nn

LARGEST = 2**32  # bytes of a checkpoint in an archive
DAMAGED = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError),  # torch's
    *(tarfile.TarError, zlib.error, OSError),  # OSError: of gzip
)


def load_weights(
    model: nn.Module,
    path: Path,
    name: str,
    expected: str,
    convert: Callable[[dict], dict] = dict,
) -> nn.Module:
    """Load a published checkpoint, tensors only, into a model and freeze it.

    Args:
        model: what the checkpoint is for.
        path: the file, or a tar archive with it; a state dict, possibly under `model` or
            `model_state_dict` and with `module.` before its keys.
        name: the model's, for errors.
        expected: the file's published name, for errors.
        convert: makes a state dict of the model out of the published one.

    Raises:
        ValueError: the file is not a checkpoint of this architecture.
    """
    remedy = f"expected {expected} for {name}; delete the file and fetch it again"
    try:
        file = _unpacked(path) if tarfile.is_tarfile(path) else path
        state = torch.load(file, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        reason = "more than tensors" if isinstance(error, pickle.UnpicklingError) else error
        raise ValueError(f"{path} is not a torch checkpoint ({reason}); {remedy}") from error
    try:
        state = state.get("model", state.get("model_state_dict", state))
        state = {key.removeprefix("module."): value for key, value in state.items()}
        model.load_state_dict(convert(state))
    except (AttributeError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} does not fit {name} ({reason}); {remedy}") from error
    return model.eval().requires_grad_(False)


def _unpacked(path: Path) -> BytesIO:
    """The last, by name, of the checkpoints in a tar archive, of those that are plain files."""
    with tarfile.open(path) as archive:
        files = [member for member in archive if member.isfile() and member.name.endswith(".pth")]
        if not files:
            raise ValueError("an archive without one")
        last = max(files, key=lambda member: member.name)
        if last.size > LARGEST:
            raise ValueError(f"{last.name} would unpack to {last.size} bytes")
        return BytesIO(archive.extractfile(last).read())


def renamed(state: dict, names: dict[str, str | None]) -> dict:
    """A state dict under other names.

    Args:
        state: name to tensor.
        names: regular expression of the beginning of a name to what takes its place, None to leave
            the tensor out; all that match apply, in their order.
    """
    out = {}
    for name, value in state.items():
        for pattern, replacement in names.items():
            if name is not None and re.match(pattern, name):
                name = None if replacement is None else re.sub(pattern, replacement, name, count=1)
        if name is not None:
            out[name] = value
    return out
