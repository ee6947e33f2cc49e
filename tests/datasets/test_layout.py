"""The common layout: what is written is read again, and what is not whole is refused."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from lrtl.datasets.layout import PALETTE, Sequence, read_mask, write_mask, write_sequence


def jpeg(height=24, width=32):
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """A sequence of three frames, the second annotated."""
    frames = [(name, jpeg()) for name in ("a", "b", "c")]
    ids = np.tile(np.arange(32, dtype=np.uint8), (24, 1))
    write_sequence(tmp_path / "cat", "own", "cat", frames, [("b", ids)], {"by": "hand"})
    return tmp_path / "cat"


def test_what_is_written_is_read_again(folder):
    cat = Sequence.open(folder)
    assert (cat.name, cat.frames, cat.annotated) == ("cat", ("a", "b", "c"), ("b",))
    assert (cat.height, cat.width) == cat.frame(0).shape[:2] == (24, 32)
    assert cat.mask(0) is None
    assert cat.mask(1).max() == 31


def test_missing_files_are_counted_and_named(folder):
    (folder / "frames" / "c.jpg").unlink()
    (folder / "masks" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"cat is not .*2 of 4 files are missing, first frames/c"):
        Sequence.open(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotated": ["b", "z"]}, "mask z has no frame"),
        ({"frames": ["a"], "annotated": []}, "1 frame, motion needs two"),
        ({"frames": None}, "NoneType"),
    ],
)
def test_records_that_cannot_be_are_refused(folder, change, message):
    about = json.loads((folder / "sequence.json").read_text())
    (folder / "sequence.json").write_text(json.dumps(about | change))
    with pytest.raises(ValueError, match=f"cat is not a prepared sequence .*{message}"):
        Sequence.open(folder)


def test_a_frame_of_another_size_is_refused(tmp_path):
    frames = [("a", jpeg()), ("b", jpeg(20))]
    with pytest.raises(
        ValueError, match=r"own/cat: frame b is \(20, 32\) px .*expected \(24, 32\)"
    ):
        write_sequence(tmp_path / "cat", "own", "cat", frames, [], {})
    assert not (tmp_path / "cat").exists()


def test_masks_are_indexed_pngs_in_davis_colours(tmp_path):
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_mask(tmp_path / "mask.png", ids)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), ids)
    image = Image.open(tmp_path / "mask.png")
    assert image.mode == "P"
    # The first colours of DAVIS and PASCAL VOC.
    assert PALETTE[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    assert image.convert("RGB").getpixel((1, 0)) == (128, 0, 0)


def test_masks_have_the_same_bytes_every_time(tmp_path):
    ids = np.random.default_rng(0).integers(0, 4, (30, 40), np.uint8)
    for name in ("one.png", "two.png"):
        write_mask(tmp_path / name, ids)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_pictures_are_no_masks(tmp_path):
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match=r"rgb\.png has 3 channels, expected an indexed"):
        read_mask(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match=r"none\.png cannot be read as an image"):
        read_mask(tmp_path / "none.png")
