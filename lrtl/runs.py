"""The folder of a run, trained here or converted: `weights.safetensors` and `config.yaml`."""

from pathlib import Path

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from lrtl.config import LossConfig, NetworkConfig
from lrtl.files import check_file, whole_file
from lrtl.methods import NETWORKS
from lrtl.models import backbone_sha256

UNREADABLE = (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, SafetensorError)


def save_run(run: Path, model: nn.Module, settings: str) -> None:
    """Write a network's weights and its settings, as `settings_text` gives them, to a folder."""
    with whole_file(run / "config.yaml") as path:
        path.write_text(settings)
    with whole_file(run / "weights.safetensors") as path:
        weights = {k: v.contiguous().cpu() for k, v in model.state_dict().items()}
        path.write_bytes(save(weights))  # save_file would hide that a disk is full


def load_run(
    run: Path, backbone_weights: str | None = None
) -> tuple[nn.Module, NetworkConfig, LossConfig]:
    """Load the network of a run with the settings it was trained under.

    Args:
        run: the folder.
        backbone_weights: the file of weights that the network was built on, if it was.

    Raises:
        ValueError: the folder is not a finished run, or damaged, or of another backbone.
    """
    try:
        check_file(run / "config.yaml")
        check_file(run / "weights.safetensors")
        settings = yaml.safe_load((run / "config.yaml").read_text())
        weights = load_file(run / "weights.safetensors")
        expected = settings["network"]["backbone_weights"]
        network = _tuples(settings["network"]) | {"backbone_weights": backbone_weights}
        network, losses = NetworkConfig(**network), LossConfig(**_tuples(settings["losses"]))
    except UNREADABLE as error:
        raise ValueError(f"{run} is not a finished run ({error}); make it again") from error
    found = backbone_sha256(network)
    if found != expected:
        raise ValueError(
            f"{run} was made on backbone weights of sha256 {expected}, {backbone_weights} has "
            f"{found}; fetch the file again, or make the run again"
        )
    model = NETWORKS[network.network](network)
    model.load_state_dict(weights)
    return model.eval(), network, losses


def settings_text(settings: dict) -> str:
    """Settings as YAML, with lists for tuples."""
    return yaml.safe_dump(_lists(settings), sort_keys=False)


def _lists(settings: dict) -> dict:
    return {
        key: _lists(value) if isinstance(value, dict) else _listed(value)
        for key, value in settings.items()
    }


def _listed(value):
    return list(value) if isinstance(value, tuple) else value


def _tuples(section: dict) -> dict:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in section.items()}
