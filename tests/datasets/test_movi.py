"""MOVi-F's TFRecords, made by hand in the official schema, and exported videos."""

import struct
from dataclasses import asdict, replace

import cv2
import google_crc32c
import numpy as np
import pytest

from lrtl.datasets.movi import find_video, prepare, read_records, read_video, write_video
from lrtl.datasets.movi_mini import SIDE, render
from lrtl.datasets.trajectories import flow, trajectories

PIXELS = np.arange(0, SIDE * SIDE, 7)


@pytest.fixture(scope="module")
def video():
    return render(1)


def varint(value):
    data = b""
    while value > 127:
        data, value = data + bytes([value & 127 | 128]), value >> 7
    return data + bytes([value])


def message(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(values, packed=True):
    """A tf.train.Feature of a list of bytes, or an array of floats or integers."""
    if isinstance(values, list):
        return message(1, b"".join(message(1, value) for value in values))
    if values.dtype.kind == "f":
        floats = values.astype("<f4").tobytes()
        if packed:
            return message(2, message(1, floats))
        cut = [floats[i : i + 4] for i in range(0, len(floats), 4)]
        return message(2, b"".join(varint(1 << 3 | 5) + value for value in cut))
    return message(3, message(1, b"".join(varint(int(v)) for v in values.ravel())))


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def example(video, packed=True, step=1):
    """The example of a video; with `step`, a smaller one as MOVi-F makes them."""
    offset = (step - 1) // 2
    cut = np.s_[:, offset::step, offset::step]
    depth, side = video.depth[cut], SIDE // step
    low, high = depth.min(), depth.max()
    levels = np.round((depth - low) / (high - low) * 65535).astype(np.uint16)
    small = [cv2.resize(f, (side, side), interpolation=cv2.INTER_AREA) for f in video.video]
    moved = np.stack([flow(video, t, 1) for t in range(2)])[:, ::-1]  # (row, column)
    features = {
        "metadata/video_name": [video.name.encode()],
        "metadata/width": np.array([side]),
        "metadata/num_instances": np.array([len(video.positions)]),
        "metadata/depth_range": np.array([low, high], np.float32),
        "metadata/forward_flow_range": np.array([-20.0, 20.0]),
        "video": [png(frame[..., ::-1]) for frame in small],
        "segmentations": [png(ids) for ids in video.segmentations[cut]],
        "depth": [png(frame) for frame in levels],
        "forward_flow": np.round((moved.clip(-20, 20) + 20) / 40 * 65535).astype(np.uint16),
        "camera/focal_length": np.array([video.focal_length]),
        "camera/sensor_width": np.array([video.sensor_width]),
        "camera/positions": video.camera_positions,
        "camera/quaternions": video.camera_quaternions,
        "instances/positions": video.positions,
        "instances/quaternions": video.quaternions,
        "instances/category": np.arange(len(video.positions)),
        "background": [b"ground"],
    }
    entries = (
        message(1, message(1, name.encode()) + message(2, feature(values, packed)))
        for name, values in features.items()
    )
    return message(1, b"".join(entries))


def masked(data):
    value = google_crc32c.value(data)
    return struct.pack("<I", (((value >> 15) | (value << 17)) + 0xA282EAD8) % 2**32)


def record(data):
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


@pytest.mark.parametrize("packed", [True, False])
def test_a_tfrecord_gives_the_tracks_of_the_renderer(video, tmp_path, packed):
    path = tmp_path / "movi_f-validation.tfrecord-00000-of-00001"
    path.write_bytes(record(b"\n\x00") + record(example(video, packed)))
    # The place of the rendered side: MOVi-F's is 512, so that 128 px would be samples beside.
    read = replace(find_video(tmp_path, 1), offset=0.0)
    assert read.name == video.name
    np.testing.assert_array_equal(read.video, video.video)
    np.testing.assert_array_equal(read.segmentations, video.segmentations)
    np.testing.assert_allclose(read.depth, video.depth, atol=4e-4)
    for t in (0, 15):
        positions, visible = trajectories(read, t, PIXELS)
        expected, seen = trajectories(video, t, PIXELS)
        near = (np.abs(expected) < 2 * SIDE).all(1)
        assert np.abs(positions - expected).max(1)[near].max() < 0.05
        assert np.median(np.abs(positions - expected)) < 1e-3
        assert (visible == seen).mean() > 0.99


def test_smaller_videos_are_sampled_beside_their_pixels(video, tmp_path, monkeypatch):
    monkeypatch.setattr("lrtl.datasets.movi.RENDERED", SIDE)
    for step, offset in ((2, -0.25), (4, -0.125)):
        (tmp_path / "movi_f.tfrecord").write_bytes(record(example(video, step=step)))
        small = find_video(tmp_path, 0)
        assert small.offset == offset
        y, x = np.mgrid[: SIDE // step, : SIDE // step].reshape(2, -1)
        first = (step - 1) // 2
        expected, _ = trajectories(video, 8, (y * step + first) * SIDE + x * step + first)
        expected = (expected + 0.5) / step - 0.5
        positions, _ = trajectories(small, 8, np.arange(len(x)))
        near = (np.abs(expected) < SIDE).all(1)
        assert np.abs(positions - expected).max(1)[near].max() < 0.05


def test_exported_videos_are_the_same(video, tmp_path):
    write_video(video, tmp_path / "a.npz")
    again = asdict(find_video(tmp_path, 0))
    for name, value in asdict(video).items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)
    prepare("movi_mini", 1, None, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_errors_say_what_to_do(video, tmp_path):
    with pytest.raises(ValueError, match=r"folder is None; .*refuses anonymous access"):
        prepare("movi", 0, None, tmp_path / "out.npz")
    with pytest.raises(ValueError, match=r"has 0 videos, number 0 .*gs://kubric-public"):
        find_video(tmp_path, 0)
    with pytest.raises(ValueError, match="unknown dataset 'movi_e'"):
        prepare("movi_e", 0, None, tmp_path / "out.npz")
    path = tmp_path / "movi_f.tfrecord"
    data = record(example(video))
    for broken in (data[:-9], data[:5], data[:40] + b"!" + data[41:]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"movi_f.tfrecord: record 0 is cut off or damaged"):
            list(read_records(path))
    path.write_bytes(record(b"\n\x00"))
    with pytest.raises(ValueError, match=r"movi_f.tfrecord: .*no feature camera/focal_length"):
        find_video(tmp_path, 0)
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"a.npz holds no video"):
        read_video(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **asdict(replace(video, positions=video.positions[:1])))
    with pytest.raises(ValueError, match=r"quaternions is .*expected \(1, 24, 4\)"):
        read_video(tmp_path / "a.npz")
