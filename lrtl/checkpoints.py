"""Checkpoints of a training: written whole, and read only by a run with the same settings.

The first line of the file is the sha256 of what follows. A record beside it could be parted from it
by a kill between the two, and hours of training would be lost.
"""

import hashlib
import io
import pickle
from pathlib import Path

import torch

from lrtl.files import whole_file


def save_checkpoint(path: Path, state: dict) -> None:
    """Write the state of a run; `settings` in it is a text that says all it depends on."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    with whole_file(path, record=False) as temporary, open(temporary, "wb") as file:
        file.write(f"{digest}\n".encode())
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path, settings: str) -> dict | None:
    """The state of an interrupted run with the same settings and motion, if there is one."""
    if not path.exists():
        return None
    digest, _, data = path.read_bytes().partition(b"\n")
    if hashlib.sha256(data).hexdigest().encode() != digest:
        print(f"{path} is damaged: starting anew")
        return None
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        print(f"{path} cannot be read ({error}): starting anew")
        return None
    if state["settings"] != settings:
        print(f"{path} is of a run with other settings: starting anew")
        return None
    print(f"resuming from step {state['step']} of {path}")
    return state
