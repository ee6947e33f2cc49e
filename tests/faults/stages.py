"""The stages of the pipeline as command lines, on a sequence of eight small frames."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from lrtl.config import to_flags
from lrtl.settings import resolve

ROOT = Path(__file__).parents[2]
FRAMES, SIZE = 8, [48, 80]
TINY = {
    "flow": {"size": SIZE},
    "tracks": {"size": SIZE, "radius": 2, "stride": 4, "auxiliary": "none"},
    "network": {"width": 4, "components": 3, "input_size": SIZE},
    "losses": {"flow_size": SIZE, "track_count": 64, "context": 2, "track_visibility": 0.0},
    "training": {"steps": 20, "quads": 1, "quad_offset": 2, "checkpoint_every": 5},
    "objects": {"gap": 2},
}
RUN = "davis/lrtl/seed0"


def flags(*sections: str) -> list[str]:
    """Settings of config.yaml, with those of `TINY`, as flags."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"preset": "fast"}
    settings = resolve(config, "demo", "lrtl")
    values = [settings[name] | TINY.get(name, {}) for name in sections]
    return " ".join(map(to_flags, values)).split()


@dataclass(frozen=True)
class Stage:
    """A command line, relative to its folder, and the function called once a unit of its work."""

    name: str
    command: str
    settings: tuple[str, ...]
    inputs: tuple[str, ...]
    products: tuple[str, ...]
    unit: str = "lrtl.__main__.main"  # the product itself
    calls: int = 1  # of the function in a unit

    @property
    def arguments(self) -> list[str]:
        """What follows `lrtl` on the command line."""
        return [*self.command.split(), "--threads", "1", *flags(*self.settings)]


ARCHIVE, SEQUENCE, FLOW, TRACKS = "DAVIS-data.zip", "datasets/dog", "flow.zarr", "tracks.zarr"
SCORES, TABLES = f"scores/{RUN}.csv", ("table.csv", "table.html", "sequences.csv", "sequences.html")
MOTION = f"--sequence {SEQUENCE} --flow {FLOW}"
MASKS = ("masks/dog", "components/dog")
_STAGES = (
    Stage(
        "fetch",
        f"fetch --name {ARCHIVE} --out {ARCHIVE} --mirror mirror",
        (),
        ("mirror",),
        (ARCHIVE,),
    ),
    Stage(
        "prepare",
        f"prepare --dataset davis --sequence dog --archive {ARCHIVE} --out {SEQUENCE}",
        (),
        (ARCHIVE,),
        (SEQUENCE,),
    ),
    Stage(
        "flow",
        f"flow --sequence {SEQUENCE} --out {FLOW}",
        ("flow",),
        (SEQUENCE,),
        (FLOW,),
        "lrtl.motion.flow.FlowStore.write",
    ),
    Stage(
        "tracks",
        f"tracks --source {FLOW} --out {TRACKS}",
        ("tracks",),
        (FLOW,),
        (TRACKS,),
        "lrtl.motion.tracks.TrackStore.write",
    ),
    Stage(
        "train",
        f"train --sequences {SEQUENCE} --flow {FLOW} --tracks {TRACKS} --out {RUN} --seed 0",
        ("network", "losses", "training"),
        (SEQUENCE, FLOW, TRACKS),
        (RUN,),
        "lrtl.train.loss_terms",
        TINY["training"]["checkpoint_every"],
    ),
    Stage(
        "segment",
        f"masks {MOTION} --weights {RUN}/weights.safetensors --masks masks/dog "
        "--components components/dog",
        ("merge",),
        (SEQUENCE, FLOW, RUN),
        MASKS,
    ),
    Stage(
        "objects",
        f"objects --sequence {SEQUENCE} --masks masks/dog --tracks {TRACKS} --out objects/dog",
        ("objects",),
        (SEQUENCE, "masks/dog", TRACKS),
        ("objects/dog",),
    ),
    Stage(
        "score",
        "score masks --dataset davis --data datasets --names dog --components components "
        f"--out {SCORES}",
        (),
        (SEQUENCE, *MASKS),
        (SCORES,),
    ),
    Stage(
        "table",
        f"table --dataset davis --scores {SCORES} --runs {RUN}/config.yaml --table table.csv "
        "--sequences sequences.csv",
        (),
        (SCORES, RUN),
        TABLES,
    ),
)
STAGES = {stage.name: stage for stage in _STAGES}
