"""The config: layers, restriction to sequences, flags, and names in errors."""

import argparse
from pathlib import Path

import jsonschema
import pytest
import yaml

from lrtl.affinity import AFFINITIES
from lrtl.config import (
    CENTRES,
    OVER_COMPONENTS,
    PRECISIONS,
    TRAIN_PRECISIONS,
    FlowConfig,
    LossConfig,
    MergeConfig,
    TrainConfig,
    add_flags,
    from_flags,
    to_flags,
)
from lrtl.crf import REFINERS
from lrtl.losses.flow import CONVENTIONS, MODELS
from lrtl.merge import DECISIONS, GROUPINGS
from lrtl.models.maskformer import UPSAMPLING
from lrtl.motion.grids import AUXILIARY
from lrtl.motion.windows import BOUNDARIES
from lrtl.movi import SEGMENTERS
from lrtl.settings import SECTIONS, check, resolve, run_seeds, sequence_names

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"


CHAINED = "chained_flow"


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.fixture(scope="module")
def schema():
    return yaml.safe_load(SCHEMA.read_text())


def test_layers_overlay_each_other(config):
    paper = resolve(config, "davis", "lrtl")
    assert paper["flow"]["estimator"] == "raft_large"
    assert paper["network"]["width"] == 64
    config["preset"] = "cpu"
    cpu = resolve(config, "davis", "flow_only")
    assert cpu["flow"]["estimator"] == "raft_small"
    assert cpu["flow"]["gaps"] == paper["flow"]["gaps"]
    assert cpu["losses"]["trajectory_weight"] == 0
    assert resolve(config, "demo")["flow"]["estimator"] == "dis"
    assert config["losses"]["trajectory_weight"] == 5e-5  # untouched


@pytest.mark.parametrize(
    ("preset", "dataset", "experiment", "message"),
    [
        ("gpu", "davis", "lrtl", "unknown preset 'gpu'.*one of paper, cpu"),
        ("cpu", "davs", "lrtl", "unknown dataset 'davs'.*davis"),
        ("cpu", "davis", "ours", "unknown experiment 'ours'.*lrtl"),
    ],
)
def test_unknown_names_are_answered_with_the_known(config, preset, dataset, experiment, message):
    with pytest.raises(ValueError, match=message):
        resolve(config | {"preset": preset}, dataset, experiment)


def test_seeds_come_from_the_nearest_layer(config):
    assert run_seeds(config, "davis") == [0, 1, 2]
    assert run_seeds(config | {"preset": "cpu"}, "davis") == [0]
    assert run_seeds(config, "demo") == [0]
    for stated, seeds in (([3, 4], [3, 4]), ("0,1,2,1", [0, 1, 2]), (5, [5])):
        config["seeds"] = stated
        check(config, SCHEMA)
        assert run_seeds(config | {"preset": "cpu"}, "demo") == seeds


def test_sequences_are_restricted_by_list_or_commas():
    available = ("dog", "goat", "camel")
    assert sequence_names({"sequences": None}, available) == list(available)
    assert sequence_names({"sequences": "camel,dog"}, available) == ["dog", "camel"]
    assert sequence_names({"sequences": ["goat"]}, available) == ["goat"]
    with pytest.raises(ValueError, match=r"unknown sequence 'cat'.*one of dog, goat, camel"):
        sequence_names({"sequences": "cat"}, available)


def test_every_setting_goes_through_flags_unchanged(config):
    for preset in config["presets"]:
        settings = resolve(config | {"preset": preset}, "davis", "lrtl")
        for section, stage in (("losses", LossConfig), ("training", TrainConfig)):
            parser = argparse.ArgumentParser()
            add_flags(parser, stage)
            parsed = from_flags(parser.parse_args(to_flags(settings[section]).split()), stage)
            for key, value in settings[section].items():
                expected = tuple(value) if isinstance(value, list) else value
                assert getattr(parsed, key) == expected


def test_negative_gaps_are_flags_too(config):
    parser = argparse.ArgumentParser()
    add_flags(parser, FlowConfig)
    flags = to_flags(config["flow"] | {"weights": "raft-things.pth"}).split()
    assert from_flags(parser.parse_args(flags), FlowConfig).gaps == (-2, -1, 1, 2)


def test_config_and_schema_agree_and_every_key_is_described(config, schema):
    jsonschema.validate(config, schema)

    def keys(node, path=""):
        for name, child in node.get("properties", {}).items():
            reference = schema["$defs"].get(child.get("$ref", "").removeprefix("#/$defs/"), {})
            assert "description" in child | reference, f"{path}{name} has no description"
            keys(child | reference, f"{path}{name}.")

    keys(schema)
    for name in SECTIONS:
        assert set(config[name]) == set(schema["$defs"][name]["properties"])


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("losses", "ranks", 5, "config.losses: .*'ranks' was unexpected"),
        ("training", "learning_rate", "7e-4", "training.learning_rate: '7e-4' is .* need a point"),
        ("flow", "gaps", [0], "config.flow.gaps.0: "),
        (
            *("datasets", "davis", {"flow": {"gaps": [-2, 2]}, "tracks": {"tracker": CHAINED}}),
            r"flow.gaps of davis is \[-2, 2\], expected -1 and 1 too",
        ),
        (
            "flow",
            "gaps",
            [-1, 1, 2],
            r"flow.gaps of davis .* \[-2, -1, 1, 2\] too, for training.qua",
        ),
        ("objects", "gap", 22, "objects.gap of davis is 22, expected at most tracks.radius, 21"),
        ("network", "components", 17, "components of davis is 17, expected at most 16 for corr"),
        ("tables", "davis", ["lrtl.mine"], "unknown merge 'mine' in the config; one of published"),
        ("training", "quad_gaps", [-1], "config.training.quad_gaps.0: "),
        ("flow", "estimator", "raft", "config.flow.estimator: 'raft' is not one of"),
        ("training", "precision", "half", "config.training.precision: 'half' is not one of"),
        ("losses", "flow_loss", "gwm", "config.losses.flow_loss: 'gwm' is not one of"),
        ("training", "flows_per_image", 3, "config.training.flows_per_image: 3 is not one of"),
        (
            "experiments",
            "longer",
            {"tracks": {"stride": 8}},
            ".tracks: .*'stride' was unexp",
        ),
        ("presets", "mine", {}, "config.presets.mine: 'seeds' is a required property"),
        ("experiments", "often", {"seeds": [1]}, "experiments.often: .*'seeds' was unexpected"),
        (
            *("paper_tables", "mine", {"datasets": ["davis"], "rows": {"Ours": "ours"}}),
            "unknown experiment 'ours' in the config",
        ),
        ("tables", "davis", ["flow_onyl"], "unknown experiment 'flow_onyl' .* one of flow_only"),
        ("tables", "mine", ["lrtl"], "unknown dataset 'mine' in the config; one of davis, seg"),
    ],
)
def test_what_is_not_right_is_named(config, section, key, value, message):
    config[section][key] = value
    with pytest.raises(ValueError, match=message):
        check(config, SCHEMA)


def test_missing_settings_and_a_missing_mirror_are_named(config):
    with pytest.raises(ValueError, match=r"config\.mirror: there is no folder /nowhere"):
        check(config | {"mirror": "/nowhere"}, SCHEMA)
    check(config | {"mirror": "https://example.org/mirror"}, SCHEMA)
    del config["losses"]["rank"]
    with pytest.raises(ValueError, match=r"config.losses is .*expected also \{'rank'\}"):
        check(config, SCHEMA)


def test_the_schema_knows_what_the_package_does(schema):
    known = {
        ("flow", "precision"): PRECISIONS,
        ("tracks", "boundary"): BOUNDARIES,
        ("tracks", "auxiliary"): AUXILIARY,
        ("tracks", "precision"): PRECISIONS,
        ("network", "decoder"): UPSAMPLING,
        ("losses", "flow_centre"): CENTRES,
        ("losses", "flow_loss"): CONVENTIONS,
        ("losses", "flow_model"): MODELS,
        ("losses", "over_components"): OVER_COMPONENTS,
        ("training", "precision"): TRAIN_PRECISIONS,
        ("merge", "affinity"): AFFINITIES,
        ("merge", "grouping"): GROUPINGS,
        ("merge", "decision"): DECISIONS,
        ("evaluation", "crf"): REFINERS,
    }
    assert schema["properties"]["movi_methods"]["items"]["enum"] == list(SEGMENTERS)
    for (section, key), names in known.items():
        assert schema["$defs"][section]["properties"][key]["enum"] == list(names)


def test_the_demo_is_the_same_at_any_preset(config):
    first, *rest = (resolve(config | {"preset": p}, "demo", "lrtl") for p in config["presets"])
    assert rest == [first] * len(rest)


def test_tracks_reach_as_far_as_training_does(config):
    def reach(**losses):
        config["losses"] |= losses
        settings = resolve(config, "davis", "lrtl")
        return settings["losses"]["context"], settings["tracks"]["radius"]

    assert reach() == (20, 21)
    assert reach(context=10) == (10, 20)
    assert reach(context=30) == (30, 31)
    assert reach(context=20, neighbours=0) == (20, 20)
    assert reach(context=None) == (20, 20)


def test_stores_of_a_dataset_serve_experiments_that_reach_less_far(config):
    radii = {
        name: resolve(config, "davis", name)["tracks"]["radius"] for name in config["experiments"]
    }
    assert radii.pop("context_30") == 31
    assert set(radii.values()) == {21}


def test_an_experiment_merged_otherwise_is_the_same_but_for_that(config):
    usual, other = (resolve(config, "davis", name) for name in ("lrtl", "lrtl.published"))
    assert usual.pop("merge")["decision"] == "video"
    merge = {"affinity": "dino_vitb8", "grouping": "normalised_cut", "decision": "frame"}
    assert other.pop("merge").items() >= merge.items()
    assert usual == other


def test_settings_validate_themselves(config):
    section = resolve(config, "davis")["losses"]
    losses = {k: tuple(v) if isinstance(v, list) else v for k, v in section.items()}
    with pytest.raises(ValueError, match="track_filter is 10, expected an odd number"):
        LossConfig(**losses | {"track_filter": 10})
    with pytest.raises(ValueError, match="loss weights"):
        zero = dict.fromkeys(("flow_weight", "trajectory_weight", "smoothness_weight"), 0.0)
        LossConfig(**losses | zero)
    with pytest.raises(
        ValueError, match="affinity_weights is None, expected a file for dino_vits8"
    ):
        MergeConfig(**config["merge"] | {"affinity": "dino_vits8"})
    with pytest.raises(ValueError, match=r"affinity_floor is 0\.0, expected"):
        MergeConfig(**config["merge"] | {"affinity_floor": 0.0})
