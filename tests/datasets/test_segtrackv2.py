"""SegTrackv2 from archives in the official layout, with its traps, whole and damaged."""

import json

import numpy as np
import pytest

from lrtl.datasets import segtrackv2
from lrtl.datasets.layout import Sequence
from tests.datasets.images import SIZE, box, encoded, scene, write_archive

FRAMES, MASKS = segtrackv2.FRAMES, segtrackv2.MASKS


def girl(frames=21):
    """One object: BMP frames, whose numbers are not padded, PNG masks without a folder."""
    files = {f"{FRAMES}/CSI_NY.jpg": encoded(scene(9), "JPEG"), f"{FRAMES}/girl/Thumbs.db": b"?"}
    for i in range(frames):
        files[f"{FRAMES}/girl/girl_{i + 1}.bmp"] = encoded(scene(10 * i), "BMP")
        files[f"{MASKS}/girl/girl_{i + 1}.png"] = encoded(box(2, i % 20), "PNG")
    return files


def cheetah():
    """Two objects in folders, one of BMP and one of PNG files; they touch, edges are grey."""
    files = {f"SegTrackv2/ImageSets/{name}.txt": b"cheetah\n" for name in ("all", "cheetah")}
    for i in range(29):
        stem = f"cheetah_{i:05d}"
        files[f"{FRAMES}/cheetah/{stem}.bmp"] = encoded(scene(50), "BMP")
        first, second = box(2, 4, (255,) * 3), box(6, 8, (255,) * 3)
        first[2, 4:12], second[11, 8:16] = 128, 129  # below and above half
        files[f"{MASKS}/cheetah/1/{stem}.bmp"] = encoded(first, "BMP")
        files[f"{MASKS}/cheetah/2/{stem}.png"] = encoded(second, "PNG")
    return files


def prepared(tmp_path, files, name):
    archive = write_archive(tmp_path / "SegTrackv2.zip", files)
    segtrackv2.prepare(name, archive, tmp_path / name)
    return Sequence.open(tmp_path / name)


def test_one_object_in_bmp_frames(tmp_path):
    sequence = prepared(tmp_path, girl() | cheetah(), "girl")
    assert sequence.dataset == "segtrackv2"
    assert sequence.frames == sequence.annotated == tuple(f"girl_{i}" for i in range(1, 22))
    for i in (0, 9, 20):
        np.testing.assert_array_equal(sequence.mask(i), box(2, i % 20, 1))
        away = np.abs(sequence.frame(i).astype(int) - scene(10 * i))[:, np.r_[:14, 18:32]]
        assert away.max() <= 4  # but for the edge, as good as the original
    about = json.loads((tmp_path / "girl" / "sequence.json").read_text())
    assert about["source"]["archive"] == "SegTrackv2.zip"


def test_objects_in_folders_have_ids_and_do_not_wrap(tmp_path):
    sequence = prepared(tmp_path, girl() | cheetah(), "cheetah")
    assert len(sequence.frames) == len(sequence.annotated) == 29
    expected = box(2, 4, 1)
    expected[2] = 0  # 128 is background
    expected = np.where(box(6, 8, 1), 2, expected)  # where both are: 2, not 255 + 255 = 254
    np.testing.assert_array_equal(sequence.mask(7), expected)


def test_six_penguins(tmp_path):
    files = {}
    for i in range(42):
        files[f"{FRAMES}/penguin/penguin_{i:05d}.bmp"] = encoded(scene(80), "BMP")
        for k in range(6):
            mask = encoded(box(0, 4 * k, 1), "PNG")  # of 0 and 1
            files[f"{MASKS}/penguin/{k + 1}/penguin_{i:05d}.png"] = mask
    mask = prepared(tmp_path, files, "penguin").mask(41)
    assert mask[0].tolist() == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [6] * 8 + [0] * 4


def test_frames_are_printed_beside_the_published_counts(tmp_path, capsys):
    """A count that no list has is no error: the lists disagree."""
    sequence = prepared(tmp_path, girl(20) | cheetah(), "girl")
    assert len(sequence.frames) == len(sequence.annotated) == 20
    line = capsys.readouterr().out
    assert line.startswith("girl has 20 frames, 20 of them annotated; published lists have 21; ")
    expected = "SegTrackv2.zip has 49 frames of all sequences, papers count 947, 976 or 1,066\n"
    assert line.endswith(expected)


def birds(frames, masks):
    stems = [f"bird_of_paradise/bird_{i:05d}.png" for i in range(frames)]
    files = {f"{FRAMES}/{stem}": encoded(scene(80), "PNG") for stem in stems}
    return files | {f"{MASKS}/{stem}": encoded(box(2, 4), "PNG") for stem in stems[:masks]}


def test_masks_may_be_as_many_as_a_published_list_has(tmp_path):
    sequence = prepared(tmp_path, birds(98, 97), "bird_of_paradise")
    assert (len(sequence.frames), len(sequence.annotated)) == (98, 97)
    with pytest.raises(ValueError, match="has 98 frames and 96 masks of bird_of_paradise, object"):
        prepared(tmp_path, birds(98, 96), "bird_of_paradise")


def without(files, part):
    return {name: data for name, data in files.items() if part not in name}


def mask(number):
    return {f"{MASKS}/girl/girl_{number}.png": encoded(box(2, 0), "PNG")}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (without(girl() | cheetah(), "girl"), r"no sequence 'girl', it has cheetah; .*sequences="),
        ({"DAVIS/JPEGImages/480p/dog/00000.jpg": b""}, r"it has nothing in SegTrackv2/JPEGImages"),
        (without(girl(), MASKS), "has 21 frames and 0 masks of girl"),
        (
            without(girl(), MASKS) | mask(7),
            "v2.zip has 21 frames and 1 masks of girl, object 1, ",
        ),
        (girl() | mask(22), "has 21 frames and 22 masks of girl, .*; use the whole official arch"),
        (without(girl(), f"{MASKS}/girl/girl_3.") | mask(22), "mask 22 has no frame"),
        (girl() | {f"{FRAMES}/girl/girl_3.bmp": b"?"}, r"Trackv2.zip: .*girl_3.bmp is not a read"),
        (girl() | {f"{MASKS}/girl/girl_3.png": b"?"}, r"GroundTruth/girl/girl_3.png is not a read"),
        (girl() | {f"{FRAMES}/girl/girl_03.png": b""}, r"girl_03.png and .*girl_3.bmp have the sa"),
        (girl() | {f"{FRAMES}/girl/cover.png": b""}, r"girl/cover.png has no number in its name"),
    ],
)
def test_what_is_not_whole_is_named(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        prepared(tmp_path, files, "girl")
    assert not (tmp_path / "girl").exists()


def test_every_object_has_a_mask_of_every_frame(tmp_path):
    files = without(cheetah(), "cheetah/2/cheetah_00004")
    message = "has 29 frames and 28 masks of cheetah, object 2, .*use the whole official archive"
    with pytest.raises(ValueError, match=message):
        prepared(tmp_path, files, "cheetah")


def test_masks_of_a_frame_are_of_one_size(tmp_path):
    files = cheetah()
    files[f"{MASKS}/cheetah/2/cheetah_00004.png"] = encoded(np.zeros((24, 30)), "PNG")
    with pytest.raises(ValueError, match=r"frame 4 have sizes \(24, 32\), \(24, 30\)"):
        prepared(tmp_path, files, "cheetah")
    small = encoded(np.zeros((SIZE[0], 30)), "PNG")
    files = girl() | {f"{MASKS}/girl/girl_1.png": small}
    with pytest.raises(ValueError, match=r"mask girl_1 is \(24, 30\), its frame \(24, 32\)"):
        prepared(tmp_path, files, "girl")


def test_unknown_sequences_are_answered_with_the_known(tmp_path):
    with pytest.raises(ValueError, match="unknown SegTrackv2 sequence 'dog'; there are bird_of"):
        prepared(tmp_path, girl(), "dog")


def test_counts_are_the_published_ones():
    assert len(segtrackv2.SEQUENCES) == 14
    assert sum(min(frames) for frames in segtrackv2.PUBLISHED.values()) == 976
    assert sum(max(frames) for frames in segtrackv2.PUBLISHED.values()) == 1066


def test_the_last_frame_counts_in_the_own_protocol_alone():
    assert segtrackv2.counts(0, "girl_1", 20) == {"benchmark": True, "released": True}
    assert segtrackv2.counts(20, "girl_21", 20) == {"benchmark": True, "released": False}
