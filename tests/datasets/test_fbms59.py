"""FBMS-59 from archives in the official layout, with its traps, whole and damaged."""

from pathlib import Path

import numpy as np
import pytest

from lrtl.datasets import fbms59
from lrtl.datasets.layout import Sequence
from tests.datasets.images import SIZE, box, encoded, scene, write_archive

WHITE, RED, BLUE = (255, 255, 255), (255, 0, 0), (0, 0, 255)
JPEG = encoded(scene(60), "JPEG")


def colour(folder="Trainingset/cars3"):
    """A sequence with masks in colour, lossy grey ones of the same name and what is no mask."""
    sequence = folder.partition("/")[2]
    files = {f"{folder}/{sequence}_{i:04d}.jpg": JPEG for i in range(1, 20)}
    for i in (1, 10, 19):
        mask = box(2, 4, RED, WHITE)
        mask[12:18, 20:28] = BLUE if i > 1 else WHITE
        stem = f"{folder}/GroundTruth/{sequence}_{i:04d}_gt"
        files[f"{stem}.ppm"] = encoded(mask, "PPM")
        files[f"{stem}.pgm"] = encoded(box(0, 0), "PPM")
        files[f"{stem.removesuffix('_gt')}_PROB_gt.ppm"] = encoded(box(0, 0, RED), "PPM")
    files[f"{folder}/GroundTruth/{sequence}Def.dat"] = b"Ground truth definition file\n"
    return files


def grey(sequence, first, numbers, mask, stem="{}_{:02d}"):
    """A test sequence with grey masks; its frames begin at `first`."""
    folder, count = f"Testset/{sequence}", int(fbms59.PUBLISHED[sequence]["frames"])
    stems = {i: stem.format(sequence, i) for i in range(first, first + count)}
    files = {f"{folder}/{name}.jpg": JPEG for name in stems.values()}
    return files | {f"{folder}/GroundTruth/{stems[i]}.pgm": encoded(mask, "PPM") for i in numbers}


def prepared(tmp_path, files, sequence):
    path = write_archive(tmp_path / Path(fbms59.archive_of(sequence)).name, files)
    fbms59.prepare(sequence, path, tmp_path / sequence)
    return Sequence.open(tmp_path / sequence)


def test_colours_on_white_are_objects(tmp_path):
    sequence = prepared(tmp_path, colour(), "cars3")
    assert len(sequence.frames) == 19
    assert sequence.annotated == ("cars3_0001", "cars3_0010", "cars3_0019")
    assert (tmp_path / "cars3" / "frames" / "cars3_0001.jpg").read_bytes() == JPEG
    both = np.where(box(12, 20), 1, box(2, 4, 2))
    np.testing.assert_array_equal(sequence.mask(9), both)
    np.testing.assert_array_equal(sequence.mask(0), box(2, 4, 2))  # red is 2 in every frame
    assert sequence.mask(1) is None


def test_dark_colours_are_background_and_nearly_white_ones_too(tmp_path):
    files = colour()
    mask = box(2, 4, RED, WHITE)
    mask[0], mask[1], mask[23], mask[22] = 253, 252, 25, 26
    files["Trainingset/cars3/GroundTruth/cars3_0001_gt.ppm"] = encoded(mask, "PPM")
    ids = prepared(tmp_path, files, "cars3").mask(0)
    assert [(ids[row] > 0).all() for row in (0, 1, 23, 22)] == [False, True, False, True]


@pytest.mark.parametrize(
    ("sequence", "numbers", "background", "foreground"),
    [
        ("cars1", (1, 10, 19), 25, 26),
        ("marple7", range(1, 17), 12, 13),
        ("marple2", range(1, 12), 102, 103),
    ],
)
def test_grey_masks_have_the_threshold_of_their_sequence(
    tmp_path, sequence, numbers, background, foreground
):
    mask = box(2, 4, foreground, background)
    mask[20] = 255  # white is an object here
    files = grey(sequence, 1, numbers, mask)
    ids = prepared(tmp_path, files, sequence).mask(0)
    np.testing.assert_array_equal(ids, np.where(np.arange(24)[:, None] == 20, 2, box(2, 4, 1)))


def test_frames_go_by_their_number(tmp_path):
    """Numbers that begin late and get longer: neither sort order nor a count from 1."""
    files = grey("tennis", 954, range(954, 970), box(2, 4), "{}{}")
    sequence = prepared(tmp_path, files, "tennis")
    assert sequence.frames[0] == "tennis954"
    assert sequence.frames[-1] == "tennis1419"
    assert sequence.annotated == tuple(f"tennis{i}" for i in range(954, 970))


def test_numbers_may_be_padded_differently(tmp_path):
    files, mask = grey("cars1", 1, (), box(2, 4)), encoded(box(2, 4), "PPM")
    files |= {f"Testset/cars1/GroundTruth/cars1_{i:03d}.pgm": mask for i in (1, 5, 19)}
    sequence = prepared(tmp_path, files, "cars1")
    assert sequence.annotated == ("cars1_01", "cars1_05", "cars1_19")


FIRST = "Trainingset/cars3/GroundTruth/cars3_0001_gt.ppm"
NOISE = np.random.default_rng(0).integers(30, 250, (*SIZE, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({FIRST: None}, "19 frames and 2 masks of cars3, published are 19 frames and 3 masks"),
        ({"Trainingset/cars3/cars3_0004.jpg": None}, "has 18 frames and 3 masks of cars3"),
        ({FIRST: None, FIRST.replace("001", "020"): encoded(box(0, 0), "PPM")}, "20 has no frame"),
        ({FIRST: b"P6?"}, r"Trainingset.zip: .*cars3_0001_gt.ppm is not a readable image"),
        ({"Trainingset/cars3/cars3_0004.jpg": b"?"}, "frame cars3_0004 cannot be read as an image"),
        ({FIRST: encoded(np.zeros((20, 32, 3)), "PPM")}, r"mask cars3_0001 is \(20, 32\), its fr"),
        ({FIRST: encoded(NOISE, "PPM")}, "fbms59/cars3: its masks have .* colours, expected obj"),
    ],
)
def test_what_is_not_whole_is_named(tmp_path, change, message):
    files = {name: data for name, data in (colour() | change).items() if data is not None}
    with pytest.raises(ValueError, match=message):
        prepared(tmp_path, files, "cars3")
    assert not (tmp_path / "cars3").exists()


def test_the_archive_of_the_other_set_is_named(tmp_path):
    with pytest.raises(ValueError, match="no sequence 'cars3', it has nothing in Trainingset"):
        prepared(tmp_path, grey("cars1", 1, (1, 10, 19), box(2, 4)), "cars3")
    with pytest.raises(ValueError, match=r"no sequence 'cars6', it has cars3; .*sequences=NAME"):
        prepared(tmp_path, colour(), "cars6")
    with pytest.raises(ValueError, match="unknown FBMS-59 sequence 'dog'"):
        prepared(tmp_path, colour(), "dog")


def test_every_sequence_is_trained_on_and_the_test_set_scored():
    rows = fbms59.PUBLISHED.values()
    assert (len(fbms59.SEQUENCES), len(fbms59.SCORED)) == (59, 30)
    assert sum(int(row["frames"]) for row in rows) == 13_860
    assert sum(int(row["annotated"]) for row in rows) == 720
    assert sum(int(fbms59.PUBLISHED[name]["annotated"]) for name in fbms59.SCORED) == 367
    assert fbms59.archive_of("bear01") == "resources/archives/FBMS_Trainingset.zip"
    assert fbms59.archive_of("tennis") == "resources/archives/FBMS_Testset.zip"


def test_the_last_frame_counts_in_the_own_protocol_alone():
    assert fbms59.counts(0, "cars1_01", 18) == {"benchmark": True, "released": True}
    assert fbms59.counts(18, "cars1_19", 18) == {"benchmark": True, "released": False}
