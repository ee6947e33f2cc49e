"""`lrtl segment`: somebody's own clips to masks and pictures, by the rules of the workflow."""

import shutil
import subprocess
import sys
from pathlib import Path

from lrtl.datasets.clips import Shot, find_clips, find_shots
from lrtl.files import whole_folder

ROOT = Path(__file__).parents[1]  # the checkout, with Snakefile and config.yaml
QUALITIES = {"fast": "fast", "cpu": "cpu", "paper": "paper"}  # to presets of config.yaml


def segment_clips(
    paths: list[Path],
    out: Path,
    quality: str,
    first: int = 0,
    end: int | None = None,
    settings: tuple[str, ...] = (),
    cores: int = 2,
) -> list[Shot]:
    """Segment what moves in some clips; one network is trained on all of them.

    Writes to `out` per shot: `{shot}.mp4`, the overlay; `{shot}.png`, the contact sheet; and
    `{shot}/`, an indexed PNG per frame. What they are made from stays in `out/work`, so that a
    second call goes on where the first stopped.

    Args:
        paths: videos, folders of frames, or folders of both.
        out: a folder.
        quality: a preset of `config.yaml`.
        first, end: the range of frames of every clip, `end` left out; all by default.
        settings: further settings of the workflow, `key=value`.
        cores: of this machine.

    Raises:
        ValueError: a clip cannot be read, or a job of the workflow failed; its log is named above.
    """
    if not (ROOT / "Snakefile").exists():
        raise ValueError(f"{ROOT} has no Snakefile; run lrtl from a checkout of the project")
    out, work = Path(out), Path(out).resolve() / "work"
    clips = [clip for path in paths for clip in find_clips(path)]
    shots = [shot for clip in clips for shot in find_shots(clip, first, end)]
    _save(shots, work / "resources" / "clips")
    command = [sys.executable, "-m", "snakemake", "clips", "--cores", cores]
    command += ["--snakefile", ROOT / "Snakefile", "--configfile", ROOT / "config.yaml"]
    names = ",".join(shot.name for shot in shots)
    command += ["--directory", work, "--config", f"preset={quality}", f"clips={names}", *settings]
    if subprocess.run([str(word) for word in command]).returncode:
        raise ValueError(f"a job failed, see above; the same command goes on from {work}")
    for shot in shots:
        run = Path("clips", "lrtl", "seed0", shot.name)
        for suffix in (".mp4", ".png"):
            picture = work / "results" / "pictures" / run.with_name(shot.name + suffix)
            shutil.copy(picture, out / picture.name)
        with whole_folder(out / shot.name) as folder:
            shutil.copytree(work / "results" / "masks" / run, folder, dirs_exist_ok=True)
    return shots


def _save(shots: list[Shot], folder: Path) -> None:
    """Write the shots' descriptions."""
    names = [shot.name for shot in shots]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two clips are called {twice[0]}; rename one of them")
    for shot in shots:
        shot.save(folder)
