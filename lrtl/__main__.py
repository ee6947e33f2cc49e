"""The command line of `lrtl`: one verb per rule of the workflow."""

import argparse
import errno
import os
import signal
import sys
from pathlib import Path
from threading import Event

import cv2
import torch

import lrtl
from lrtl.config import WHOLE, Part, add_flags, from_flags
from lrtl.convert import convert
from lrtl.crf import REFINERS
from lrtl.datasets import DATASETS
from lrtl.datasets.fetch import fetch
from lrtl.datasets.layout import Sequence
from lrtl.figures import comparison, contact_sheet, motion_sheet, overlay
from lrtl.landscape import landscape, landscape_table
from lrtl.masks import write_masks
from lrtl.motion.flow import estimate_flow
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.tracks import track_sequence
from lrtl.objects import write_objects
from lrtl.own import clip_settings, segment_clips
from lrtl.pages import write_page
from lrtl.paper_tables import write_paper_table
from lrtl.plan import as_text, plan
from lrtl.predict import predict_paths, write_foreground
from lrtl.samples import Motion
from lrtl.score import check_sequences, score
from lrtl.settings import SECTIONS, descriptions
from lrtl.speed import measure_speed, write_speed_table
from lrtl.tables import summary, write_tables
from lrtl.train import train
from lrtl.verify import verify


def main() -> int:
    """Run one verb; an error it names ends with status 1 and one line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as by Ctrl-C
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    try:
        arguments.run(arguments)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"lrtl {arguments.verb}: {error}{_remedy(error, arguments)}", file=sys.stderr)
        return 1
    return 0


def _remedy(error: Exception, arguments: argparse.Namespace) -> str:
    """What to do about an error of the operating system, which may not even name its file."""
    out = next((getattr(arguments, name) for name in WRITTEN if hasattr(arguments, name)), "it")
    return {
        errno.ENOSPC: f" for {out}; make room and run again, finished units are kept",
        errno.EDQUOT: f" for {out}; make room and run again, finished units are kept",
        errno.EROFS: f"; make the folder of {out} writable, or write elsewhere",
        errno.EACCES: "; get the right to it, or write elsewhere",
        errno.ENOENT: "; make it, or correct its name",
    }.get(getattr(error, "errno", None), "")


def parser() -> argparse.ArgumentParser:
    """The verbs and their flags; flags of settings are built from the dataclasses' fields."""
    people = "For people: segment, predict, convert, show, plan, score, verify; others for rules."
    top = argparse.ArgumentParser(prog="lrtl", description=lrtl.__doc__, epilog=people)
    top.add_argument("--version", action="version", version=lrtl.__version__)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def add(run, *sections: str, **flags) -> argparse.ArgumentParser:
        name, text = run.__name__.strip("_").replace("_", "-"), run.__doc__
        verb = verbs.add_parser(name, help=text, description=text)
        cores = "cores of this machine to use; all by default"
        verb.add_argument("--threads", type=int, default=os.cpu_count(), help=cores)
        for flag, kind in flags.items():
            if isinstance(kind, list):
                verb.add_argument(f"--{flag}", type=kind[0], nargs="+", required=True)
            else:
                verb.add_argument(f"--{flag}", type=kind, required=flag not in OPTIONAL)
        for section in sections:
            add_flags(verb, SECTIONS[section], descriptions(section))
        verb.set_defaults(run=run)
        return verb

    add(_fetch, name=str, out=Path, mirror=str)
    add(_prepare, dataset=str, sequence=str, archive=Path, out=Path)
    add(_flow, "flow", sequence=Path, out=Path, part=str)
    add(_tracks, "tracks", source=Path, out=Path, part=str)
    motion = {"sequences": [Path], "flow": [Path], "tracks": [Path]}
    add(_train, "network", "losses", "training", **motion, out=Path, seed=int)
    run = {"weights": Path, "backbone-weights": str, "sequence": Path, "flow": Path}
    add(_masks, "merge", **run, masks=Path, components=Path)
    add(_foreground, masks=[Path], components=[Path], out=Path)
    add(_objects, "objects", sequence=Path, masks=Path, tracks=Path, out=Path)
    verb = add(_score, "evaluation", dataset=str)
    verb.add_argument("masks", type=Path, help="a folder of masks, {sequence}/{frame}.png")
    prepared = "folder of prepared sequences; by default results/datasets/DATASET"
    verb.add_argument("--data", type=Path, help=prepared)
    verb.add_argument("--names", help="sequences, joined by commas; by default all with truth")
    verb.add_argument("--components", type=Path, help="a folder of components, for J_oracle")
    written = "CSV file of the scores, a row per frame; by default none is written"
    verb.add_argument("-o", "--out", type=Path, help=written)
    rows = {"rows": [str], "experiments": [str], "as-paper": [str]}
    add(_paper_table, name=str, **rows, scores=[Path], runs=[Path], out=Path)
    add(_table, dataset=str, scores=[Path], runs=[Path], table=Path, sequences=Path)
    add(_landscape, "losses", sequence=Path, tracks=Path, out=Path)
    add(_landscape_table, rows=[Path], out=Path)
    masks = {"masks": Path, "components": Path, "objects": Path}
    add(_pictures, sequence=Path, **masks, overlay=Path, sheet=Path)
    add(_comparison, sequences=[Path], runs=[Path], title=str, out=Path)
    add(_speed, **{"weights": Path, "backbone-weights": str, "sequence": Path, "out": Path})
    add(_speed_table, rows=[Path], out=Path)
    verb = add(_segment, mirror=str)
    verb.add_argument("clips", type=Path, nargs="+", help="videos, folders of frames, or of both")
    verb.add_argument("-o", "--out", type=Path, required=True, help="folder for masks and pictures")
    presets = ("fast", "cpu", "paper")
    verb.add_argument("--quality", default="fast", choices=presets, help="preset of config.yaml")
    verb.add_argument("--frames", default=":", help="FIRST:END of every clip, END left out")
    verb.add_argument("--each", action="store_true", help="train a network on every clip alone")
    verb.add_argument("--components", type=int, help="segments predicted before merging, K")
    verb.add_argument("--size", type=int, nargs=2, help="height and width, multiples of 32 px")
    verb = add(_predict, **{"backbone-weights": str})
    verb.add_argument("trained", type=Path, metavar="run", help="its folder, or its weights")
    verb.add_argument("paths", type=Path, nargs="+", help="images, videos, folders of frames")
    verb.add_argument("-o", "--out", type=Path, required=True, help="folder for masks and pictures")
    verb = add(_convert)
    verb.add_argument("checkpoint", type=Path, help="as released, for instance davis_best_ckpt.pth")
    backbone = "the published dino_vitbase8_pretrain.pth"
    verb.add_argument("--backbone-weights", required=True, help=backbone)
    verb.add_argument("-o", "--out", type=Path, required=True, help="the run's folder, a new one")
    verb = add(_plan)
    verb.add_argument("targets", nargs="+", help="files or rules, as for snakemake")
    verb.add_argument("--config", nargs="+", default=[], help="settings, as for snakemake")
    add(_movi_video, dataset=str, index=int, source=Path, out=Path)
    add(_movi_segment, "movi", video=Path, method=str, out=Path)
    add(_movi_table, videos=[Path], labels=[Path], scores=Path, table=Path)
    add(_movi_landscape, "feasibility", file=Path, rows=Path, figure=Path, masks=Path)
    verb = add(_show)
    verb.add_argument("path", type=Path, help="a product of the pipeline, wherever it lies")
    verb.add_argument("-o", "--out", type=Path, help="the picture, a PNG; by default PATH's name")
    verb.add_argument("--sequence", type=Path, help="the prepared sequence that PATH is of")
    add(_motion_sheet, sequence=Path, flow=Path, tracks=Path, out=Path)
    add(_verify).add_argument("results", type=Path, help="a folder of products")
    return top


WRITTEN = ("out", "overlay", "table", "masks", "rows")  # flags of what a verb makes
OPTIONAL = ("mirror", "archive", "part", "backbone-weights", "source")


def _settings(a: argparse.Namespace, section: str):
    """The settings of a section of the config, from flags."""
    return from_flags(a, SECTIONS[section])


def _fetch(a: argparse.Namespace) -> None:
    """Fetch a published archive or checkpoint."""
    fetch(a.name, a.out, a.mirror)


def _prepare(a: argparse.Namespace) -> None:
    """Lay out the frames and masks of a sequence."""
    _dataset(a.dataset).prepare(a.sequence, a.archive, a.out)


def _dataset(name: str):
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}; one of {', '.join(DATASETS)}")
    return DATASETS[name]


def _flow(a: argparse.Namespace) -> None:
    """Estimate the flow of a sequence at every gap."""
    part = Part.parse(a.part) if a.part else WHOLE
    estimate_flow(Sequence.open(a.sequence), _settings(a, "flow"), a.out, part)


def _tracks(a: argparse.Namespace) -> None:
    """Track the query grid of every frame of a sequence."""
    part = Part.parse(a.part) if a.part else WHOLE
    track_sequence(a.source, _settings(a, "tracks"), a.out, part)


def _train(a: argparse.Namespace) -> None:
    """Train a segmenter on the motion of its sequences."""
    network = _settings(a, "network")
    motions = [
        Motion.load(Sequence.open(s), FlowStore.open(f), TrackStore.open(t), network.input_size)
        for s, f, t in zip(a.sequences, a.flow, a.tracks, strict=True)
    ]
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    losses, training = _settings(a, "losses"), _settings(a, "training")
    train(motions, network, losses, training, a.seed, a.out, stop)


def _masks(a: argparse.Namespace) -> None:
    """Predict components of a sequence and merge them to its foreground."""
    sequence, flow = Sequence.open(a.sequence), FlowStore.open(a.flow)
    merge = _settings(a, "merge")
    write_masks(a.weights.parent, sequence, flow, merge, a.masks, a.components, a.backbone_weights)


def _foreground(a: argparse.Namespace) -> None:
    """Say how much of each component became foreground in the sequences of a training."""
    write_foreground(a.masks, a.components, a.out)


def _objects(a: argparse.Namespace) -> None:
    """Part the foreground of a sequence into objects whose ids stay the same."""
    sequence, tracks = Sequence.open(a.sequence), TrackStore.open(a.tracks)
    write_objects(sequence, a.masks, tracks, _settings(a, "objects"), a.out)


def _score(a: argparse.Namespace) -> None:
    """Score a folder of masks in DAVIS's layout: J and F, their recall and decay."""
    known = _dataset(a.dataset).SCORED
    names = a.names.split(",") if a.names else known
    data = a.data or Path("results/datasets") / a.dataset
    if not data.is_dir():
        remedy = f"make it with `snakemake {data}/SEQUENCE ...`, or name another with --data"
        raise ValueError(f"there is no folder {data} of prepared sequences; {remedy}")
    check_sequences(names, known, [data, a.masks, *([a.components] if a.components else [])])
    parts = [a.components / name for name in names] if a.components else None
    refine = REFINERS[_settings(a, "evaluation").crf]
    folders = [data / name for name in names], [a.masks / name for name in names]
    print(summary(score(*folders, parts, a.out, refine)))


def _table(a: argparse.Namespace) -> None:
    """Average scores over seeds, beside the papers' figures."""
    write_tables(a.dataset, a.scores, a.runs, a.table, a.sequences)
    write_page(a.table)
    write_page(a.sequences)


def _paper_table(a: argparse.Namespace) -> None:
    """Repeat a table of a paper, its figures beside."""
    write_paper_table(a.name, a.rows, a.experiments, a.as_paper, a.scores, a.runs, a.out)
    write_page(a.out)


def _landscape(a: argparse.Namespace) -> None:
    """Compare the trajectory loss of the true partition with that of others."""
    landscape(Sequence.open(a.sequence), TrackStore.open(a.tracks), _settings(a, "losses"), a.out)


def _landscape_table(a: argparse.Namespace) -> None:
    """Average landscapes over frames and sequences."""
    landscape_table(a.rows, a.out)
    write_page(a.out)


def _pictures(a: argparse.Namespace) -> None:
    """Draw the overlay video and the contact sheet of a sequence."""
    sequence = Sequence.open(a.sequence)
    overlay(sequence, a.masks, a.overlay)
    write_page(a.overlay)
    contact_sheet(sequence, a.masks, a.components, a.objects, a.sheet)


def _comparison(a: argparse.Namespace) -> None:
    """Draw the foreground of several runs side by side."""
    comparison([Sequence.open(sequence) for sequence in a.sequences], a.runs, a.title, a.out)


def _speed(a: argparse.Namespace) -> None:
    """Measure the frames per second of a trained network."""
    measure_speed(a.weights.parent, Sequence.open(a.sequence), a.out, a.backbone_weights)


def _speed_table(a: argparse.Namespace) -> None:
    """Collect frames per second, a row per network."""
    write_speed_table(a.rows, a.out)
    write_page(a.out)


def _segment(a: argparse.Namespace) -> None:
    """Segment what moves in your own clips: masks, overlay videos and contact sheets."""
    first, _, end = a.frames.partition(":")
    if ":" not in a.frames or not all(part == "" or part.isdigit() for part in (first, end)):
        raise ValueError(f"--frames is {a.frames!r}, expected FIRST:END, for instance 0:100")
    frames = int(first or 0), int(end) if end else None
    settings = clip_settings(a.components, a.size)
    segment_clips(
        a.clips, a.out, a.quality, frames, settings, a.threads, a.mirror, a.each, parser()
    )


def _predict(a: argparse.Namespace) -> None:
    """Apply a trained segmenter to images, videos and folders of frames, without their flow."""
    predict_paths(a.trained, a.paths, a.out, a.backbone_weights)


def _convert(a: argparse.Namespace) -> None:
    """Turn a checkpoint that the authors of LRTL released into a run."""
    convert(a.checkpoint, a.out, a.backbone_weights)


def _plan(a: argparse.Namespace) -> None:
    """Say what targets will take, before anything runs: hours, disk and memory of each rule."""
    settings = ["--config", *a.config] if a.config else []
    print(as_text(plan([*a.targets, *settings], parser())))


def _movi_video(a: argparse.Namespace) -> None:
    """Render or read a video of rigid objects."""
    from lrtl.datasets.movi import prepare  # SciPy takes half a second to import

    prepare(a.dataset, a.index, a.source, a.out)


def _movi_segment(a: argparse.Namespace) -> None:
    """Segment a video by its exact trajectories."""
    from lrtl.movi import segment_video  # scikit-learn takes a second to import

    segment_video(a.video, a.method, _settings(a, "movi"), a.out)


def _movi_table(a: argparse.Namespace) -> None:
    """Score the segmentations of videos by exact trajectories."""
    from lrtl.movi_table import write_movi_table

    write_movi_table(a.videos, a.labels, a.scores, a.table)
    write_page(a.table)


def _movi_landscape(a: argparse.Namespace) -> None:
    """Draw the trajectory loss of corrupted ground truth."""
    from lrtl.feasibility import feasibility  # matplotlib takes a second to import

    feasibility(a.file, _settings(a, "feasibility"), a.rows, a.figure, a.masks)


def _show(a: argparse.Namespace) -> None:
    """Draw any product of the pipeline: frames, motion, masks, training curves, scores, tables."""
    from lrtl.show import show  # matplotlib takes a second to import

    print(show(a.path, a.out, a.sequence))


def _motion_sheet(a: argparse.Namespace) -> None:
    """Draw the flow and the tracks of a sequence."""
    sequence, flow, tracks = Sequence.open(a.sequence), FlowStore.open(a.flow), a.tracks
    motion_sheet(sequence, flow, TrackStore.open(tracks), a.out)


def _verify(a: argparse.Namespace) -> None:
    """Check every product of a folder against its checksum."""
    counts = verify(a.results)
    if counts["damaged"] or counts["missing"]:
        raise ValueError(f"{a.results} is not as it was written; see the files above")


if __name__ == "__main__":
    sys.exit(main())
