"""A run of random weights on new images and videos; shares of components counted by hand."""

import shutil
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lrtl.datasets.clips import decode
from lrtl.datasets.layout import read_mask, write_mask
from lrtl.files import whole_file
from lrtl.masks import BATCH, predict
from lrtl.predict import SHARES, predict_paths, read_shares, segment_frames, write_foreground
from lrtl.runs import load_run
from tests.datasets.test_clips import scene, write_video
from tests.test_main import lrtl
from tests.test_masks import run, short  # noqa: F401, fixtures


@pytest.fixture
def trained(run, tmp_path) -> Path:  # noqa: F811
    """The run with larger weights, that its masks vary, and with shares of its components."""
    folder = shutil.copytree(run, tmp_path / "run")
    weights = load_file(folder / "weights.safetensors")
    weights["head.weight"] *= 3000
    weights["head.bias"] *= 0
    with whole_file(folder / "weights.safetensors") as path:
        save_file(weights, path)
    with whole_file(folder / SHARES) as path:
        path.write_text("component,sequences,share\n0,4,0.1\n1,4,0.9\n2,3,0.45\n")
    return folder


def foreground(soft, size):
    """Masks (F, H, W) of soft masks (F, K, h, w), enlarged one by one and then weighted."""
    large = torch.nn.functional.interpolate(soft, size, mode="bilinear").numpy()
    return np.einsum("k,fkhw->fhw", [0.1, 0.9, 0.45], large) > 0.5


def masks_in(folder):
    return np.stack([read_mask(path) for path in sorted(folder.glob("*.png"))])


def test_frames_get_the_masks_of_the_network_that_segments_sequences(trained, short, tmp_path):  # noqa: F811
    """A folder of frames, of which the last batch has fewer."""
    assert len(short.frames) % BATCH
    frames = tmp_path / "walk"
    frames.mkdir()
    for name in short.frames:
        shutil.copy(short.folder / "frames" / f"{name}.jpg", frames)
    predict_paths(trained / "weights.safetensors", [frames], tmp_path / "out")
    model, network, _ = load_run(trained)
    expected = foreground(predict(model, short, network.input_size), (short.height, short.width))
    masks = masks_in(tmp_path / "out/walk")
    assert 0 < masks.mean() < 1
    assert (masks == expected).mean() > 0.9999  # sums are rounded in another order
    with av.open(tmp_path / "out/walk.mp4") as video:
        assert len(list(video.decode(video=0))) == len(short.frames)


def test_a_video_a_still_image_and_one_of_odd_size(trained, tmp_path):
    write_video(tmp_path / "clip.mp4", [scene(0, t) for t in range(11)])
    Image.fromarray(scene(1, 3, 61, 97)).save(tmp_path / "my photo.png")
    out, inputs = tmp_path / "out", [tmp_path / "clip.mp4", tmp_path / "my photo.png"]
    before = [path.read_bytes() for path in inputs]
    predict_paths(trained, inputs, out)
    assert sorted(path.name for path in out.iterdir()) == [
        *("clip", "clip.mp4", "my_photo", "my_photo.png")
    ]
    assert masks_in(out / "clip").shape == (11, 60, 98)
    assert masks_in(out / "my_photo").shape == (1, 61, 97)
    assert Image.open(out / "my_photo.png").size == (97, 61)
    assert Image.open(out / "my_photo/00000.png").mode == "P"
    with av.open(out / "clip.mp4") as video:
        assert video.streams.video[0].average_rate == 25  # the clip's own
    assert [path.read_bytes() for path in inputs] == before


def test_the_overlay_is_tinted_where_the_mask_is(trained, tmp_path):
    Image.fromarray(scene(1, 3)).save(tmp_path / "a.png")
    model, network, _ = load_run(trained)
    shares = read_shares(trained, network.components)
    pictures = segment_frames(model, tmp_path / "a.png", network.input_size, shares, tmp_path)
    (picture,), (frame,) = list(pictures), list(decode(tmp_path / "a.png"))
    mask = read_mask(tmp_path / "00000.png") > 0
    changed = (picture != frame).any(-1)
    assert changed[mask].mean() > 0.99
    assert not changed[~mask].all()


def test_what_is_there_is_not_replaced(trained, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(scene(0, 0)).save(tmp_path / name / "photo.png")
    photo = tmp_path / "a/photo.png"
    for out in (tmp_path / "a", tmp_path, tmp_path / "b/../a"):
        with pytest.raises(ValueError, match=r"photo.png overlap; name a folder elsewhere with -o"):
            predict_paths(trained, [photo], out)
    with pytest.raises(ValueError, match=r"a/new and the clip .*/a overlap"):
        predict_paths(trained, [tmp_path / "a"], tmp_path / "a/new")
    with pytest.raises(ValueError, match=r"b/photo.png is there already; remove it, or name"):
        predict_paths(trained, [photo], tmp_path / "b")
    with pytest.raises(ValueError, match="two inputs are called photo; rename one of them"):
        predict_paths(trained, [photo, tmp_path / "b/photo.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists() and len(list((tmp_path / "b").iterdir())) == 1


def test_what_cannot_be_read_is_named_by_the_command(trained, tmp_path):
    Image.fromarray(scene(0, 0)).save(tmp_path / "photo.png")
    failed = lrtl("predict", trained, tmp_path / "none.png", "-o", tmp_path / "out")
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"lrtl predict: {tmp_path}/none.png is no video and no folder")
    with pytest.raises(ValueError, match=r"nowhere is not a finished run"):
        predict_paths(tmp_path / "nowhere", [tmp_path / "photo.png"], tmp_path / "out")
    (tmp_path / "torn.png").write_bytes((tmp_path / "photo.png").read_bytes()[:99])
    with pytest.raises(ValueError, match=r"torn.png is not a readable image"):
        predict_paths(trained, [tmp_path / "torn.png"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    (trained / SHARES).write_text("component,sequences,share\n")
    with pytest.raises(ValueError, match=r"foreground.csv is damaged"):
        predict_paths(trained, [tmp_path / "photo.png"], tmp_path / "out")
    (trained / SHARES).unlink()
    with pytest.raises(ValueError, match=r"foreground.csv is missing.*: `snakemake .*/run/foregr"):
        predict_paths(trained, [tmp_path / "photo.png"], tmp_path / "out")


def sequence_of(folder, components, foreground):
    """Masks and components of two frames that are alike."""
    for t in range(2):
        write_mask(folder / "components" / f"{t}.png", components)
        write_mask(folder / "masks" / f"{t}.png", foreground)
    return folder


def test_shares_are_means_over_sequences_in_which_a_component_is_present(tmp_path):
    quarter = np.repeat([0, 1, 2, 2], 25)[None].repeat(40, 0)  # (40, 100)
    dust = np.zeros((40, 100), int)
    dust[0, :3] = 1  # below a thousandth
    sequences = [
        sequence_of(tmp_path / "a", quarter, quarter == 0),
        sequence_of(tmp_path / "b", quarter, (quarter == 0) | (np.arange(100) >= 90)),
        sequence_of(tmp_path / "c", dust, dust == 1),
        sequence_of(tmp_path / "still", quarter, quarter == 9),
    ]
    masks, components = ([s / name for s in sequences] for name in ("masks", "components"))
    write_foreground(masks, components, tmp_path / SHARES)
    table = pd.read_csv(tmp_path / SHARES)
    assert table["component"].tolist() == [0, 1, 2]
    assert table["sequences"].tolist() == [3, 2, 2]
    assert table["share"].tolist() == pytest.approx([2 / 3, 0, 0.1])
    assert read_shares(tmp_path, 4).tolist() == pytest.approx([2 / 3, 0, 0.1, 0], abs=1e-5)


def test_a_training_in_which_nothing_moved_predicts_nothing(tmp_path, capsys):
    still = sequence_of(tmp_path / "still", np.zeros((4, 4)), np.zeros((4, 4)))
    write_foreground([still / "masks"], [still / "components"], tmp_path / SHARES)
    assert read_shares(tmp_path, 3).tolist() == [0, 0, 0]
    assert "no component was mostly foreground; masks will be empty" in capsys.readouterr().out
