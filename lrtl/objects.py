"""Foreground masks -> objects whose ids stay the same over a clip, linked by point tracks.

The segments of a frame are the connected regions of its foreground. Components do not part them:
those of a trained network are as often the core and the rim of one object as two objects. The
points of a frame say what each region was before: the tracklet in which every point lay when last
it was in one, at most `gap` frames ago. Regions and tracklets are assigned one to one.

What has had a region of its own in `shortest` frames is an object. Where objects share a region,
pixels go to those of the nearest points. A shorter tracklet belongs to the object it split off or
went into; if there is none it is dropped. Two objects that touch from the start are one until they
part.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from lrtl.config import ObjectsConfig
from lrtl.datasets.layout import Sequence, read_mask, write_mask
from lrtl.files import checked, whole_folder
from lrtl.motion.store import TrackStore
from lrtl.motion.windows import rows_of
from lrtl.stability import Points, stability

ABOUT = "objects.json"  # beside the PNGs
MOST = 255  # ids that an indexed PNG holds
NEAREST = 5  # points that decide whose a pixel is where objects touch


@dataclass
class Tracklet:
    """What is followed under one number, an object or a part of one."""

    area: int  # px in the frame that showed it last
    alone: int = 0  # frames in which it had a region of its own
    joins: int = 0  # the tracklet that it split off or went into, 0 for none


def write_objects(
    sequence: Sequence, masks: Path, tracks: TrackStore, config: ObjectsConfig, out: Path
) -> None:
    """Write the objects of every frame as indexed PNGs, 0 the background, ids from 1 on.

    `objects.json` beside them has the number of `objects` and the `stability` of the foreground.

    Args:
        sequence: the frames, for their names and size; its ground truth is not read.
        masks: the folder of its foreground masks.
        tracks: point tracks of the sequence.
        out: the folder, `results/objects/{dataset}/{experiment}/seed{seed}/{sequence}`.

    Raises:
        ValueError: a mask is missing or of another size, the tracks are of another sequence or do
            not reach `gap` frames back, or there are more than 255 objects.
    """
    count, size = len(sequence.frames), (sequence.height, sequence.width)
    masks = checked(masks)
    if tracks.attributes["frames"] != count:
        raise ValueError(
            f"{tracks.path} has {tracks.attributes['frames']} frames, {sequence.name} has {count}; "
            "delete the store and run its rule again"
        )
    paths = [masks / f"{name}.png" for name in sequence.frames]
    largest = 0
    with whole_folder(out) as folder:
        bar = tqdm(paths, f"objects {sequence.name}")
        points_of = partial(read_points, tracks, gap=config.gap, size=size)
        objects_of = find_objects((read_mask(path, size) > 0 for path in bar), points_of, config)
        for name, objects in zip(sequence.frames, objects_of, strict=True):
            write_mask(folder / f"{name}.png", objects)
            largest = max(largest, int(objects.max()))
        foregrounds = (read_mask(path, size) > 0 for path in paths)
        steady = stability(foregrounds, points_of, config.gap)
        about = {"objects": largest, "stability": steady if steady is None else round(steady, 3)}
        (folder / ABOUT).write_text(json.dumps(about) + "\n")
    print(f"{sequence.name}: number of objects {largest}, stability {about['stability']}")


def read_points(tracks: TrackStore, frame: int, gap: int, size: tuple[int, int]) -> Points:
    """Where points that are visible in a frame were in up to `gap` frames before.

    Points that are seen in none of those say nothing and are left out.

    Returns:
        pixels (n, 2, N) int, (x, y) in a frame of `size` = (H, W), of the frame itself and then
        back in time; visible (n, N) bool, false outside the frame.
    """
    positions, visible, window, _ = tracks.read(frame)
    try:
        rows = rows_of(window, np.arange(frame, max(frame - gap, 0) - 1, -1))
    except ValueError as error:
        remedy = "lower objects.gap or raise tracks.radius"
        raise ValueError(f"{tracks.path}, frame {frame}: {error}; {remedy}") from error
    last = np.array(size[::-1])[:, None] - 1  # (2, 1)
    stored = np.array([[tracks.attributes["width"]], [tracks.attributes["height"]]]) - 1
    pixels = np.rint(positions[rows] * (last / stored)).astype(int)  # (n, 2, N)
    visible = visible[rows] & ((pixels >= 0) & (pixels <= last)).all(1)  # (n, N)
    chosen = visible[0] & visible[1:].any(0)
    return pixels[:, :, chosen], visible[:, chosen]


def find_objects(
    foregrounds: Iterable[np.ndarray], points_of: Callable[[int], Points], config: ObjectsConfig
) -> Iterator[np.ndarray]:
    """Objects (H, W) uint8 of every frame; the union of objects lies within the foreground.

    Args:
        foregrounds: masks (H, W) bool of the frames of a clip.
        points_of: frame index to what `read_points` returns.

    Raises:
        ValueError: there are more than 255 objects.
    """
    tracklets, earlier = {}, deque(maxlen=config.gap)  # the latest frame first
    packed = []  # PNG files of all frames, in memory
    for frame, foreground in enumerate(foregrounds):
        regions, areas = find_regions(foreground, config.smallest)
        labels = np.zeros(foreground.shape, np.uint16)
        if len(areas):
            pixels, visible = points_of(frame)
            inside = regions[pixels[0, 1], pixels[0, 0]] > 0
            pixels, visible = pixels[:, :, inside], visible[:, inside]
            owners = find_owners(earlier, pixels[1:], visible[1:])
            labels = continue_tracklets(regions, areas, pixels[0], owners, tracklets, config)
        earlier.appendleft(labels)
        packed.append(cv2.imencode(".png", labels)[1])
    ids = number_objects(tracklets, min(config.shortest, len(packed)))
    for file in packed:
        yield ids[cv2.imdecode(file, cv2.IMREAD_UNCHANGED)]


def find_regions(foreground: np.ndarray, smallest: float) -> tuple[np.ndarray, np.ndarray]:
    """Connected regions of a mask (H, W): labels (H, W) from 1 on, 0 elsewhere, and areas (R,)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(foreground.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA]
    kept = (areas >= smallest * foreground.size) & (np.arange(count) > 0)
    return (np.cumsum(kept) * kept)[labels], areas[kept]


def find_owners(
    earlier: Iterable[np.ndarray], pixels: np.ndarray, visible: np.ndarray
) -> np.ndarray:
    """The tracklet (N,) in which each point was when last it was in one; 0 for none."""
    owners = np.zeros(pixels.shape[-1], int)
    for labels, (x, y), seen in zip(earlier, pixels, visible, strict=True):
        asked = seen & (owners == 0)
        owners[asked] = labels[y[asked], x[asked]]
    return owners


def continue_tracklets(
    regions: np.ndarray,
    areas: np.ndarray,
    points: np.ndarray,
    owners: np.ndarray,
    tracklets: dict[int, Tracklet],
    config: ObjectsConfig,
) -> np.ndarray:
    """Give the regions of a frame to tracklets, old or new, which are brought up to date.

    Args:
        regions: (H, W) labels from 1 to R.
        areas: (R,) in px.
        points: (2, N) pixels (x, y) in regions.
        owners: (N,) the tracklet that each point was in, 0 for none.
        tracklets: number from 1 on to tracklet.

    Returns:
        (H, W) uint16, the number of the tracklet of each pixel of a region.
    """
    at, known = regions[points[1], points[0]] - 1, np.unique(owners[owners > 0])
    shared = shared_areas(at, owners, areas, known)  # (R, n)
    smaller = np.minimum(areas[:, None], [tracklets[number].area for number in known])
    shared[shared < config.overlap * smaller] = 0
    held = hold_regions(shared, known, tracklets, config.smallest * regions.size, config.shortest)
    labels = np.zeros(regions.shape, np.uint16)
    for region, numbers in held.items():
        inside = regions == region + 1
        labels[inside] = numbers[0]
        if len(numbers) > 1:
            chosen = (at == region) & np.isin(owners, numbers)
            labels[inside] = nearest(inside, points[:, chosen], owners[chosen])
        tracklets[numbers[0]].alone += len(numbers) == 1
        for number in numbers:
            tracklets[number].area = np.count_nonzero(labels == number)
    return labels


def hold_regions(
    shared: np.ndarray, known: np.ndarray, tracklets: dict[int, Tracklet], least: float, alone: int
) -> dict[int, list[int]]:
    """The tracklets in each of R regions; regions that no tracklet goes on in begin a new one.

    Args:
        shared: (R, n) px of each region that come from each of n known tracklets.
        known: (n,) their numbers.
        tracklets: number to tracklet; new ones are added.
        least: px that an object shares at least with a region in which it is not the first.
        alone: frames on its own that make a tracklet an object.
    """
    from scipy.optimize import linear_sum_assignment  # half a second, that others need not wait

    pairs = zip(*linear_sum_assignment(shared, maximize=True), strict=True)
    held = {region: [known[column]] for region, column in pairs if shared[region, column]}
    for region in sorted(set(range(len(shared))) - held.keys()):
        number = len(tracklets) + 1
        joins = known[shared[region].argmax()] if shared[region].any() else 0
        tracklets[number], held[region] = Tracklet(0, joins=int(joins)), [number]
    going_on = [numbers[0] for numbers in held.values()]
    for column in np.flatnonzero(shared.any(0) & ~np.isin(known, going_on)):
        region, tracklet = shared[:, column].argmax(), tracklets[known[column]]
        if tracklet.alone >= alone and shared[region, column] >= least:
            held[region].append(known[column])
        elif not tracklet.joins:
            tracklet.joins = int(held[region][0])
    return held


def shared_areas(
    at: np.ndarray, owners: np.ndarray, areas: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Px (R, n) of each region that come from each of n known tracklets, by its points' share."""
    counts = np.zeros((len(areas), len(known)))
    old = owners > 0
    np.add.at(counts, (at[old], np.searchsorted(known, owners[old])), 1)
    points = np.bincount(at, minlength=len(areas))
    return counts * (areas / points.clip(1))[:, None]


def nearest(inside: np.ndarray, points: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """For the pixels of a mask (H, W), in order, who owns most of the nearest of points (2, N)."""
    from scipy.spatial import cKDTree

    pixels = np.argwhere(inside)[:, ::-1]  # (n, 2), (x, y)
    near = cKDTree(points.T).query(pixels, range(1, min(NEAREST, len(owners)) + 1))[1]
    numbers = np.unique(owners)
    votes = [(owners[near] == number).sum(1) for number in numbers]  # (numbers, n)
    return numbers[np.argmax(votes, 0)]


def number_objects(tracklets: dict[int, Tracklet], shortest: int) -> np.ndarray:
    """The object id of every tracklet, from index 1 on; ids count from 1 in order of appearance."""
    ids = np.zeros(len(tracklets) + 1, int)
    objects = [number for number, tracklet in tracklets.items() if tracklet.alone >= shortest]
    if len(objects) > MOST:
        raise ValueError(f"there are {len(objects)} objects, not {MOST}; raise objects.smallest")
    ids[objects] = np.arange(len(objects)) + 1
    for number in tracklets:
        goal, passed = number, set()
        while goal and not ids[goal] and goal not in passed:
            passed.add(goal)
            goal = tracklets[goal].joins
        ids[number] = ids[goal]
    return ids.astype(np.uint8)
