"""Checkpoints of a training: written whole, and read only by a run with the same settings."""

import pickle
from pathlib import Path

import torch

from lrtl.files import check_file, sum_of, whole_file


def save_checkpoint(path: Path, state: dict) -> None:
    """Write the state of a run; `settings` in it is a text that says all it depends on.

    Raises:
        OSError: the disk is full; torch says so only in what its own error hides.
    """
    with whole_file(path) as temporary:
        try:
            with open(temporary, "wb") as file:
                torch.save(state, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def load_checkpoint(path: Path, settings: str) -> dict | None:
    """The state of an interrupted run with the same settings and motion, if there is one."""
    if not path.exists():
        return None
    try:
        check_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (ValueError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        print(f"{path} cannot be read ({error}): starting anew")
        return None
    if state["settings"] != settings:
        print(f"{path} is of a run with other settings: starting anew")
        return None
    print(f"resuming from step {state['step']} of {path}")
    return state


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint of a finished run, if it had one."""
    path.unlink(missing_ok=True)
    sum_of(path).unlink(missing_ok=True)
