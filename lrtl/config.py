"""The settings of each stage: frozen dataclasses that validate themselves.

Defaults live in `config.yaml` alone; its sections carry the names of the classes' stages, and the
command line's flags are built from the fields.
"""

import argparse
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Self, get_args, get_origin

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

TRAIN_PRECISIONS = ("float32", "bfloat16")  # float16 would need its gradients scaled
CENTRES = ("none", "median")
PRECISIONS = (*TRAIN_PRECISIONS, "float16")
RIGID = ("movi", "movi_mini")  # data sets of rigid objects, with exact trajectories
SEGMENTERS = ("kmeans", "ssc", "lrr", "lsr", "lrtl")  # of their videos


def _require(condition: bool, name: str, value: Any, expected: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value!r}, expected {expected}")


class Part(NamedTuple):
    """One of several jobs that share the frames of a sequence; INDEX/COUNT from 1/COUNT on."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read for instance `2/4`."""
        index, _, count = text.partition("/")
        valid = index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)
        _require(valid, "part", text, "INDEX/COUNT, from 1/COUNT to COUNT/COUNT")
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
        from lrtl.motion.flow import ESTIMATORS

        _require(self.estimator in ESTIMATORS, "estimator", self.estimator, _one_of(ESTIMATORS))
        _require(min(self.size) >= 16, "size", self.size, "height and width of at least 16 px")
        _require(0 not in self.gaps and bool(self.gaps), "gaps", self.gaps, "frame gaps, not 0")
        _require(self.updates >= 1, "updates", self.updates, "at least 1")
        _require(self.precision in PRECISIONS, "precision", self.precision, _one_of(PRECISIONS))
        if self.estimator != "dis":
            _require(self.weights is not None, "weights", None, f"a file for {self.estimator}")


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
        from lrtl.motion.tracks import QUERIES, TRACKERS
        from lrtl.motion.windows import BOUNDARIES

        _require(self.tracker in TRACKERS, "tracker", self.tracker, _one_of(TRACKERS))
        _require(self.boundary in BOUNDARIES, "boundary", self.boundary, _one_of(BOUNDARIES))
        _require(self.queries in QUERIES, "queries", self.queries, _one_of(QUERIES))
        _require(0 < self.coverage <= 1, "coverage", self.coverage, "a share of the cells, 0 to 1")
        _require(self.radius >= 1, "radius", self.radius, "at least 1 frame")
        _require(self.stride >= 1, "stride", self.stride, "at least 1 px")
        _require(min(self.size) >= 16, "size", self.size, "height and width of at least 16 px")
        _require(self.auxiliary in AUXILIARY, "auxiliary", self.auxiliary, _one_of(AUXILIARY))
        _require(self.points_per_call >= 1, "points_per_call", self.points_per_call, "at least 1")
        _require(self.precision in PRECISIONS, "precision", self.precision, _one_of(PRECISIONS))
        if self.tracker != "chained_flow":
            _require(self.weights is not None, "weights", None, f"a file for {self.tracker}")


@dataclass(frozen=True)
class NetworkConfig:
    """The segmentation network."""

    network: str
    width: int
    components: int
    input_size: tuple[int, int]

    def __post_init__(self) -> None:
        from lrtl.models import NETWORKS

        _require(self.network in NETWORKS, "network", self.network, _one_of(NETWORKS))
        _require(self.width >= 1, "width", self.width, "at least 1 channel")
        _require(2 <= self.components <= 255, "components", self.components, "2 to 255")
        multiple = all(side > 0 and side % 16 == 0 for side in self.input_size)
        _require(multiple, "input_size", self.input_size, "multiples of 16 px")


@dataclass(frozen=True)
class LossConfig:
    """The weighted sum of losses, and the motion that goes into it."""

    flow_weight: float
    trajectory_weight: float
    smoothness_weight: float
    flow_size: tuple[int, int]
    flow_clip: float
    flow_centre: str
    rank: int
    track_count: int
    track_visibility: float
    track_filter: int

    def __post_init__(self) -> None:
        _require(self.flow_centre in CENTRES, "flow_centre", self.flow_centre, _one_of(CENTRES))
        weights = (self.flow_weight, self.trajectory_weight, self.smoothness_weight)
        _require(
            min(weights) >= 0 < max(weights), "loss weights", weights, "one above 0, none below"
        )
        _require(self.rank >= 1, "rank", self.rank, "at least 1")
        _require(self.track_count > self.rank, "track_count", self.track_count, "more than rank")
        share = self.track_visibility
        _require(0 <= share <= 1, "track_visibility", share, "a share of the window, 0 to 1")
        _require(self.track_filter % 2 == 1, "track_filter", self.track_filter, "an odd number")


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation: steps, batch, learning rate and averaging."""

    steps: int
    quads: int
    quad_offset: int
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
        for name in ("steps", "quads", "quad_offset", "ema_every", "checkpoint_every"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.workers >= 0, "workers", self.workers, "0 or more processes")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        known = TRAIN_PRECISIONS
        _require(self.precision in known, "precision", self.precision, _one_of(known))
        _require(0 <= self.flip <= 1, "flip", self.flip, "a probability")
        _require(self.decay_steps >= self.steps, "decay_steps", self.decay_steps, "at least steps")


@dataclass(frozen=True)
class MergeConfig:
    """Merging K components to foreground and background."""

    affinity: str

    def __post_init__(self) -> None:
        from lrtl.merge import AFFINITIES

        _require(self.affinity in AFFINITIES, "affinity", self.affinity, _one_of(AFFINITIES))


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
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(2 <= self.components <= 255, "components", self.components, "2 to 255")
        _require(self.tracks > self.rank, "tracks", self.tracks, "more than rank")
        _require(min(self.clusters) >= 2, "clusters", self.clusters, "2 or more each")
        for name in ("learning_rate", "ssc_alpha", "lrr_penalty", "lsr_penalty"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        kinds = ("linear", "affine")
        _require(self.ssc_subspaces in kinds, "ssc_subspaces", self.ssc_subspaces, _one_of(kinds))
        _require(self.lrr_growth > 1, "lrr_growth", self.lrr_growth, "above 1")


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
        _require(self.tracks > self.rank >= 1, "tracks", self.tracks, "more than rank")
        _require(self.trials >= 1, "trials", self.trials, "at least 1")
        within = all(0 <= share <= 1 for share in self.noise)
        _require(within, "noise", self.noise, "probabilities")
        _require(min(self.temperature) > 0, "temperature", self.temperature, "above 0")


def _one_of(choices) -> str:
    return "one of " + ", ".join(choices)


def add_flags(parser: argparse.ArgumentParser, stage: type) -> None:
    """Add a flag for each field of a stage's settings."""
    for field in fields(stage):
        flag = "--" + field.name.replace("_", "-")
        required = field.default is MISSING
        if get_origin(field.type) is tuple:
            kind, rest = get_args(field.type)
            count = "+" if rest is ... else 2
            parser.add_argument(flag, type=kind, nargs=count, required=required)
        else:
            kind = str if field.type == str | None else field.type
            parser.add_argument(flag, type=kind, required=required)


def from_flags(arguments: argparse.Namespace, stage: type):
    """Build a stage's settings from parsed flags."""
    values = {field.name: getattr(arguments, field.name) for field in fields(stage)}
    return stage(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


SECTIONS = ("flow", "tracks", "network", "losses", "training", "merge", "movi", "feasibility")


def resolve(config: dict, dataset: str, experiment: str | None = None) -> dict[str, dict]:
    """Settings of a dataset's stages: defaults, overlaid by preset, dataset and experiment.

    Args:
        config: the loaded and validated `config.yaml`.
        dataset: a key of its `datasets`.
        experiment: a key of its `experiments`, for the stages from training on.

    Returns:
        Section name to key to value.

    Raises:
        ValueError: an unknown preset, dataset or experiment; the known ones are listed.
    """
    layers = [config, _look_up(config, "presets", config["preset"])]
    layers.append(_look_up(config, "datasets", dataset))
    if experiment is not None:
        layers.append(_look_up(config, "experiments", experiment))
    sections: dict[str, dict] = {name: {} for name in SECTIONS}
    for layer in layers:
        for name in SECTIONS:
            sections[name] |= layer.get(name) or {}
    return sections


def check(config: dict, schema: str | Path) -> None:
    """Stop at the first setting that is not right.

    Args:
        config: the loaded `config.yaml` with what the command line overlays.
        schema: `config.schema.yaml`.

    Raises:
        ValueError: the setting is named, with what is expected.
    """
    rules = yaml.safe_load(Path(schema).read_text())
    error = best_match(Draft202012Validator(rules).iter_errors(config))
    if error is not None:
        remedy = "; numbers with an exponent need a point, 5.0e-5" if _is_number(error) else ""
        where = ".".join(["config", *map(str, error.path)])
        raise ValueError(f"{where}: {error.message}{remedy}")
    for section in SECTIONS:
        missing = rules["$defs"][section]["properties"].keys() - config[section]
        _require(not missing, f"config.{section}", sorted(config[section]), f"also {missing}")
    mirror = config["mirror"]
    if mirror and "://" not in mirror and not Path(mirror).is_dir():
        raise ValueError(f"config.mirror: there is no folder {mirror}; give a folder or a URL")
    for dataset, experiments in config["tables"].items():
        for experiment in experiments:
            settings = resolve(config, dataset, experiment)
        chained, gaps = settings["tracks"]["tracker"] == "chained_flow", settings["flow"]["gaps"]
        fits = not chained or {-1, 1} <= set(gaps)
        _require(fits, f"config.flow.gaps of {dataset}", gaps, "-1 and 1 too, for chained_flow")


def _is_number(error: ValidationError) -> bool:
    """Whether a value of the wrong type is text that reads as a number."""
    try:
        return error.validator == "type" and isinstance(float(error.instance), float)
    except (TypeError, ValueError):
        return False


def run_seeds(config: dict, dataset: str) -> list[int]:
    """Seeds of a dataset's runs: its own, else the preset's, else the default."""
    layers = [_look_up(config, "datasets", dataset), _look_up(config, "presets", config["preset"])]
    return next(layer["seeds"] for layer in [*layers, config] if "seeds" in layer)


def _look_up(config: dict, group: str, name: str) -> dict:
    if name not in config[group]:
        raise ValueError(f"unknown {group[:-1]} {name!r} in the config; {_one_of(config[group])}")
    return config[group][name]


def sequence_names(config: dict, available: tuple[str, ...]) -> list[str]:
    """The sequences of a dataset that `config["sequences"]` leaves, in the dataset's order.

    Raises:
        ValueError: a name in the restriction is none of `available`.
    """
    wanted = config["sequences"]
    if wanted is None:
        return list(available)
    wanted = wanted.split(",") if isinstance(wanted, str) else wanted
    for name in wanted:
        if name not in available:
            raise ValueError(f"unknown sequence {name!r} in the config; {_one_of(available)}")
    return [name for name in available if name in wanted]


def to_flags(section: dict) -> str:
    """A section of the config as command-line flags, lists as several values."""
    flags = []
    for key, value in section.items():
        values = value if isinstance(value, list) else [value]
        flags.append(f"--{key.replace('_', '-')} {' '.join(map(str, values))}")
    return " ".join(flags)
