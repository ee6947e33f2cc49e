"""Single flipped bits in a folder of results: each is reported, none is used."""

import io
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrtl.config import FlowConfig, LossConfig
from lrtl.datasets.layout import Sequence, write_sequence
from lrtl.files import STAMP, whole_file
from lrtl.masks import write_masks
from lrtl.motion.flow import estimate_flow
from lrtl.motion.store import FlowStore, TrackStore
from lrtl.motion.tracks import track_sequence
from lrtl.runs import load_run
from lrtl.samples import Motion
from lrtl.score import score
from lrtl.train import train
from lrtl.verify import verify
from tests.conftest import merge_config, tracks_config
from tests.small import LOSSES, NETWORK, TRAINING

FLIPS = int(os.environ.get("LRTL_FLIPS", "200"))
FRAMES = 8


def jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """The products of every stage for one sequence of eight frames, a texture that moves."""
    folder = tmp_path_factory.mktemp("verify") / "results"
    texture = np.random.default_rng(0).integers(0, 255, (60, 120, 3), np.uint8)
    frames = [(f"{t:05d}", jpeg(texture[6:54, 3 * t : 3 * t + 80])) for t in range(FRAMES)]
    masks = [(f"{t:05d}", np.eye(48, 80, dtype=np.uint8)) for t in range(FRAMES)]
    write_sequence(folder / "datasets", "davis", "dog", frames, masks, {})
    sequence = Sequence.open(folder / "datasets")
    estimate_flow(
        sequence, FlowConfig("dis", (48, 80), (-1, 1), 1, "float32"), folder / "flow.zarr"
    )
    track_sequence(folder / "flow.zarr", tracks_config(radius=2, stride=4), folder / "tracks.zarr")
    stores = FlowStore.open(folder / "flow.zarr"), TrackStore.open(folder / "tracks.zarr")
    motion = Motion.load(sequence, *stores, NETWORK.input_size)
    losses = LossConfig(**(vars(LOSSES) | {"track_visibility": 0.0, "context": 2}))
    training = type(TRAINING)(**(vars(TRAINING) | {"steps": 2, "quad_offset": 2}))
    train([motion], NETWORK, losses, training, 0, folder / "run")
    out = folder / "masks", folder / "components"
    write_masks(folder / "run", sequence, stores[0], merge_config(), *out)
    score([folder / "datasets"], [out[0]], [out[1]], folder / "scores" / "seed0.csv")
    (folder / "flow.zarr" / STAMP).touch()
    return folder


def used(results: Path, product: str) -> list[bytes] | None:
    """All that training and segmenting read of a product; None if they do not read it."""
    if product == "datasets":
        sequence = Sequence.open(results / product)
        return [sequence.frame(t).tobytes() for t in range(FRAMES)]
    if product == "flow.zarr":
        flow = FlowStore.open(results / product)
        pairs = [(t, g) for g in (-1, 1) for t in range(FRAMES) if 0 <= t + g < FRAMES]
        return [repr(flow.attributes).encode()] + [flow.read(t, g).tobytes() for t, g in pairs]
    if product == "tracks.zarr":
        tracks = TrackStore.open(results / product)
        arrays = [np.asarray(part) for t in range(FRAMES) for part in tracks.read(t)]
        return [repr(tracks.attributes).encode()] + [array.tobytes() for array in arrays]
    if product == "run":
        model, *settings = load_run(results / product)
        weights = [value.numpy().tobytes() for value in model.state_dict().values()]
        return [repr(settings).encode(), *weights]
    return None


def test_masks_open_as_the_public_evaluators_open_them(results):
    """One palette PNG per frame, named and sized like it, whose pixels are the ids."""
    for kind, most in (("masks", 1), ("components", NETWORK.components - 1)):
        paths = sorted((results / kind).glob("*.png"))
        assert [path.stem for path in paths] == [f"{t:05d}" for t in range(FRAMES)]
        for path in paths:
            with Image.open(path) as image:
                assert (image.format, image.mode, image.size) == ("PNG", "P", (80, 48))
                ids = np.array(image)
            assert ids.dtype == np.uint8 and ids.max() <= most


def test_every_flipped_bit_is_reported_and_none_is_used(results, capsys):
    """Half of the flips in bytes drawn from all, half in files drawn first, which hits records."""
    rng = random.Random(0)
    files = sorted(p for p in results.rglob("*") if p.is_file() and p.stat().st_size)
    sizes = [path.stat().st_size for path in files]
    original = {path: used(results, path.name) for path in results.iterdir()}
    assert verify(results).keys() == {None}
    for flip in range(FLIPS):
        path = rng.choice(files) if flip % 2 else rng.choices(files, sizes)[0]
        intact = path.read_bytes()
        data = bytearray(intact)
        bit = rng.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        product = results / path.relative_to(results).parts[0]
        capsys.readouterr()
        counts = verify(results)
        where = f"bit {bit} of {path}"
        assert counts["damaged"] + counts["missing"] > 0, where
        assert str(product) in capsys.readouterr().out, where
        try:
            assert used(results, product.name) == original[product], where
        except ValueError as error:
            assert str(product) in str(error)
        path.write_bytes(intact)
    assert verify(results).keys() == {None}


def test_the_verb_names_what_to_do(results, tmp_path):
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    (copy / "masks" / "00003.png").unlink()
    (copy / "notes.txt").write_text("mine")
    (copy / "flow.zarr" / "notes.txt").write_text("mine")
    (copy / "run" / "metrics.csv").unlink()
    with whole_file(copy / "run" / "config.yaml") as path:
        path.write_text("{}")
    (copy / "run" / "config.yaml").write_text("{ }")
    (copy / "tracks.zarr.partial").mkdir()
    run = subprocess.run(
        [sys.executable, "-m", "lrtl", "verify", copy], capture_output=True, text=True
    )
    assert run.returncode == 1
    lines = run.stdout.splitlines()
    assert f"missing: {copy}/masks/00003.png; delete {copy}/masks and" in run.stdout
    assert f"missing: {copy}/run/metrics.csv; delete {copy}/run/metrics.csv and" in run.stdout
    assert f"damaged: {copy}/run/config.yaml; " in run.stdout
    assert f"unrecorded: {copy}/notes.txt; " in run.stdout
    assert f"unrecorded: {copy}/flow.zarr/notes.txt; " in run.stdout
    assert len(lines) == 6
    assert lines[-1].endswith("1 damaged, 2 missing, 2 unrecorded")
    whole = [sys.executable, "-m", "lrtl", "verify", results]
    assert subprocess.run(whole, capture_output=True).returncode == 0


def test_a_damaged_product_stops_its_reader(results, tmp_path):
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    frame = copy / "datasets" / "frames" / "00002.jpg"
    data = bytearray(frame.read_bytes())
    data[-100] ^= 1
    frame.write_bytes(data)
    with pytest.raises(ValueError, match=r"00002.jpg is damaged\); delete it and run `prepare`"):
        Sequence.open(copy / "datasets")
    weights = copy / "run" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ValueError, match=r"weights.safetensors is damaged\); make it again"):
        load_run(copy / "run")
