"""MOVi-F (Greff et al., "Kubric", CVPR 2022) and its stand-in: videos of rigid objects.

MOVi-F is read from its published TFRecords, without TensorFlow, or from a folder of exported
videos. Traps: depth is 16 bit over a range of its own; at 256 and 128 px, depth and segmentation
are samples of the 512 px render beside the pixels' centres, while colours are averages around them.
"""

import struct
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import google_crc32c
import numpy as np

from lrtl.datasets import RIGID, movi_mini
from lrtl.datasets.trajectories import RigidVideo
from lrtl.files import whole_file

RENDERED = 512  # px, the side MOVi-F was rendered at
REMEDY = (
    "copy some files of gs://kubric-public/tfds/movi_f/{128x128,256x256,512x512}/1.0.0/ to a "
    "folder and set movi_source to it; the public bucket refuses anonymous access at times, then "
    "export videos elsewhere as NAME.npz with the fields of lrtl.datasets.trajectories.RigidVideo"
)
FLOATS = {
    "metadata/depth_range": (2,),
    "camera/focal_length": (),
    "camera/sensor_width": (),
    "camera/positions": (-1, 3),
    "camera/quaternions": (-1, 4),
    "instances/positions": (-1, 3),
    "instances/quaternions": (-1, 4),
}
BYTES = ("metadata/video_name", "video", "segmentations", "depth")


def prepare(dataset: str, index: int, source: Path | None, out: Path) -> None:
    """Write a video of movi_mini, by its seed, or of MOVi-F, by its place in `source`, as .npz."""
    if dataset not in RIGID:
        raise ValueError(f"unknown dataset {dataset!r}; one of {', '.join(RIGID)}")
    video = movi_mini.render(index) if dataset == "movi_mini" else find_video(source, index)
    write_video(video, out)


def write_video(video: RigidVideo, path: Path) -> None:
    """Write a video as compressed .npz, an array for each field."""
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, **asdict(video))


def read_video(path: Path) -> RigidVideo:
    """Read a video from .npz.

    Raises:
        ValueError: the file is no such archive, or a field is missing or of another shape.
    """
    try:
        with np.load(path, allow_pickle=False) as fields:
            values = {name: fields[name] for name in fields}
        scalars = {name: value.item() for name, value in values.items() if value.ndim == 0}
        return _checked(RigidVideo(**values | scalars))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} holds no video of rigid objects ({error})") from error


def find_video(source: Path | None, index: int) -> RigidVideo:
    """Video `index` of a folder of TFRecords or of .npz files, by name of file, then by place.

    Raises:
        ValueError: no folder, no such files or not that many videos; says where to get them.
    """
    if source is None or not Path(source).is_dir():
        raise ValueError(f"MOVi-F's folder is {source}; {REMEDY}")
    exported = sorted(Path(source).glob("*.npz"))
    files = sorted(path for path in Path(source).iterdir() if ".tfrecord" in path.name)
    if index < len(exported):
        return read_video(exported[index])
    left = index - len(exported)
    for path in files:
        for record in read_records(path):
            if left == 0:
                return parse_video(record, f"{path}")
            left -= 1
    raise ValueError(f"{source} has {index - left} videos, number {index} is asked for; {REMEDY}")


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file: length, its checksum, data, its checksum (masked crc32c).

    Raises:
        ValueError: a record is cut off or damaged; the file and the record's number are named.
    """
    with open(path, "rb") as file:
        for number, header in enumerate(iter(lambda: file.read(12), b"")):
            length = int.from_bytes(header[:8], "little")
            whole = len(header) == 12 and _masked_sum(header[:8]) == header[8:]
            data = file.read(length) if whole else b""
            if len(data) < length or _masked_sum(data) != file.read(4):
                raise ValueError(f"{path}: record {number} is cut off or damaged; copy it again")
            yield data


def parse_video(record: bytes, where: str) -> RigidVideo:
    """A video from a tf.train.Example in the schema of tensorflow_datasets' movi_f 1.0.0."""
    features = _parse_example(record, {*FLOATS, *BYTES})
    missing = sorted({*FLOATS, *BYTES} - features.keys())
    if missing:
        raise ValueError(f"{where}: an example has no feature {missing[0]}; it is none of MOVi-F")
    floats = {
        name: np.frombuffer(b"".join(features[name]), "<f4").reshape(shape)
        for name, shape in FLOATS.items()
    }
    images = {
        name: np.stack([_decode(data, where) for data in features[name]]) for name in BYTES[1:]
    }
    frames, _, width = images["depth"].shape
    low, high = floats["metadata/depth_range"].astype(np.float64)
    return _checked(
        RigidVideo(
            name=features["metadata/video_name"][0].decode(),
            video=images["video"][..., ::-1],
            segmentations=images["segmentations"],
            depth=(images["depth"] / 65535 * (high - low) + low).astype(np.float32),
            focal_length=float(floats["camera/focal_length"]),
            sensor_width=float(floats["camera/sensor_width"]),
            camera_positions=floats["camera/positions"],
            camera_quaternions=floats["camera/quaternions"],
            positions=floats["instances/positions"].reshape(-1, frames, 3),
            quaternions=floats["instances/quaternions"].reshape(-1, frames, 4),
            offset=sampling_offset(width),
        )
    )


def sampling_offset(width: int) -> float:
    """Px from a pixel's centre to the sample of the 512 px render it took its depth from."""
    step = RENDERED // width
    return ((step - 1) // 2 + 0.5) / step - 0.5


def _checked(video: RigidVideo) -> RigidVideo:
    """The video; ValueError unless the shapes of its fields and the instances' ids agree."""
    frames, height, width = video.depth.shape
    instances = len(video.positions)
    expected = {
        "video": (frames, height, width, 3),
        "segmentations": (frames, height, width),
        "camera_positions": (frames, 3),
        "camera_quaternions": (frames, 4),
        "positions": (instances, frames, 3),
        "quaternions": (instances, frames, 4),
    }
    for name, shape in expected.items():
        if getattr(video, name).shape != shape:
            raise ValueError(f"{name} is {getattr(video, name).shape}, expected {shape}")
    if video.segmentations.max() > instances:
        raise ValueError(f"id {video.segmentations.max()} of {instances} instances, ids from 1")
    return video


def _decode(data: bytes, where: str) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"{where}: a frame cannot be read as an image")
    return image


def _masked_sum(data: bytes) -> bytes:
    """The checksum of a TFRecord: crc32c, rotated and moved by a constant."""
    value = google_crc32c.value(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _parse_example(data: bytes, wanted: set[str]) -> dict[str, list[bytes]]:
    """The values of the wanted features of a tf.train.Example, as bytes; floats may be packed.

    Example.features (1) is a map (1) from name (1) to feature (2): a list (1 bytes, 2 floats, 3
    integers) of values (1).
    """
    features = {}
    for entry in _fields(_only(data, 1)):
        name = bytes(_only(entry[1], 1)).decode()
        if name in wanted:
            lists = list(_fields(_only(entry[1], 2)))
            features[name] = [bytes(value) for _, value in _fields(lists[0][1])] if lists else []
    return features


def _only(data, number: int) -> memoryview:
    """The last field `number` of a protocol buffer's message."""
    return dict(_fields(data)).get(number, b"")


def _fields(data) -> Iterator[tuple[int, bytes]]:
    """Number and payload of the fields of a protocol buffer's message."""
    view, place = memoryview(data), 0
    while place < len(view):
        key, place = _varint(view, place)
        start = place
        if key & 7 == 2:  # bytes after their length
            length, start = _varint(view, place)
            place = start + length
        else:  # an integer of variable length, 8 or 4 bytes
            place = {0: _varint(view, place)[1], 1: place + 8, 5: place + 4}[key & 7]
        yield key >> 3, view[start:place]


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = view[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
