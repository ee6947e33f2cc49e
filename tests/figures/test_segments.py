"""Pictures of a small sequence: sizes, counts and colours, and the same file every time."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from lrtl.datasets.layout import Sequence, write_mask, write_sequence
from lrtl.figures import (
    FOREGROUND,
    TRUTH,
    comparison,
    contact_sheet,
    draw_components,
    draw_foreground,
    overlay,
)

HEIGHT, WIDTH, LENGTH = 61, 97, 9


def ball(t):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (y - 30) ** 2 + (x - 20 - 6 * t) ** 2 < 15**2


def jpeg():
    file = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (60, 120, 60)).save(file, "jpeg")
    return file.getvalue()


@pytest.fixture
def made(tmp_path):
    """A sequence of odd size with ground truth for half of its frames, and predictions."""
    stems = [f"{t:05d}" for t in range(LENGTH)]
    truth = [(stems[t], ball(t).astype(np.uint8)) for t in range(0, LENGTH, 2)]
    write_sequence(tmp_path / "ball", "test", "ball", [(s, jpeg()) for s in stems], truth, {})
    for t, stem in enumerate(stems):
        write_mask(tmp_path / "masks" / f"{stem}.png", ball(t))
        write_mask(tmp_path / "components" / f"{stem}.png", 3 * ball(t))
        write_mask(tmp_path / "objects" / f"{stem}.png", 2 * ball(t))
    folders = (tmp_path / name for name in ("masks", "components", "objects"))
    return Sequence.open(tmp_path / "ball"), *folders


def decode(path):
    with av.open(path) as video:
        codec = video.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def test_the_overlay_has_every_frame_at_even_size(made, tmp_path):
    overlay(made[0], made[1], tmp_path / "out" / "ball.mp4")
    pictures = decode(tmp_path / "out" / "ball.mp4")
    assert [picture.shape for picture in pictures] == [(60, 96, 3)] * LENGTH
    assert sorted(os.listdir(tmp_path / "out")) == ["ball.mp4", "ball.mp4.sha256"]


@pytest.mark.parametrize("rate, played", [(None, 12), (29.97002997, Fraction(30000, 1001))])
def test_the_overlay_plays_at_the_rate_of_the_sequence(made, tmp_path, rate, played):
    overlay(replace(made[0], rate=rate), made[1], tmp_path / "ball.mp4")
    with av.open(tmp_path / "ball.mp4") as video:
        assert video.streams.video[0].average_rate == played


def test_the_overlay_tints_the_foreground_alone(made, tmp_path):
    overlay(made[0], made[1], tmp_path / "ball.mp4")
    for t, picture in enumerate(decode(tmp_path / "ball.mp4")):
        red, green = picture[30, 20 + 6 * t, :2].astype(int)
        assert red > green
        red, green = picture[5, 48, :2].astype(int)
        assert green > red


def test_pictures_are_the_same_whatever_memory_holds(made, tmp_path):
    sequence, masks, components, objects = made
    for fill in ("0", "1", "170"):
        command = [sys.executable, "-m", "lrtl", "pictures", "--sequence", sequence.folder]
        command += ["--masks", masks, "--components", components, "--objects", objects]
        command += ["--overlay", tmp_path / f"{fill}.mp4", "--sheet", tmp_path / f"{fill}.png"]
        subprocess.run(command, env=os.environ | {"MALLOC_PERTURB_": fill}, check=True)
    for suffix in ("mp4", "png"):
        assert len({(tmp_path / f"{fill}.{suffix}").read_bytes() for fill in (0, 1, 170)}) == 1


def test_the_sheet_has_four_rows_of_six_pictures(made, tmp_path):
    contact_sheet(*made, tmp_path / "ball.png")
    sheet = np.array(Image.open(tmp_path / "ball.png")).astype(int)
    coloured = np.ptp(sheet, axis=2) > 30  # text is grey, the frames are not
    assert groups(coloured[70:].mean(1) > 0.5) == 4
    assert groups(coloured[70:].mean(0) > 0.5) == 6


def test_a_comparison_has_a_row_per_run_and_a_column_per_sequence(made, tmp_path):
    sequence = made[0]
    for name in ("first", "second"):
        for t, stem in enumerate(sequence.frames):
            mask = ball(t) if name == "first" else ~ball(t)
            write_mask(tmp_path / name / "seed0" / "ball" / f"{stem}.png", mask)
    runs = [tmp_path / name / "seed0" for name in ("first", "second")]
    comparison([sequence, sequence], runs, "balls", tmp_path / "out.png")
    sheet = np.array(Image.open(tmp_path / "out.png")).astype(int)
    coloured = np.ptp(sheet, axis=2) > 30
    assert groups(coloured[70:].mean(1) > 0.5) == 4
    assert groups(coloured[70:].mean(0) > 0.5) == 2
    height = round(280 * HEIGHT / WIDTH)
    frame, truth, first, second = (
        sheet[64 + row * (height + 4) :][:height, 30 : 30 + 280] for row in range(4)
    )
    assert (truth == first).all() and not (truth == second).all()
    assert (frame[..., 1] > frame[..., 0]).all() and (truth[..., 0] > truth[..., 1]).any()
    (runs[1] / "ball" / "00004.png").unlink()
    with pytest.raises(ValueError, match=r"second/seed0/ball/00004.png"):
        comparison([sequence], runs, "balls", tmp_path / "none.png")


def groups(line):
    return np.count_nonzero(np.diff(line.astype(int), prepend=0) == 1)


def test_a_short_sequence_has_a_column_per_frame(made, tmp_path):
    sequence = made[0]
    frames = [(s, jpeg()) for s in sequence.frames[:3]]
    write_sequence(tmp_path / "short", "test", "short", frames, [], {})
    contact_sheet(Sequence.open(tmp_path / "short"), *made[1:], tmp_path / "short.png")
    contact_sheet(*made, tmp_path / "ball.png")
    short, whole = (Image.open(tmp_path / f"{name}.png") for name in ("short", "ball"))
    assert short.height == whole.height
    assert short.width < 0.55 * whole.width


def test_a_missing_mask_is_named_and_leaves_nothing(made, tmp_path):
    (made[1] / "00003.png").unlink()
    with pytest.raises(ValueError, match=r"00003.png"):
        overlay(made[0], made[1], tmp_path / "out" / "ball.mp4")
    assert not list((tmp_path / "out").iterdir())


def test_the_foreground_is_tinted_and_both_outlines_drawn():
    frame = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    mask, truth = ball(1), ball(8).astype(np.uint8)
    picture = draw_foreground(frame, mask, truth, 2)
    assert (frame == 100).all()
    assert picture[30, 26].tolist() == [170, 84, 84]  # 55 % of the frame, 45 % of the colour
    assert picture[2, 2].tolist() == [100, 100, 100]
    assert (picture == FOREGROUND).all(-1).any()
    assert bluish(picture)[:, 60:].any() and not bluish(picture)[:, :45].any()
    assert not bluish(draw_foreground(frame, mask, None, 2)).any()


def bluish(picture):
    """Pixels near the colour of the ground truth's outline, which is smoothed."""
    return np.abs(picture.astype(int) - TRUTH).sum(-1) < 150


def test_components_differ_in_colour():
    labels = np.arange(8, dtype=np.uint8)[None]
    colours = draw_components(np.full((1, 8, 3), 100, np.uint8), labels)[0]
    apart = np.abs(colours[:, None].astype(int) - colours[None]).sum(-1)
    assert apart[~np.eye(8, dtype=bool)].min() > 40
