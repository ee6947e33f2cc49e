"""Inputs that are damaged or made to harm; the stage that reads them refuses or is not touched."""

import functools
import io
import os
import pickle
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from lrtl.checkpoints import save_checkpoint
from lrtl.files import whole_file
from tests.datasets.test_archive import patch_directory, write
from tests.faults.jobs import Job
from tests.faults.stages import ARCHIVE, RUN, Stage
from tests.faults.undisturbed import Outcome, Undisturbed


def damaged(
    harm: Callable, whole: Undisturbed, stage: Stage, folder: Path, rng: random.Random
) -> Outcome:
    """A file of an input is harmed: the stage refuses, or makes what it makes of it whole."""
    whole.give_inputs(stage, folder)
    files = [path for name in stage.inputs for path in folder.glob(f"{name}*/**/*")]
    files += [path for name in stage.inputs for path in folder.glob(f"{name}*")]
    file = rng.choice(sorted(path for path in files if path.is_file() and path.stat().st_size))
    intact = file.read_bytes()
    file.write_bytes(harm(intact, rng))
    ended = Job(folder, stage).end()
    if ended[0] == 0:
        outcome = whole.after(stage, folder)
        return outcome._replace(said=f"{file} is harmed, and used")
    file.write_bytes(intact)
    return whole.after_refusal(stage, folder, ended, stage.inputs)


def flipped(data: bytes, rng: random.Random) -> bytes:
    """One bit is another."""
    bit, harmed = rng.randrange(8 * len(data)), bytearray(data)
    harmed[bit // 8] ^= 1 << bit % 8
    return bytes(harmed)


def truncated(data: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data))]


bit_flipped = functools.partial(damaged, flipped)
cut_short = functools.partial(damaged, truncated)


ARCHIVES = {
    "absolute path": lambda folder: write(folder, "/etc/evil.jpg"),
    "..": lambda folder: write(folder, "../evil.jpg"),
    "link": lambda folder: write(folder, "link.jpg", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "device": lambda folder: write(folder, "sda", mode=stat.S_IFBLK | 0o777),
    "bomb": lambda folder: write(folder, "bomb.jpg", bytes(2**25)),
    "bomb that lies": lambda folder: _liar(folder),
}


def archive(kind: str, whole: Undisturbed, stage: Stage, folder: Path, rng) -> Outcome:
    """A hostile archive in place of the official one; then that."""
    ARCHIVES[kind](folder).rename(folder / ARCHIVE)
    ended = Job(folder, stage).end()
    written = [path for path in folder.parent.rglob("*.jpg") if path.stat().st_size]
    whole.give_inputs(stage, folder)
    outcome = whole.after_refusal(stage, folder, ended, stage.inputs)
    return outcome._replace(accepted=len(written))


def _liar(folder: Path) -> Path:
    """A bomb that states a small size, under the name of a frame."""
    path = write(folder, "DAVIS/JPEGImages/480p/dog/00000.jpg", bytes(2**24))
    with zipfile.ZipFile(path, "a") as more:  # its mask, without which it is refused unread
        more.writestr("DAVIS/Annotations/480p/dog/00000.png", b"")
    patch_directory(path, 24, (1000).to_bytes(4, "little"))
    return path


class Canary:
    """A pickle that leaves a trace where it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("canary",)


def _tar(path: Path, kind: bytes = tarfile.REGTYPE, content: bytes = b"") -> None:
    """A tar archive of one member under the name of a checkpoint."""
    member = tarfile.TarInfo("evil.pth")
    member.type, member.size = kind, len(content)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(content))


WEIGHTS = {
    "malicious checkpoint": lambda path: torch.save({"model": Canary()}, path),
    "malicious pickle": lambda path: path.write_bytes(pickle.dumps(Canary())),
    "malicious pickle in a tar archive": lambda path: _tar(path, content=pickle.dumps(Canary())),
    "device in a tar archive": lambda path: _tar(path, tarfile.CHRTYPE),
    "bomb in a tar archive": lambda path: _tar(path, content=bytes(2**20)),
}


def weights(kind: str, whole: Undisturbed, stage: Stage, folder: Path, rng) -> Outcome:
    """Hostile weights of the flow estimator; then it does without."""
    whole.give_inputs(stage, folder)
    WEIGHTS[kind](folder / "evil")
    smaller = {"lrtl.weights.LARGEST": 2**19}  # bytes
    flags = ("--estimator", "raft_small", "--weights", "evil")
    ended = Job(folder, stage, smaller, flags).end()
    return _unread(whole.after_refusal(stage, folder, ended, ("evil",)), folder)


def run_weights(whole: Undisturbed, stage: Stage, folder: Path, rng) -> Outcome:
    """A malicious pickle in place of trained weights, with its own checksum beside it."""
    whole.give_inputs(stage, folder)
    with whole_file(folder / RUN / "weights.safetensors") as temporary:
        temporary.write_bytes(pickle.dumps(Canary()))
    ended = Job(folder, stage).end()
    whole.give_inputs(stage, folder)
    return _unread(whole.after_refusal(stage, folder, ended, (RUN,)), folder)


def checkpoint(whole: Undisturbed, stage: Stage, folder: Path, rng) -> Outcome:
    """A malicious pickle where an interrupted run left its checkpoint: training starts anew."""
    whole.give_inputs(stage, folder)
    save_checkpoint(folder / f"{RUN}.checkpoint", {"model": Canary()})
    return _unread(whole.after(stage, folder), folder)


def _unread(outcome: Outcome, folder: Path) -> Outcome:
    """The outcome; a pickle that left its trace was accepted."""
    return outcome._replace(accepted=outcome.accepted + (folder / "canary").exists())
