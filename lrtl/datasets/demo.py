"""The embedded demo: three rendered sequences with ground truth and one real clip without.

`comet` has one object, `duet` two that pass each other, `pause` one that stops for a while; `box`
is cut from `box.mp4` of OpenCV's documentation, see data/box.mp4.LICENSE.
"""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import av
import numpy as np

from lrtl.datasets import davis
from lrtl.datasets.layout import encode_jpeg, write_sequence
from lrtl.datasets.render import MARGIN, SIZE, Layer, Scene, noise_texture, similarity

NAME = "demo"
SCORED = ("comet", "duet", "pause")
SEQUENCES = (*SCORED, "box")
counts = davis.counts  # which annotated frames count
LENGTH = 48  # frames of a rendered sequence

MEADOW = np.array([[58, 70, 42], [110, 122, 70], [156, 150, 96], [92, 104, 60]])
STREET = np.array([[70, 74, 82], [122, 124, 128], [164, 160, 150], [96, 98, 104]])
SHORE = np.array([[62, 92, 112], [120, 150, 160], [190, 182, 152], [92, 122, 136]])
RED = np.array([[120, 24, 20], [200, 66, 40], [236, 150, 80]])
BLUE = np.array([[24, 36, 110], [56, 92, 190], [150, 180, 236]])
PINK = np.array([[110, 20, 84], [196, 60, 150], [244, 170, 220]])


def archive_of(sequence: str) -> None:
    """No archive: the sequences are made here."""


def prepare(sequence: str, archive: None, out: Path) -> None:
    """Render one sequence, or decode the real clip, into the common layout."""
    if sequence not in SEQUENCES:
        raise ValueError(f"unknown demo sequence {sequence!r}; there are {', '.join(SEQUENCES)}")
    if sequence == "box":
        source = {"file": "box.mp4", "licence": "Apache-2.0 and BSD-3-Clause"}
        write_sequence(out, NAME, sequence, _jpegs(_decode("box.mp4")), [], source)
        return
    rendered = scene(sequence)
    frames = _jpegs(rendered.frame(t) for t in range(rendered.length))
    masks = ((_stem(t), rendered.mask(t)) for t in range(rendered.length))
    write_sequence(out, NAME, sequence, frames, masks, {"rendered": True})


def scene(sequence: str) -> Scene:
    """The scene of a rendered sequence, always the same; motions are in px of the frame."""
    rng = np.random.default_rng([7, SCORED.index(sequence)])
    t = np.arange(LENGTH)
    width = SIZE[1]
    wave = 2 * np.pi * t / LENGTH
    if sequence == "comet":
        pan = _background(rng, MEADOW, -1.1 * t, 0.25 * t, 0.001 * t, 1 + 0.0015 * t)
        x, y = 52 + 4.2 * t, 112 - 34 * np.sin(wave / 2) + 4 * np.sin(2 * wave)
        return Scene((pan, _object(rng, RED, 34, x, y, 0.05 * t, 1 + 0.2 * np.sin(wave))))
    if sequence == "duet":
        pan = _background(rng, STREET, 0.8 * t, -0.3 * np.sin(wave) * 6, 0 * t, 1 + 0 * t)
        first = _object(rng, BLUE, 30, 60 + 3.6 * t, 62 + 16 * np.sin(wave), -0.04 * t, 1 + 0 * t)
        x, y = width - 62 - 3.4 * t, 122 - 14 * np.sin(wave)
        return Scene((pan, first, _object(rng, PINK, 27, x, y, 0.06 * t, 1 + 0.1 * np.sin(wave))))
    pan = _background(rng, SHORE, -0.7 * t, 0.2 * t, -0.0015 * t, 1 + 0 * t)
    # Frames 17 to 31 stand still on the background: the object moves with it alone.
    moving = np.concatenate([np.arange(17), np.full(15, 16), np.arange(17, 33)])
    x, y = 60 + 5.2 * moving - 0.7 * t, 56 + 2.0 * moving + 0.2 * t
    return Scene((pan, _object(rng, RED[:, ::-1], 33, x, y, 0.045 * moving, 1 + 0 * t)))


def _background(rng, colours, x, y, angle, scale) -> Layer:
    texture = noise_texture(rng, max(SIZE) + 2 * MARGIN, colours)
    height, width = SIZE
    return Layer(texture, None, similarity(width / 2 + x, height / 2 + y, angle, scale))


def _object(rng, colours, radius: float, x, y, angle, scale) -> Layer:
    """A lobed shape of about `radius` px; its outline has no symmetry."""
    amplitude = radius * np.array([1, 0, 0.16, 0.2, 0.08, 0.07])
    phase = rng.uniform(0, 2 * np.pi, len(amplitude))
    outline = amplitude[:, None] * np.stack([np.cos(phase), np.sin(phase)], -1)
    outline[0] = radius, 0
    texture = noise_texture(rng, 4 * round(radius), colours)
    return Layer(texture, outline, similarity(x, y, angle, scale))


def _decode(name: str) -> Iterator[np.ndarray]:
    """Frames of a clip in the package, RGB (H, W, 3) uint8."""
    with (files("lrtl.datasets") / "data" / name).open("rb") as file, av.open(file) as clip:
        for frame in clip.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def _jpegs(frames) -> Iterator[tuple[str, bytes]]:
    for index, frame in enumerate(frames):
        yield _stem(index), encode_jpeg(frame)


def _stem(index: int) -> str:
    return f"{index:05d}"
