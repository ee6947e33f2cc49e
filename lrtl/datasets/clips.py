"""Anybody's own clips: video files and folders of frames, cut into shots.

A shot is a sequence of this dataset. It is described by a small file, `{name}.json`, that says
which frames of which clip it holds.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Self

import av
import cv2
import numpy as np
from PIL import Image, ImageOps
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from lrtl.datasets.layout import UNREADABLE, encode_jpeg, write_sequence
from lrtl.files import whole_file

NAME = "clips"
SEQUENCES = SCORED = ()  # the shots are named in the config; nothing is annotated

VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".gif", ".ogv")
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
SCAN_SIZE = (160, 90)  # width and height in px of the frames in which cuts are looked for
SHORTEST_SHOT = 8  # frames
RATES = (1, 240)  # frames per second that are believed
SHORT = 0.5  # s that may lack at the end of a whole file: rates and stated lengths are rounded


@dataclass(frozen=True)
class Shot:
    """Frames `first` to `last`, both included, of a clip; they show one scene."""

    name: str
    clip: str  # a video file or a folder of frames
    first: int
    last: int
    height: int
    width: int
    changed: int  # when the clip was last written, in ns, so that a new version is a new shot
    rate: float | None  # frames per second; None of a folder of frames

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.last + 1 - self.first

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read `{name}.json`."""
        try:
            return cls(**json.loads(Path(path).read_text()))
        except (OSError, ValueError, TypeError) as error:
            remedy = "delete it and run `lrtl segment` again"
            raise ValueError(f"{path} does not describe a shot ({error}); {remedy}") from error

    def save(self, folder: Path) -> None:
        """Write `{name}.json` unless it is there and the same."""
        path, text = folder / f"{self.name}.json", json.dumps(asdict(self), indent=1) + "\n"
        if not path.exists() or path.read_text() != text:
            with whole_file(path, record=False) as temporary:
                temporary.write_text(text)


def archive_of(sequence: str) -> str:
    """The description of a shot."""
    return f"resources/clips/{sequence}.json"


def prepare(sequence: str, archive: Path, out: Path) -> None:
    """Lay out the frames of one shot; `archive` is its `{name}.json`."""
    shot = Shot.open(archive)
    frames = islice(decode(Path(shot.clip)), shot.first, shot.last + 1)
    named = ((f"{i:05d}", encode_jpeg(frame)) for i, frame in enumerate(frames, shot.first))
    write_sequence(out, NAME, sequence, named, [], asdict(shot), shot.rate)


def find_clips(path: Path) -> list[Path]:
    """The clips at a path: a video, a folder of frames, or what a folder holds of both.

    Raises:
        ValueError: there is nothing to read; suffixes that are known are listed.
    """
    path = Path(path)
    if path.suffix.lower() in VIDEOS and path.is_file():
        return [path]
    if path.is_dir():
        if _images(path):
            return [path]
        inside = sorted(path.iterdir())
        videos = [p for p in inside if p.suffix.lower() in VIDEOS and p.is_file()]
        clips = videos + [p for p in inside if p.is_dir() and _images(p)]
        if clips:
            return clips
    known = " ".join(VIDEOS + IMAGES)
    raise ValueError(f"{path} is no video and no folder of videos or frames; known are {known}")


def check_apart(inputs: list[Path], out: Path) -> None:
    """Raise ValueError if the folder of outputs holds an input, or is in one."""
    for path in inputs:
        inside = path.is_dir() and out.resolve().is_relative_to(path.resolve())
        if inside or path.resolve().is_relative_to(out.resolve()):
            raise ValueError(f"{out} and the clip {path} overlap; name a folder elsewhere with -o")


def name_of(clip: Path) -> str:
    """What outputs of a clip are called: its name, with _ for all but letters and digits."""
    return re.sub(r"[^\w-]+", "_", unicodedata.normalize("NFC", clip.stem))


def find_shots(clip: Path, first: int = 0, end: int | None = None) -> list[Shot]:
    """Read a clip once and cut it into shots.

    Args:
        clip: a video file or a folder of frames.
        first: the first frame to use, by index from 0.
        end: the frame before which to stop; by default there is none.

    Raises:
        ValueError: a frame cannot be decoded, or there are fewer than two.
    """
    detector, bounds, last = AdaptiveDetector(min_scene_len=SHORTEST_SHOT), [first], first - 1
    for last, frame in enumerate(islice(decode(clip), first, end), first):
        height, width = frame.shape[:2]
        small = cv2.resize(frame, SCAN_SIZE, interpolation=cv2.INTER_AREA)
        cuts = detector.process_frame(FrameTimecode(last, 25.0), small[..., ::-1])
        bounds += [cut.frame_num for cut in cuts]
    bounds.append(last + 1)
    if last <= first:
        count, asked = max(last + 1 - first, 0), f"{first}:{'' if end is None else end}"
        raise ValueError(f"{clip}: frames in {asked}: {count}, motion needs two or more")
    stem = name_of(clip)
    changed = max(path.stat().st_mtime_ns for path in [clip, *_images(clip)])
    rate = frame_rate(clip)
    return [
        Shot(
            stem if len(bounds) == 2 else f"{stem}_{number}",
            str(clip.resolve()),
            *(start, stop - 1),
            *(height, width),
            *(changed, rate),
        )
        for number, (start, stop) in enumerate(pairwise(bounds), 1)
        if stop - start > 1
    ]


def decode(clip: Path) -> Iterator[np.ndarray]:
    """Frames of a clip as RGB (H, W, 3) uint8, upright, each as it was stored; one of an image.

    Frames of a variable rate are neither repeated nor dropped; 10-bit and grey video is converted.

    Raises:
        ValueError: a frame is damaged or of another size; the clip and the frame are named.
    """
    size, count = None, 0
    if clip.is_dir():
        frames = map(_decode_image, _images(clip))
    elif is_image(clip):
        frames = iter([_decode_image(clip)])
    else:
        frames = _decode_video(clip)
    for frame in frames:
        if size not in (None, frame.shape[:2]):
            raise ValueError(
                f"{clip}: frame {count} is {frame.shape[:2]} px (H, W), the first is {size}; "
                "bring all frames to one size"
            )
        size, count = frame.shape[:2], count + 1
        yield frame
    if count == 0:
        raise ValueError(f"{clip} holds no frame")


def frame_rate(clip: Path) -> float | None:
    """Frames per second of a video, their mean where it varies; None if nothing believable is said.

    An image and a folder of frames have none.
    """
    if clip.is_dir() or is_image(clip):
        return None
    with av.open(clip) as container:
        rate = container.streams.video[0].average_rate
    return float(rate) if rate and RATES[0] <= rate <= RATES[1] else None


def _decode_video(clip: Path) -> Iterator[np.ndarray]:
    count, end = 0, 0.0
    try:
        with av.open(clip) as container:
            if not container.streams.video:
                raise EOFError("there is no video stream")
            stream = container.streams.video[0]
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise EOFError("it is damaged")
                end = max(end, frame.time or 0.0)
                turns = round(frame.rotation / 90)  # counter-clockwise
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
                count += 1
            if end < _last_second(stream) - SHORT:
                raise EOFError(f"the file ends at {end:.1f} of {_last_second(stream):.1f} s")
    except (av.error.FFmpegError, EOFError) as error:
        remedy = f"; keep what is whole with lrtl segment --frames 0:{count}" if count > 1 else ""
        raise ValueError(f"{clip}: frame {count} cannot be decoded ({error}){remedy}") from error


def _last_second(stream: av.VideoStream) -> float:
    """When a stream ends by what its file says, in seconds; 0 if it does not say."""
    if stream.duration is not None:
        return float((stream.start_time or 0) + stream.duration) * float(stream.time_base)
    stated = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    return 3600 * int(stated[1]) + 60 * int(stated[2]) + float(stated[3]) if stated else 0.0


def _decode_image(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits a pixel, which `convert` would clip
                upright = Image.fromarray((np.array(upright) // 257).astype(np.uint8))
            return np.array(upright.convert("RGB"))
    except UNREADABLE as error:
        raise ValueError(f"{path} is not a readable image ({error}); replace it") from error


def is_image(path: Path) -> bool:
    """Whether a path is an image file of a known suffix."""
    return path.suffix.lower() in IMAGES and path.is_file()


def _images(folder: Path) -> list[Path]:
    """Image files of a folder, none of a file; numbers in their names sort as numbers."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(filter(is_image, inside), key=lambda path: _natural(path.name))


def _natural(name: str) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
