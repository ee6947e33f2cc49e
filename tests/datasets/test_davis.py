"""DAVIS-2016 from archives in the official layout, whole and damaged."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from lrtl.datasets import davis
from lrtl.datasets.archive import Archive
from lrtl.datasets.layout import Sequence

PUBLISHED = {
    **{"blackswan": 50, "bmx-trees": 80, "camel": 90, "car-roundabout": 75, "cows": 104},
    **{"dance-twirl": 90, "dog": 60, "drift-chicane": 52, "goat": 90, "kite-surf": 50},
}


def encoded(pixels, kind):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def make_archive(path, frames=3, masks=(0, 1, 2), size=(24, 32), mode="L"):
    """An archive in the official layout with one sequence, `dog`."""
    truth = np.zeros(size, np.uint8)
    truth[4:12, 6:20] = 255
    if mode == "RGBA":
        truth = np.stack([truth] * 3 + [np.full(size, 255, np.uint8)], -1)
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(frames):
            jpeg = encoded(np.full((24, 32, 3), 40 * i, np.uint8), "JPEG")
            archive.writestr(f"{davis.FRAMES}/dog/{i:05d}.jpg", jpeg)
        for i in masks:
            archive.writestr(f"{davis.MASKS}/dog/{i:05d}.png", encoded(truth, "PNG"))
    return path


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_sequence_is_laid_out(tmp_path, mode):
    archive = make_archive(tmp_path / "DAVIS-data.zip", mode=mode)
    davis.prepare("dog", archive, tmp_path / "dog")
    sequence = Sequence.open(tmp_path / "dog")
    assert sequence.frames == sequence.annotated == ("00000", "00001", "00002")
    assert sequence.frame(1).shape == (24, 32, 3)
    mask = sequence.mask(0)
    assert mask.sum() == 8 * 14
    assert set(np.unique(mask)) == {0, 1}
    about = json.loads((tmp_path / "dog" / "sequence.json").read_text())
    assert about["dataset"] == "davis"
    original = zipfile.ZipFile(archive).read(f"{davis.FRAMES}/dog/00001.jpg")
    assert (tmp_path / "dog" / "frames" / "00001.jpg").read_bytes() == original


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"masks": (0, 1, 7)}, "mask 00007 has no frame"),
        ({"masks": (0, 1)}, r"DAVIS-data.zip has 3 frames and 2 masks of dog, expected one for"),
        ({"masks": ()}, "has 3 frames and 0 masks of dog, .*; use the whole official archive"),
        ({"frames": 1, "masks": (0,)}, "has 1 frame; motion needs two"),
        ({"size": (20, 32)}, r"mask 00000 is \(20, 32\), its frame \(24, 32\)"),
    ],
)
def test_inconsistent_sequences_are_refused(tmp_path, arguments, message):
    archive = make_archive(tmp_path / "DAVIS-data.zip", **arguments)
    with pytest.raises(ValueError, match=message):
        davis.prepare("dog", archive, tmp_path / "dog")
    assert not (tmp_path / "dog").exists()


def test_a_sequence_the_archive_lacks(tmp_path):
    archive = make_archive(tmp_path / "DAVIS-data.zip")
    with pytest.raises(ValueError, match=r"no sequence 'goat', it has dog; .*sequences=NAME"):
        davis.prepare("goat", archive, tmp_path / "goat")


def test_truncated_archives_are_named(tmp_path):
    archive = make_archive(tmp_path / "DAVIS-data.zip")
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"DAVIS-data\.zip is not a whole zip archive.*fetch it"):
        davis.prepare("dog", archive, tmp_path / "dog")


def test_damaged_members_are_named(tmp_path):
    archive = make_archive(tmp_path / "DAVIS-data.zip")
    data = bytearray(archive.read_bytes())
    data[200] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(ValueError, match=r"dog/00000\.jpg is damaged"):
        davis.prepare("dog", archive, tmp_path / "dog")


def test_unreadable_images_are_named(tmp_path):
    archive = make_archive(tmp_path / "DAVIS-data.zip", masks=(0, 1))
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr(f"{davis.MASKS}/dog/00002.png", b"no image")
    with pytest.raises(ValueError, match=r"DAVIS-data\.zip: .*dog/00002\.png is not a readable"):
        davis.prepare("dog", archive, tmp_path / "dog")
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr(f"{davis.FRAMES}/dog/00003.jpg", b"no image")
        more.writestr(f"{davis.MASKS}/dog/00003.png", b"no image")
    with pytest.raises(ValueError, match=r"davis/dog: frame 00003 cannot be read as an image"):
        davis.prepare("dog", archive, tmp_path / "dog")
    assert not (tmp_path / "dog").exists()


def test_the_faintest_colour_of_a_mask_is_foreground(tmp_path):
    archive = make_archive(tmp_path / "DAVIS-data.zip", masks=(0, 1))
    faint = np.zeros((24, 32, 3), np.uint8)
    faint[3:6, 3:6, 2] = 1
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr(f"{davis.MASKS}/dog/00002.png", encoded(faint, "PNG"))
    davis.prepare("dog", archive, tmp_path / "dog")
    assert Sequence.open(tmp_path / "dog").mask(2).sum() == 9


def test_lists_are_those_of_davis_2016():
    assert (len(davis.SEQUENCES), len(davis.SCORED)) == (50, 20)
    assert set(davis.SCORED) < set(davis.SEQUENCES)


def test_real_archive(mirror, tmp_path):
    davis.prepare("dog", mirror / "DAVIS-data.zip", tmp_path / "dog")
    sequence = Sequence.open(tmp_path / "dog")
    assert (len(sequence.frames), len(sequence.annotated)) == (60, 60)
    assert sequence.frame(0).shape == (480, 854, 3)
    assert 0.02 < sequence.mask(30).mean() < 0.3


def test_the_real_archive_has_the_published_frames_and_a_mask_of_each(mirror):
    source = Archive(mirror / "DAVIS-data.zip")
    names = source.folders(davis.FRAMES)
    assert set(names) <= set(davis.SEQUENCES)
    found = {name: len(source.frames(davis.FRAMES, name, (".jpg",))) for name in names}
    assert PUBLISHED.items() <= found.items()
    assert found == {name: len(source.names(f"{davis.MASKS}/{name}", (".png",))) for name in names}
