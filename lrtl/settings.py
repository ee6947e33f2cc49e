"""`config.yaml`: checked as a whole, and resolved to settings of a data set and an experiment."""

from functools import cache
from itertools import product
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from lrtl.config import (
    CLUSTERED,
    EvaluationConfig,
    FeasibilityConfig,
    FlowConfig,
    LossConfig,
    MergeConfig,
    MoviConfig,
    NetworkConfig,
    ObjectsConfig,
    TracksConfig,
    TrainConfig,
    one_of,
    require,
)
from lrtl.datasets import DATASETS, RIGID
from lrtl.methods import ESTIMATORS, NETWORKS, TRACKERS

SECTIONS = {
    "flow": FlowConfig,
    "tracks": TracksConfig,
    "network": NetworkConfig,
    "losses": LossConfig,
    "training": TrainConfig,
    "merge": MergeConfig,
    "objects": ObjectsConfig,
    "evaluation": EvaluationConfig,
    "movi": MoviConfig,
    "feasibility": FeasibilityConfig,
}
SCHEMA = Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml"  # of the checkout
# Keys of the config whose values are names of lrtl/methods.py; the schema need not repeat them.
NAMED = (
    ("flow", "estimator", ESTIMATORS),
    ("tracks", "tracker", TRACKERS),
    ("network", "network", NETWORKS),
)


def resolve(config: dict, dataset: str, experiment: str | None = None) -> dict[str, dict]:
    """Settings of a dataset's stages: defaults, overlaid by preset, dataset and experiment.

    The context of training is the tracks' radius unless stated; where training reaches further than
    that radius, the tracks do too.

    Args:
        config: the loaded and validated `config.yaml`.
        dataset: its name; what differs for it is under `datasets`, if anything does.
        experiment: a key of its `experiments`, for the stages from training on; with a key of its
            `merges` after a point, merged in that way.

    Returns:
        Section name to key to value.

    Raises:
        ValueError: an unknown preset, dataset, experiment or merge; the known ones are listed.
    """
    layers = [config, _look_up(config, "presets", config["preset"])]
    layers.append(_of_dataset(config, dataset))
    if experiment is not None:
        name, _, merge = experiment.partition(".")
        layers.append(_look_up(config, "experiments", name))
        layers.append({"merge": _look_up(config, "merges", merge)} if merge else {})
    sections: dict[str, dict] = {name: {} for name in SECTIONS}
    for layer in layers:
        for name in SECTIONS:
            sections[name] |= layer.get(name) or {}
    losses, tracks = sections["losses"], sections["tracks"]
    losses["context"] = losses["context"] or tracks["radius"]
    radii = [tracks["radius"], losses["context"] + losses["neighbours"]]
    if experiment is not None:  # a store of the dataset's serves experiments with less
        radii.append(resolve(config, dataset)["tracks"]["radius"])
    tracks["radius"] = max(radii)
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
    for section, key, methods in NAMED:
        rules["$defs"][section]["properties"][key]["enum"] = list(methods)
    error = best_match(Draft202012Validator(rules).iter_errors(config))
    if error is not None:
        remedy = "; numbers with an exponent need a point, 5.0e-5" if _is_number(error) else ""
        where = ".".join(["config", *map(str, error.path)])
        raise ValueError(f"{where}: {error.message}{remedy}")
    for section in SECTIONS:
        missing = rules["$defs"][section]["properties"].keys() - config[section]
        require(not missing, f"config.{section}", sorted(config[section]), f"also {missing}")
    mirror = config["mirror"]
    if mirror and "://" not in mirror and not Path(mirror).is_dir():
        raise ValueError(f"config.mirror: there is no folder {mirror}; give a folder or a URL")
    for dataset, experiment in configured_runs(config):
        _check_together(dataset, resolve(config, dataset, experiment))


def _check_together(dataset: str, settings: dict[str, dict]) -> None:
    """Stop unless flow has the gaps and tracks the reach that is used, and K can be merged."""
    where, gaps = f"config.flow.gaps of {dataset}", settings["flow"]["gaps"]
    chained = settings["tracks"]["tracker"] == "chained_flow"
    fits = not chained or {-1, 1} <= set(gaps)
    require(fits, where, gaps, "-1 and 1 too, for chained_flow")
    drawn = sorted(sign * gap for gap in settings["training"]["quad_gaps"] for sign in (-1, 1))
    require(set(drawn) <= set(gaps), where, gaps, f"{drawn} too, for training.quad_gaps")
    gap, radius = settings["objects"]["gap"], settings["tracks"]["radius"]
    where, expected = f"config.objects.gap of {dataset}", f"at most tracks.radius, {radius} frames"
    require(gap <= radius, where, gap, expected)
    count, grouping = settings["network"]["components"], settings["merge"]["grouping"]
    fits = grouping != "correlation_clustering" or count <= CLUSTERED
    where = f"config.network.components of {dataset}"
    expected = f"at most {CLUSTERED} for {grouping}"
    require(fits, where, count, expected)


def configured_runs(config: dict) -> list[tuple[str, str]]:
    """Dataset and experiment of every row of the config's tables."""
    runs = [(dataset, name) for dataset, names in config["tables"].items() for name in names]
    for table in config["paper_tables"].values():
        rows = table["rows"].values()
        runs += product(table["datasets"], [*rows, *(as_paper(config, row) for row in rows)])
    return list(dict.fromkeys(runs))


def as_paper(config: dict, experiment: str) -> str:
    """The experiment merged as `paper_merge` says, or as it is if it says so itself."""
    merge = config["paper_merge"]
    return experiment if merge is None or "." in experiment else f"{experiment}.{merge}"


def descriptions(section: str) -> dict[str, str]:
    """What the schema says of a section's settings, by key; nothing where there is no checkout."""
    if not SCHEMA.exists():
        return {}
    properties = _schema()["$defs"][section]["properties"]
    return {key: about["description"] for key, about in properties.items()}


@cache
def _schema() -> dict:
    return yaml.safe_load(SCHEMA.read_text())


def _is_number(error: ValidationError) -> bool:
    """Whether a value of the wrong type is text that reads as a number."""
    try:
        return error.validator == "type" and isinstance(float(error.instance), float)
    except (TypeError, ValueError):
        return False


def run_seeds(config: dict, dataset: str) -> list[int]:
    """Seeds of a dataset's runs: the config's, else the dataset's own, else the preset's."""
    seeds = config["seeds"]
    if seeds is None:
        preset = _look_up(config, "presets", config["preset"])
        seeds = (preset | _of_dataset(config, dataset))["seeds"]
    if isinstance(seeds, str):
        return list(dict.fromkeys(int(seed) for seed in seeds.split(",")))
    return [seeds] if isinstance(seeds, int) else seeds


def _of_dataset(config: dict, name: str) -> dict:
    """The settings in which a data set differs."""
    known = (*DATASETS, *RIGID)
    if name not in known:
        raise ValueError(f"unknown dataset {name!r} in the config; {one_of(known)}")
    return config["datasets"].get(name) or {}


def _look_up(config: dict, group: str, name: str) -> dict:
    if name not in config[group]:
        raise ValueError(f"unknown {group[:-1]} {name!r} in the config; {one_of(config[group])}")
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
            raise ValueError(f"unknown sequence {name!r} in the config; {one_of(available)}")
    return [name for name in available if name in wanted]
