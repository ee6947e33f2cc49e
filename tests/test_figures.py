"""Overlay videos and contact sheets decode, have the right size and show the mask."""

import av
import numpy as np
from PIL import Image

from lrtl.datasets.layout import write_mask
from lrtl.figures import FOREGROUND, contact_sheet, overlay


def test_pictures_of_a_sequence(comet, tmp_path):
    masks = tmp_path / "masks"
    for index, stem in enumerate(comet.frames):
        write_mask(masks / f"{stem}.png", comet.mask(index) > 0)
    overlay(comet, masks, tmp_path / "comet.mp4")
    with av.open(tmp_path / "comet.mp4") as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == len(comet.frames)
    assert frames[0].shape == (180, 320, 3)
    mask = comet.mask(20) > 0
    drawn, plain = frames[20].astype(float), comet.frame(20).astype(float)
    towards = np.linalg.norm(plain - FOREGROUND, axis=-1) - np.linalg.norm(
        drawn - FOREGROUND, axis=-1
    )
    assert towards[mask].mean() > 10
    assert abs(towards[~mask].mean()) < 5
    contact_sheet(comet, masks, masks, tmp_path / "comet.png")
    assert Image.open(tmp_path / "comet.png").size == (6 * 240, 3 * 135 + 30)


def test_odd_sizes_lose_a_row_and_a_column_at_most(tmp_path):
    from lrtl.datasets.layout import Sequence, write_sequence
    from tests.datasets.test_davis import encoded

    picture = encoded(np.full((33, 47, 3), 90, np.uint8), "JPEG")
    write_sequence(tmp_path / "odd", "test", "odd", [("a", picture), ("b", picture)], [], {})
    for stem in "ab":
        write_mask(tmp_path / "masks" / f"{stem}.png", np.zeros((33, 47)))
    overlay(Sequence.open(tmp_path / "odd"), tmp_path / "masks", tmp_path / "odd.mp4")
    with av.open(tmp_path / "odd.mp4") as video:
        assert [f.to_ndarray(format="rgb24").shape for f in video.decode(video=0)] == [
            (32, 46, 3),
            (32, 46, 3),
        ]
