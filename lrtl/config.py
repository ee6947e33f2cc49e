"""The settings of each stage: frozen dataclasses that validate themselves.

Defaults live in `config.yaml` alone; its sections carry the names of the classes' stages, and the
command line's flags are built from the fields.
"""

import argparse
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from typing import Any, NamedTuple, Self, get_args, get_origin

from lrtl.methods import ESTIMATORS, NETWORKS, TRACKERS, Method

TRAIN_PRECISIONS = ("float32", "bfloat16")  # float16 would need its gradients scaled
CENTRES = ("none", "median")
OVER_COMPONENTS = ("mean", "sum")
CLUSTERED = 16  # components at most whose 2^K groupings correlation clustering compares
PRECISIONS = (*TRAIN_PRECISIONS, "float16")


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Raise ValueError that names a setting, unless a condition holds."""
    if not condition:
        raise ValueError(f"{name} is {value!r}, expected {expected}")


def require_weights(methods: dict[str, Method], method: str, name: str, file: str | None) -> None:
    """Raise ValueError unless the published weights that a method needs are given."""
    given = methods[method].weights is None or file is not None
    require(given, name, file, f"a file for {method}")


class Part(NamedTuple):
    """One of several jobs that share the frames of a sequence; INDEX/COUNT from 1/COUNT on."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read for instance `2/4`."""
        index, _, count = text.partition("/")
        valid = index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)
        require(valid, "part", text, "INDEX/COUNT, from 1/COUNT to COUNT/COUNT")
        return cls(int(index), int(count))

    def of(self, frames: int) -> range:
        """The frames of this part: neighbours, which share what is computed once a frame."""
        return range((self.index - 1) * frames // self.count, self.index * frames // self.count)


WHOLE = Part(1, 1)


@dataclass(frozen=True)
class FlowConfig:
    """Optical flow: what estimates it, between which frames, at what size."""

    estimator: str
    size: tuple[int, int]
    gaps: tuple[int, ...]
    updates: int
    precision: str
    weights: str | None = None

    def __post_init__(self) -> None:
        require(self.estimator in ESTIMATORS, "estimator", self.estimator, one_of(ESTIMATORS))
        require(min(self.size) >= 16, "size", self.size, "height and width of at least 16 px")
        require(0 not in self.gaps and bool(self.gaps), "gaps", self.gaps, "frame gaps, not 0")
        require(self.updates >= 1, "updates", self.updates, "at least 1")
        require(self.precision in PRECISIONS, "precision", self.precision, one_of(PRECISIONS))
        require_weights(ESTIMATORS, self.estimator, "weights", self.weights)


@dataclass(frozen=True)
class TracksConfig:
    """Point tracks: what tracks them, from which points, over how many frames."""

    tracker: str
    size: tuple[int, int]
    radius: int
    stride: int
    boundary: str
    queries: str
    coverage: float
    auxiliary: str
    points_per_call: int
    precision: str
    weights: str | None = None

    def __post_init__(self) -> None:
        from lrtl.motion.grids import AUXILIARY
        from lrtl.motion.tracks import QUERIES
        from lrtl.motion.windows import BOUNDARIES

        require(self.tracker in TRACKERS, "tracker", self.tracker, one_of(TRACKERS))
        require(self.boundary in BOUNDARIES, "boundary", self.boundary, one_of(BOUNDARIES))
        require(self.queries in QUERIES, "queries", self.queries, one_of(QUERIES))
        require(0 < self.coverage <= 1, "coverage", self.coverage, "a share of the cells, 0 to 1")
        require(self.radius >= 1, "radius", self.radius, "at least 1 frame")
        require(self.stride >= 1, "stride", self.stride, "at least 1 px")
        require(min(self.size) >= 16, "size", self.size, "height and width of at least 16 px")
        require(self.auxiliary in AUXILIARY, "auxiliary", self.auxiliary, one_of(AUXILIARY))
        require(self.points_per_call >= 1, "points_per_call", self.points_per_call, "at least 1")
        require(self.precision in PRECISIONS, "precision", self.precision, one_of(PRECISIONS))
        require_weights(TRACKERS, self.tracker, "weights", self.weights)


@dataclass(frozen=True)
class NetworkConfig:
    """The segmentation network."""

    network: str
    width: int
    components: int
    input_size: tuple[int, int]
    decoder: str
    backbone_weights: str | None = None  # a published file

    def __post_init__(self) -> None:
        from lrtl.models.maskformer import UPSAMPLING

        require(self.network in NETWORKS, "network", self.network, one_of(NETWORKS))
        require(self.width >= 1, "width", self.width, "at least 1 channel")
        require(2 <= self.components <= 255, "components", self.components, "2 to 255")
        require(self.decoder in UPSAMPLING, "decoder", self.decoder, one_of(UPSAMPLING))
        multiple = 32 if NETWORKS[self.network].weights else 16  # of a backbone, or by itself
        fits = all(side > 0 and side % multiple == 0 for side in self.input_size)
        require(fits, "input_size", self.input_size, f"multiples of {multiple} px")
        require_weights(NETWORKS, self.network, "backbone_weights", self.backbone_weights)


@dataclass(frozen=True)
class LossConfig:
    """The weighted sum of losses, and the motion that goes into it."""

    flow_weight: float
    trajectory_weight: float
    smoothness_weight: float
    reconstruction_weight: float
    perspective_weight: float
    track_flow_weight: float
    flow_loss: str
    flow_model: str
    over_components: str
    smoothness_ramp: int
    flow_size: tuple[int, int]
    flow_clip: float
    flow_centre: str
    rank: int
    track_count: int
    track_visibility: float
    track_filter: int
    neighbours: int
    context: int

    def __post_init__(self) -> None:
        from lrtl.losses.flow import CONVENTIONS, MODELS

        require(self.flow_centre in CENTRES, "flow_centre", self.flow_centre, one_of(CENTRES))
        require(self.flow_loss in CONVENTIONS, "flow_loss", self.flow_loss, one_of(CONVENTIONS))
        require(self.flow_model in MODELS, "flow_model", self.flow_model, one_of(MODELS))
        known = OVER_COMPONENTS
        require(
            self.over_components in known, "over_components", self.over_components, one_of(known)
        )
        require(
            self.smoothness_ramp >= 0, "smoothness_ramp", self.smoothness_ramp, "0 or more steps"
        )
        weights = [getattr(self, f.name) for f in fields(self) if f.name.endswith("_weight")]
        require(
            min(weights) >= 0 < max(weights), "loss weights", weights, "one above 0, none below"
        )
        require(self.rank >= 1, "rank", self.rank, "at least 1")
        require(self.track_count > self.rank, "track_count", self.track_count, "more than rank")
        share = self.track_visibility
        require(0 <= share <= 1, "track_visibility", share, "a share of the window, 0 to 1")
        require(self.track_filter % 2 == 1, "track_filter", self.track_filter, "an odd number")
        require(self.neighbours in (0, 1), "neighbours", self.neighbours, "0 or 1 frames")
        require(self.context >= 1, "context", self.context, "at least 1 frame")


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation: steps, batch, learning rate and averaging."""

    steps: int
    quads: int
    quad_gaps: tuple[int, ...]
    quad_offset: int
    flows_per_image: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    decay_steps: int
    decay_power: float
    gradient_clip: float
    ema_power: float
    ema_warmup: int
    ema_every: int
    flip: float
    precision: str
    checkpoint_every: int
    workers: int

    def __post_init__(self) -> None:
        for name in ("steps", "quads", "quad_offset", "checkpoint_every"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        positive = bool(self.quad_gaps) and min(self.quad_gaps) >= 1
        require(positive, "quad_gaps", self.quad_gaps, "frame gaps of at least 1")
        require(self.workers >= 0, "workers", self.workers, "0 or more processes")
        require(self.ema_every >= 0, "ema_every", self.ema_every, "0, which is off, or more steps")
        flows = self.flows_per_image
        require(flows in (1, 2), "flows_per_image", flows, "1 or 2")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        known = TRAIN_PRECISIONS
        require(self.precision in known, "precision", self.precision, one_of(known))
        require(0 <= self.flip <= 1, "flip", self.flip, "a probability")
        require(self.decay_steps >= self.steps, "decay_steps", self.decay_steps, "at least steps")


@dataclass(frozen=True)
class MergeConfig:
    """Merging K components to foreground and background."""

    affinity: str
    affinity_floor: float
    grouping: str
    decision: str
    still: float
    affinity_weights: str | None = None

    def __post_init__(self) -> None:
        from lrtl.affinity import AFFINITIES
        from lrtl.merge import DECISIONS, GROUPINGS

        require(self.affinity in AFFINITIES, "affinity", self.affinity, one_of(AFFINITIES))
        floor = self.affinity_floor
        require(0 < floor < 1, "affinity_floor", floor, "a cosine between 0 and 1")
        require(self.grouping in GROUPINGS, "grouping", self.grouping, one_of(GROUPINGS))
        require(self.decision in DECISIONS, "decision", self.decision, one_of(DECISIONS))
        require(self.still >= 0, "still", self.still, "0 px or more")
        if self.affinity != "motion":
            expected = f"a file for {self.affinity}"
            require(self.affinity_weights is not None, "affinity_weights", None, expected)


@dataclass(frozen=True)
class ObjectsConfig:
    """Foreground masks to objects whose ids last."""

    smallest: float
    gap: int
    overlap: float
    shortest: int

    def __post_init__(self) -> None:
        require(0 <= self.smallest < 1, "smallest", self.smallest, "a share of the frame, below 1")
        require(0 < self.overlap <= 1, "overlap", self.overlap, "a share above 0, at most 1")
        for name in ("gap", "shortest"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1 frame")


@dataclass(frozen=True)
class EvaluationConfig:
    """What is scored beside the masks as they are."""

    crf: str = "none"

    def __post_init__(self) -> None:
        from lrtl.crf import REFINERS

        require(self.crf in REFINERS, "crf", self.crf, one_of(REFINERS))


@dataclass(frozen=True)
class MoviConfig:
    """Segmenting single videos by exact trajectories: the trajectory loss and its baselines."""

    every: int
    components: int
    width: int
    steps: int
    batch: int
    tracks: int
    rank: int
    learning_rate: float
    weight_decay: float
    clusters: tuple[int, ...]
    stride: int
    ssc_alpha: float
    ssc_subspaces: str
    lrr_penalty: float
    lrr_growth: float
    lrr_iterations: int
    lsr_penalty: float

    def __post_init__(self) -> None:
        for name in ("every", "width", "steps", "batch", "stride", "lrr_iterations", "rank"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(2 <= self.components <= 255, "components", self.components, "2 to 255")
        require(self.tracks > self.rank, "tracks", self.tracks, "more than rank")
        require(min(self.clusters) >= 2, "clusters", self.clusters, "2 or more each")
        for name in ("learning_rate", "ssc_alpha", "lrr_penalty", "lsr_penalty"):
            require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        kinds = ("linear", "affine")
        require(self.ssc_subspaces in kinds, "ssc_subspaces", self.ssc_subspaces, one_of(kinds))
        require(self.lrr_growth > 1, "lrr_growth", self.lrr_growth, "above 1")


@dataclass(frozen=True)
class FeasibilityConfig:
    """The trajectory loss of corrupted ground-truth masks of one frame."""

    video: int
    frame: int
    tracks: int
    rank: int
    trials: int
    logit: float
    noise: tuple[float, ...]
    temperature: tuple[float, ...]
    structure: tuple[int, ...]

    def __post_init__(self) -> None:
        require(self.tracks > self.rank >= 1, "tracks", self.tracks, "more than rank")
        require(self.trials >= 1, "trials", self.trials, "at least 1")
        within = all(0 <= share <= 1 for share in self.noise)
        require(within, "noise", self.noise, "probabilities")
        require(min(self.temperature) > 0, "temperature", self.temperature, "above 0")


def one_of(choices: Iterable[str]) -> str:
    """Name the choices there are."""
    return "one of " + ", ".join(choices)


def add_flags(
    parser: argparse.ArgumentParser, stage: type, about: dict[str, str] | None = None
) -> None:
    """Add a flag for each field of a stage's settings; `about` has a help text by field."""
    for field in fields(stage):
        flag, text = "--" + field.name.replace("_", "-"), (about or {}).get(field.name)
        required = field.default is MISSING
        if get_origin(field.type) is tuple:
            kind, rest = get_args(field.type)
            count = "+" if rest is ... else 2
            parser.add_argument(flag, type=kind, nargs=count, required=required, help=text)
        else:
            kind = next(iter(get_args(field.type)), field.type)  # of `int | None`, int
            default = None if required else field.default
            parser.add_argument(flag, type=kind, required=required, default=default, help=text)


def from_flags(arguments: argparse.Namespace, stage: type):
    """Build a stage's settings from parsed flags."""
    values = {field.name: getattr(arguments, field.name) for field in fields(stage)}
    return stage(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def to_flags(section: dict) -> str:
    """A section of the config as command-line flags, lists as several values."""
    flags = []
    for key, value in section.items():
        values = value if isinstance(value, list) else [value]
        flags.append(f"--{key.replace('_', '-')} {' '.join(map(str, values))}")
    return " ".join(flags)
