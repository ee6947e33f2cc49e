"""`lrtl segment`: somebody's own clips to masks and pictures, by the rules of the workflow."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import numpy as np
import torch
import yaml
from PIL import Image

from lrtl.config import require
from lrtl.datasets.clips import Shot, archive_of, check_apart, find_clips, find_shots
from lrtl.datasets.layout import read_mask
from lrtl.files import whole_file, whole_folder
from lrtl.objects import ABOUT
from lrtl.plan import as_text, plan
from lrtl.stability import DOUBTFUL

ROOT = Path(__file__).parents[1]  # the checkout, with Snakefile and config.yaml
RUN = Path("clips/lrtl/seed0")
OBJECTS = "_objects"  # behind the name of a shot
WORK = "pipeline"  # the folder of the workflow in the output
SETTINGS, LOCK = "clips.yaml", ".lrtl"  # in it: what the workflow is told; who is at work


def segment_clips(
    paths: list[Path],
    out: Path,
    quality: str,
    frames: tuple[int, int | None],
    settings: dict,
    cores: int,
    mirror: str | None = None,
    each: bool = False,
    parser: ArgumentParser | None = None,
) -> list[Shot]:
    """Segment what moves in some clips.

    Writes to `out` per shot: `{shot}.mp4`, the overlay; `{shot}.png`, the contact sheet; and
    `{shot}/`, an indexed PNG per frame; and `{shot}_objects/`, the same with ids of objects. What
    they are made from stays in `out/pipeline`, so that a second call goes on where the first one
    stopped.

    Args:
        paths: videos, folders of frames, or folders of both.
        out: a new or empty folder, or that of an earlier call; it holds no clip.
        quality: a preset of `config.yaml`.
        frames: the first frame of every clip to use, and the one before which to stop, if any.
        settings: sections of `config.yaml` in which these clips differ.
        cores: of this machine.
        mirror: a folder or URL with weights under their published names; searched first.
        each: train a network on every shot, in place of one on all of them.
        parser: of the command line of `lrtl`; with it an estimate of the time is printed first.

    Raises:
        ValueError: a clip cannot be read, `out` holds something else, or a job of the workflow
            failed; its log is named above.
    """
    if not (ROOT / "Snakefile").exists():
        raise ValueError(f"{ROOT} has no Snakefile; run lrtl from a checkout of the project")
    if quality == "paper" and not torch.cuda.is_available():
        raise ValueError("quality paper takes days without a GPU; use fast or cpu")
    out = Path(out)
    clips = [clip for path in paths for clip in find_clips(path)]
    _check_out(out, [*paths, *clips])
    shots = [shot for clip in clips for shot in find_shots(clip, *frames)]
    _check_names(shots)
    groups = {shot.name: [shot] for shot in shots} if each else {"together": shots}
    with ExitStack() as stack:
        runs = []
        for name, group in groups.items():
            work = out.resolve() / WORK / name
            lock = stack.enter_context(_alone(work))
            arguments = _arguments(group, work, quality, settings, mirror)
            runs.append((work, group, [*arguments, "--cores", str(cores)], lock))
            if parser is not None:
                print(as_text(plan(arguments, parser, work)), flush=True)
        for work, group, arguments, lock in runs:
            if _run(arguments, lock):
                raise ValueError(f"stopped, see above; the same command goes on from {work}")
            for shot in group:
                _deliver(shot.name, work / "results", out)
    print(f"Done: {', '.join(f'{out / shot.name}.mp4' for shot in shots)}")
    for line in filter(None, [remark(shot.name, out) for shot in shots]):
        print(line)
    return shots


def segment(
    frames: np.ndarray,
    quality: str = "fast",
    components: int | None = None,
    size: tuple[int, int] | None = None,
    cores: int | None = None,
) -> np.ndarray:
    """Segment what moves in a video that is at hand as an array, as `lrtl segment` does.

    Args:
        frames: (F, H, W, 3) uint8, RGB, at least two.
        quality: a preset of `config.yaml`.
        components: segments predicted before merging, K.
        size: height and width in px of the network's input.
        cores: of this machine; all by default.

    Returns:
        (F, H, W) bool, the foreground; nothing in frames that a cut leaves alone.

    Raises:
        ValueError: frames of another shape or type, or a job of the workflow failed.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        found = f"{frames.dtype} {frames.shape}"
        raise ValueError(f"frames are {found}, expected uint8 (F, H, W, 3)")
    masks = np.zeros(frames.shape[:3], bool)
    with TemporaryDirectory() as folder:
        clip, out = Path(folder, "clip"), Path(folder, "out")
        clip.mkdir()
        for index, frame in enumerate(frames):
            Image.fromarray(frame).save(clip / f"{index}.png")
        settings, cores = clip_settings(components, size), cores or os.cpu_count()
        for shot in segment_clips([clip], out, quality, (0, None), settings, cores):
            for index in range(shot.first, shot.last + 1):
                masks[index] = read_mask(out / shot.name / f"{index:05d}.png") > 0
    return masks


def clip_settings(components: int | None, size: tuple[int, int] | None) -> dict:
    """Sections of the config for a number of components K and a size (H, W) of the network."""
    network, losses = {}, {}
    if components is not None:
        require(2 <= components <= 255, "components", components, "2 to 255")
        network["components"] = components
    if size is not None:
        require(all(s > 0 and s % 32 == 0 for s in size), "size", size, "multiples of 32 px")
        network["input_size"] = losses["flow_size"] = list(size)
    return {"network": network, "losses": losses}


def _check_out(out: Path, inputs: list[Path]) -> None:
    """Stop before a file that is not ours is replaced."""
    check_apart(inputs, out)
    ours = any((out / WORK).glob(f"*/{LOCK}"))
    if out.is_dir() and any(out.iterdir()) and not ours:
        raise ValueError(f"{out} holds other files; name a new or empty folder with -o")


def _check_names(shots: list[Shot]) -> None:
    """Stop unless every shot has a place of its own in the output."""
    names = [shot.name for shot in shots]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two clips are called {twice[0]}; rename one of them")
    for taken in (WORK, *(f"{name}{OBJECTS}" for name in names)):
        if taken in names:
            raise ValueError(f"a clip cannot be called {taken} here; rename it")


def _arguments(
    shots: list[Shot], work: Path, quality: str, settings: dict, mirror: str | None
) -> list[str]:
    """Write what the workflow is told of the clips, and return Snakemake's arguments."""
    names = [shot.name for shot in shots]
    if mirror and "://" not in mirror:
        mirror = str(Path(mirror).resolve())
    for shot in shots:
        shot.save((work / archive_of(shot.name)).parent)
    told = {"clips": names, "datasets": {"clips": settings}, "mirror": mirror}
    with whole_file(work / SETTINGS, record=False) as path:
        path.write_text(yaml.safe_dump(told))
    files = ["--configfile", str(ROOT / "config.yaml"), str(work / SETTINGS)]
    where = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(work)]
    return ["clips", *where, *files, "--config", f"preset={quality}"]


@contextmanager
def _alone(work: Path) -> Iterator[IO]:
    """Hold a lock on a folder of the workflow; Snakemake's own, left by a kill, is taken off."""
    work.mkdir(parents=True, exist_ok=True)
    with open(work / LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another call is at work in {work}; wait for it") from None
        shutil.rmtree(work / ".snakemake/locks", ignore_errors=True)
        yield lock


def _run(arguments: list[str], lock: IO) -> int:
    """Run Snakemake, which holds the lock as long as it lives, and return its exit status."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--rerun-incomplete"]
    with subprocess.Popen(command, pass_fds=[lock.fileno()]) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # it has Snakemake end its jobs, which takes a moment
                pass


def _deliver(name: str, results: Path, out: Path) -> None:
    """Copy a shot's masks, objects and pictures to where they are looked for."""
    for suffix in (".mp4", ".png"):
        with whole_file(out / f"{name}{suffix}", record=False) as path:
            shutil.copyfile(results / "pictures" / RUN / f"{name}{suffix}", path)
    for product, copy in (("masks", name), ("objects", name + OBJECTS)):
        with whole_folder(out / copy) as folder:
            shutil.copytree(results / product / RUN / name, folder, dirs_exist_ok=True)


def remark(shot: str, out: Path) -> str | None:
    """What to say of a shot: that nothing moves in it, or that its masks are doubtful."""
    steady = json.loads((out / (shot + OBJECTS) / ABOUT).read_text())["stability"]
    if steady is None:
        return f"{shot}: nothing was found that moves on its own, its masks are empty"
    if steady < DOUBTFUL:
        return f"{shot}: doubtful, its foreground is not steady ({steady}); see {out / shot}.png"
    return None
