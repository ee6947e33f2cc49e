"""Clips of every kind a person has: what is read is what was written, or an error says why not."""

import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from lrtl.datasets.clips import Shot, decode, find_clips, find_shots, frame_rate, name_of, prepare
from lrtl.datasets.layout import Sequence


def scene(hue, t, height=60, width=98):
    """A smooth picture that pans; `hue` makes scenes that are nothing alike."""
    y, x = np.mgrid[:height, :width]
    wave = np.sin((x + 2 * t) / 9) + np.cos(y / (7 + hue))
    channels = [127 + 60 * np.roll([1, -1, 0.3], hue)[c] * wave for c in range(3)]
    return np.clip(np.stack(channels, -1) + 40 * (hue - 1), 0, 255).astype(np.uint8)


def write_video(path, frames, pixels="yuv420p", codec="libx264", times=None, rate=25):
    with av.open(path, "w") as video:
        stream = video.add_stream(codec, rate=Fraction(rate))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = index if times is None else times[index]
            video.mux(stream.encode(picture))
        video.mux(stream.encode())


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le", "gray", "yuv444p"])
def test_video_of_any_pixel_format_is_read_as_rgb(tmp_path, pixels):
    frames = [scene(0, t) for t in range(5)]
    write_video(tmp_path / "clip.mp4", frames, pixels)
    read = list(decode(tmp_path / "clip.mp4"))
    assert [frame.shape for frame in read] == [(60, 98, 3)] * 5
    assert {frame.dtype for frame in read} == {np.dtype(np.uint8)}
    for frame, original in zip(read, frames, strict=True):
        if pixels == "gray":
            assert np.ptp(frame, axis=-1).max() == 0
            original = original @ np.array([0.299, 0.587, 0.114])
            original = np.repeat(original[..., None], 3, -1)
        assert np.abs(frame - original.astype(float)).mean() < 6


def test_frames_of_a_variable_rate_are_read_once_each(tmp_path):
    frames = [scene(0, t) for t in range(6)]
    write_video(tmp_path / "clip.mkv", frames, times=[0, 1, 5, 6, 20, 21])
    assert len(list(decode(tmp_path / "clip.mkv"))) == 6


@pytest.mark.parametrize("rate", [25, Fraction(30000, 1001), 50])
def test_the_rate_of_a_video_is_that_of_its_shots(tmp_path, rate):
    write_video(tmp_path / "clip.mp4", [scene(0, t) for t in range(4)], rate=rate)
    (shot,) = find_shots(tmp_path / "clip.mp4")
    assert Fraction(shot.rate).limit_denominator(1001) == rate
    shot.save(tmp_path)
    prepare("clip", tmp_path / "clip.json", tmp_path / "out")
    assert Sequence.open(tmp_path / "out").rate == shot.rate


def test_folders_of_frames_and_unbelievable_rates_say_nothing(tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "0.png")
    write_video(tmp_path / "clip.mkv", [scene(0, 0)] * 2, rate=1000)
    assert [frame_rate(tmp_path), frame_rate(tmp_path / "clip.mkv")] == [None, None]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotated_video_is_upright(tmp_path, turns):
    """The display matrix of the track is set as a phone held in another way sets it."""
    path = tmp_path / "clip.mp4"
    write_video(path, [scene(0, t) for t in range(3)])
    plain = next(decode(path))
    cosine, sine = [(0, 1), (-1, 0), (0, -1)][turns - 1]  # clockwise
    matrix = struct.pack(
        ">9i", *(65536 * v for v in (cosine, sine, 0, -sine, cosine, 0)), 0, 0, 2**30
    )
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = matrix
    path.write_bytes(data)
    np.testing.assert_array_equal(next(decode(path)), np.rot90(plain, -turns))


def test_folders_sort_numbers_as_numbers(tmp_path):
    for number in (1, 2, 10):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    assert [int(frame[0, 0, 0]) for frame in decode(tmp_path)] == [1, 2, 10]


def test_images_of_sixteen_bits_and_with_alpha_are_read(tmp_path):
    grey = np.linspace(0, 65535, 200).reshape(10, 20).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "0.png")
    Image.new("RGBA", (20, 10), (9, 8, 7, 255)).save(tmp_path / "1.png")
    first, second = decode(tmp_path)
    np.testing.assert_array_equal(first[..., 0], grey // 257)
    assert second[0, 0].tolist() == [9, 8, 7]


def test_a_cut_makes_two_shots(tmp_path):
    frames = [scene(0, t) for t in range(20)] + [scene(2, t) for t in range(15)]
    write_video(tmp_path / "my clip.mp4", frames)
    shots = find_shots(tmp_path / "my clip.mp4")
    assert [(s.name, s.first, s.last) for s in shots] == [
        ("my_clip_1", 0, 19),
        ("my_clip_2", 20, 34),
    ]
    part = find_shots(tmp_path / "my clip.mp4", 4, 18)
    assert [(s.name, s.first, s.last) for s in part] == [("my_clip", 4, 17)]


def test_letters_of_any_alphabet_stay_in_names():
    names = ["Grüße (1)", "Gru\u0308\u00dfe (1)", "散歩.final", "a/b c"]
    assert [name_of(Path(f"{name}.mp4")) for name in names] == [
        *("Grüße_1_", "Grüße_1_", "散歩_final", "b_c")
    ]


def test_a_fast_pan_is_no_cut(tmp_path):
    write_video(tmp_path / "clip.mp4", [scene(0, 6 * t) for t in range(30)])
    assert len(find_shots(tmp_path / "clip.mp4")) == 1


def test_a_shot_is_prepared_with_its_frames_alone(tmp_path):
    frames = [scene(0, t) for t in range(20)] + [scene(2, t) for t in range(15)]
    write_video(tmp_path / "clip.mp4", frames)
    for shot in find_shots(tmp_path / "clip.mp4"):
        shot.save(tmp_path)
    prepare("clip_2", tmp_path / "clip_2.json", tmp_path / "out")
    sequence = Sequence.open(tmp_path / "out")
    assert (len(sequence.frames), sequence.frames[0], sequence.annotated) == (15, "00020", ())
    difference = np.abs(sequence.frame(0).astype(int) - scene(2, 0))
    assert difference.mean() < 4


def test_a_shot_is_written_again_only_if_it_changed(tmp_path):
    shot = Shot("a", "/a.mp4", 0, 9, 60, 98, 1, None)
    shot.save(tmp_path)
    before = (tmp_path / "a.json").stat().st_mtime_ns
    shot.save(tmp_path)
    assert (tmp_path / "a.json").stat().st_mtime_ns == before
    assert Shot.open(tmp_path / "a.json") == shot
    (tmp_path / "a.json").write_text(json.dumps({"name": "a"}))
    with pytest.raises(ValueError, match=r"a\.json does not describe a shot"):
        Shot.open(tmp_path / "a.json")


def test_a_frame_written_anew_makes_another_shot(tmp_path):
    for index in range(3):
        Image.fromarray(scene(0, index)).save(tmp_path / f"{index}.png")
    (before,) = find_shots(tmp_path)
    (tmp_path / "1.png").write_bytes((tmp_path / "2.png").read_bytes())
    (after,) = find_shots(tmp_path)
    assert after.changed > before.changed


def test_clips_are_found_in_a_folder(tmp_path):
    write_video(tmp_path / "b.mp4", [scene(0, 0)] * 2)
    (tmp_path / "a").mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / "a" / "0.png")
    assert find_clips(tmp_path) == [tmp_path / "b.mp4", tmp_path / "a"]
    assert find_clips(tmp_path / "a") == [tmp_path / "a"]
    assert find_clips(tmp_path / "b.mp4") == [tmp_path / "b.mp4"]
    with pytest.raises(ValueError, match=r"no\.mp4 is no video and no folder"):
        find_clips(tmp_path / "no.mp4")


def test_one_frame_is_too_few(tmp_path):
    write_video(tmp_path / "clip.mp4", [scene(0, 0)])
    with pytest.raises(ValueError, match=r"clip\.mp4: frames in 0:: 1, motion needs"):
        find_shots(tmp_path / "clip.mp4")


def test_a_video_cut_short_names_the_frame(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (60, 98, 3), np.uint8) for _ in range(40)]
    write_video(tmp_path / "clip.mkv", frames)
    data = (tmp_path / "clip.mkv").read_bytes()
    (tmp_path / "clip.mkv").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"clip\.mkv: frame \d+ .* --frames 0:\d+") as error:
        find_shots(tmp_path / "clip.mkv")
    whole = int(str(error.value).rpartition(":")[2])
    assert [shot.last for shot in find_shots(tmp_path / "clip.mkv", 0, whole)] == [whole - 1]


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video at all" * 100)
    with pytest.raises(ValueError, match=r"clip\.mp4: frame 0 cannot be decoded"):
        list(decode(tmp_path / "clip.mp4"))


def test_frames_of_other_sizes_are_refused(tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "0.png")
    Image.new("RGB", (20, 12)).save(tmp_path / "1.png")
    with pytest.raises(ValueError, match=r"frame 1 is \(12, 20\) px"):
        list(decode(tmp_path))
