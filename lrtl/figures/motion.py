"""Sheets of motion: flow as a colour wheel, tracks as trails."""

from pathlib import Path

import cv2
import numpy as np

from lrtl.datasets.layout import Sequence
from lrtl.figures.sheets import SHEET_FRAMES, SHEET_WIDTH, TITLE, Legend, spaced, write_sheet
from lrtl.figures.trails import draw_trails, time_colours
from lrtl.figures.wheel import flow_colours, wheel
from lrtl.motion.store import FlowStore, TrackStore

REACH = 10  # frames either way that trails are drawn through; longer ones hide each other
PAPER = 240  # grey of what trails are drawn on where there are no frames
WASH = 0.45  # share of white in a frame under trails
QUANTILE = 0.998  # of the lengths in a sheet that are within the wheel's radius


def motion_sheet(sequence: Sequence, flow: FlowStore, tracks: TrackStore, out: Path) -> None:
    """Write a sheet (PNG) of frames, their flow at the smallest gap and their tracks.

    Raises:
        ValueError: a store is damaged or of another sequence; it is named.
    """
    chosen = _frames(sequence, flow, tracks)
    rows = {"frame": [sequence.frame(i) for i in chosen]}
    gap = min(flow.attributes["gaps"], key=lambda gap: (abs(gap), gap < 0))
    flows, flow_legend = _flow_rows(flow, chosen, [gap])
    trails, track_legend = _track_row(tracks, chosen, sequence)
    title = f"{sequence.name}: motion"
    columns = [sequence.frames[i] for i in chosen]
    write_sheet(title, columns, rows | flows | trails, flow_legend + track_legend, out)


def flow_sheet(store: FlowStore, sequence: Sequence | None, name: str, out: Path) -> None:
    """Write a sheet (PNG) of flow at every gap, under the frames of its sequence if there is one.

    Raises:
        ValueError: the store is damaged or of another sequence; it is named.
    """
    chosen = _frames(sequence, store)
    frames = {"frame": [sequence.frame(i) for i in chosen]} if sequence else {}
    flows, legend = _flow_rows(store, chosen, store.attributes["gaps"])
    title = f"{name}: flow, {store.attributes['estimator']}"
    write_sheet(title, _captions(chosen, sequence), frames | flows, legend, out)


def track_sheet(store: TrackStore, sequence: Sequence | None, name: str, out: Path) -> None:
    """Write a sheet (PNG) of the tracks of some query frames, on the frames if there are any.

    Raises:
        ValueError: the store is damaged or of another sequence; it is named.
    """
    chosen = _frames(sequence, store)
    trails, legend = _track_row(store, chosen, sequence)
    title = f"{name}: tracks, {store.attributes['tracker']}"
    write_sheet(title, _captions(chosen, sequence), trails, legend, out)


def _frames(sequence: Sequence | None, *stores: FlowStore | TrackStore) -> np.ndarray:
    """Evenly spaced frames; those at the ends, where flow is missing, only of short sequences.

    Raises:
        ValueError: a store has another number of frames than the sequence.
    """
    count = stores[0].attributes["frames"]
    for store in stores:
        expected = len(sequence.frames) if sequence else count
        if store.attributes["frames"] != expected:
            raise ValueError(
                f"{store.path} has {store.attributes['frames']} frames, {sequence.folder} has "
                f"{expected}; name the sequence it was made from, or run its rule again"
            )
    gaps = [gap for store in stores for gap in store.attributes.get("gaps", [])]
    first, end = max(0, -min(gaps, default=0)), count - max(0, max(gaps, default=0))
    inside = np.arange(first, end) if first < end else np.arange(count)
    return inside[spaced(len(inside), SHEET_FRAMES)]


def _captions(chosen: np.ndarray, sequence: Sequence | None) -> list[str]:
    return [sequence.frames[i] if sequence else f"frame {i}" for i in chosen]


def _flow_rows(store: FlowStore, chosen: np.ndarray, gaps: list[int]) -> tuple[dict, Legend]:
    """A row of colours for every gap, None where there is no flow, and the wheel."""
    about = store.attributes
    flows = {
        f"flow, gap {gap}": [
            store.read(i, gap) if 0 <= i + gap < about["frames"] else None for i in chosen
        ]
        for gap in gaps
    }
    lengths = [np.hypot(*flow) for row in flows.values() for flow in row if flow is not None]
    if not lengths:
        raise ValueError(f"{store.path} has no flow of frames {chosen.tolist()} at gaps {gaps}")
    radius = max(float(np.quantile(np.stack(lengths), QUANTILE)), 1.0)
    rows = {
        name: [flow if flow is None else flow_colours(flow, radius) for flow in row]
        for name, row in flows.items()
    }
    text = f"radius {radius:.3g} px in {about['width']} x {about['height']}, darker beyond"
    return rows, [(text, wheel(TITLE - 4))]


def _track_row(
    store: TrackStore, chosen: np.ndarray, sequence: Sequence | None
) -> tuple[dict, Legend]:
    """Trails of the tracks of some query frames, and their colours in time."""
    about = store.attributes
    reach = min(REACH, about["window"] // 2)
    width = 2 * SHEET_WIDTH  # drawn at twice the size
    size = (width, round(width * about["height"] / about["width"]))
    pictures = []
    for frame in chosen:
        picture = np.full((size[1], size[0], 3), PAPER, np.uint8)
        if sequence:
            picture = cv2.resize(sequence.frame(frame), size, interpolation=cv2.INTER_AREA)
            picture = (picture + WASH * (255.0 - picture)).round().astype(np.uint8)
        positions, visibility, window, _ = store.read(int(frame))
        times, rows = np.unique(window, return_index=True)  # a reflected window shows some twice
        rows = rows[np.abs(times - frame) <= reach]
        scale = (np.array(size) - 1) / (about["width"] - 1, about["height"] - 1)
        draw_trails(
            picture, positions[rows] * scale[:, None], visibility[rows], window[rows] - frame, reach
        )
        pictures.append(picture)
    bar = np.repeat(time_colours(50)[None], 13, 0)
    return {"tracks": pictures}, [(f"{reach} frames before to {reach} after", bar)]
