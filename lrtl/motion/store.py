"""Flow and tracks of one sequence as Zarr 3 stores; the only module that imports zarr.

Values are fixed point (int16 with the CF attributes `scale_factor` and `_FillValue`), every chunk
and shard index under crc32c, every file in `SHA256SUMS`. A chunk is a unit of work: the flow of a
pair of frames, the tracks of a query frame. A store is built under `NAME.partial`, a file per
chunk, which several processes may fill side by side; when it is finished, chunks are gathered in
shards of up to 64 and the whole store gets its name. An interrupted build goes on with what is
missing.
"""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Self

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from lrtl.files import check_folder, write_sums

FLOW_SCALE = 1 / 64  # px
TRACK_SCALE = 1 / 32  # px
MISSING = np.iinfo(np.int16).min
SHARD_UNITS = 64
SHARD_BYTES = 128 * 2**20  # the largest shard, uncompressed; it is written from memory
SMALL = 1024  # bytes; arrays with smaller units are one chunk when finished


class _Store:
    """A Zarr group of arrays with one chunk per unit, and a flag per finished unit."""

    def __init__(self, path: Path, group: zarr.Group, layout: dict | None = None) -> None:
        self.path, self._group, self._layout = path, group, layout
        self.attributes = dict(group.attrs)
        self._arrays: dict[str, zarr.Array] = {}
        self._done = group["done"][:]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a finished store for reading.

        Raises:
            ValueError: there is no whole store at `path`, or its metadata is damaged.
        """
        path = Path(path)
        try:
            check_folder(path, "*zarr.json")
            return cls(path, zarr.open_group(path, mode="r", zarr_format=3))
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            remedy = "delete it and run its rule again"
            raise ValueError(f"{path} is not a whole {cls.__name__} ({error}); {remedy}") from error

    @classmethod
    def _build(cls, path: Path, layout: dict, units: tuple, attributes: dict) -> Self:
        """Open the partial store of an interrupted build, or begin a new one."""
        partial = Path(f"{path}.partial")
        flags = {"shape": units, "dtype": "bool"}
        flags["dimensions"] = [f"unit_{i}" for i in range(len(units))]
        layout = layout | {"done": flags}
        attributes = json.loads(json.dumps(attributes))  # as they are read back

        def partial_store() -> Self:
            return cls(Path(path), zarr.open_group(partial, mode="r+", zarr_format=3), layout)

        if partial.exists():
            try:
                store = partial_store()
                if store.attributes == attributes:
                    return store
                print(f"{partial} is of other settings: starting anew")
            except (FileNotFoundError, KeyError, ValueError, RuntimeError) as error:
                print(f"{partial} cannot be continued ({error}): starting anew")
            _remove(partial)
        partial.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(".partial", f".{partial.stem}.", partial.parent) as folder:
            new = Path(folder) / "store"
            group = zarr.open_group(new, mode="w", zarr_format=3, attributes=attributes)
            for name, array in layout.items():
                chunks = (1,) * len(units) + array["shape"][len(units) :]
                _create(group, name, array, chunks)
            try:
                new.rename(partial)
            except OSError:
                if not partial.exists():  # it does where another process was first
                    raise
        try:
            return partial_store()
        except (FileNotFoundError, KeyError) as error:
            raise _removed(path) from error

    def is_done(self, *unit: int) -> bool:
        """Whether a unit of work is in the store."""
        return bool(self._done[unit])

    def _put(self, unit: tuple[int, ...], **arrays) -> None:
        """Store a unit of some arrays, and that it is done."""
        try:
            for name, values in arrays.items():
                self._group[name][unit] = values
            self._group["done"][unit] = True
        except (FileNotFoundError, KeyError) as error:
            raise _removed(self.path) from error
        self._done[unit] = True

    def finish(self) -> None:
        """Gather the chunks in shards and give the store its final name.

        It is called when all units are in. The partial store is removed last: a kill on the way
        loses nothing. Of several processes that finish a store the first one's is kept.

        Raises:
            ValueError: the partial store is gone, and no process made a whole one of it.
        """
        partial = Path(f"{self.path}.partial")
        with _alone_with(partial) as found:
            if found:
                self._gather_all()
                _remove(partial)
        if not found and type(self).open(self.path).attributes != self.attributes:
            raise _removed(self.path)

    def _gather_all(self) -> None:
        """Put the store together from the partial one, which stays."""
        whole = Path(f"{self.path}.whole")
        _remove(whole)
        group = zarr.open_group(whole, mode="w", zarr_format=3, attributes=self.attributes)
        for name, array in self._layout.items():
            self._gather(group, name, array)
        write_sums(whole)
        _remove(self.path)
        whole.rename(self.path)

    def _gather(self, group: zarr.Group, name: str, array: dict) -> None:
        """Copy an array from the partial store: in shards, or as one chunk where it is small."""
        *leading, frames = array["shape"][: self._done.ndim]
        unit = array["shape"][self._done.ndim :]
        unit_bytes = prod(unit) * np.dtype(array["dtype"]).itemsize
        if unit_bytes < SMALL:
            _create(group, name, array, array["shape"])[:] = self._read(name, ())
            return
        length = min(max(SHARD_BYTES // unit_bytes, 1), SHARD_UNITS, frames)
        ones = (1,) * len(leading)
        target = _create(group, name, array, (*ones, 1, *unit), (*ones, length, *unit))
        for first in np.ndindex(*leading):
            for start in range(0, frames, length):
                stop = min(start + length, frames)
                shard = [self._read(name, (*first, frame)) for frame in range(start, stop)]
                target[(*first, slice(start, stop))] = np.stack(shard)

    def _read(self, name: str, unit: tuple) -> np.ndarray:
        """Read one unit of an array, whose last index is the frame, or all of it for ()."""
        if name not in self._arrays:
            self._arrays[name] = self._group[name]
        try:
            return self._arrays[name][unit]
        except (ValueError, RuntimeError, OSError) as error:
            folder = self._group.store.root
            where = f"{folder}: array {name}, frame {unit[-1] if unit else 'any'} (chunk {unit})"
            remedy = f"delete {folder} and run its rule again"
            raise ValueError(f"{where} is damaged ({error}); {remedy}") from error


class FlowStore(_Store):
    """Optical flow of a sequence, array `flow` (gap, frame, 2, H, W).

    `flow[g, t]` is the (x, y) displacement in pixels from frame t to frame t + gaps[g]; `done`
    (gap, frame) tells which pairs exist.
    """

    @classmethod
    def build(cls, path: Path, frames: int, size: tuple[int, int], attributes: dict) -> Self:
        """Begin or continue a store; `attributes` has what made it, `gaps` among it."""
        gaps = len(attributes["gaps"])
        flow = {
            "shape": (gaps, frames, 2, *size),
            "dtype": "int16",
            "dimensions": ["gap", "frame", "xy", "y", "x"],
            "attributes": _fixed_point(FLOW_SCALE),
        }
        attributes = attributes | {"frames": frames, "height": size[0], "width": size[1]}
        return cls._build(path, {"flow": flow}, (gaps, frames), attributes)

    def write(self, gap: int, frame: int, flow: np.ndarray) -> None:
        """Store the flow (2, H, W) of frame `frame` at the gap of index `gap`."""
        where = f"flow of frame {frame} at gap {self.attributes['gaps'][gap]} for {self.path}"
        self._put((gap, frame), flow=_quantise(flow, FLOW_SCALE, where))

    def read(self, frame: int, gap: int) -> np.ndarray:
        """Read the flow (2, H, W) float32 in pixels from frame `frame` to frame + `gap`."""
        index = self.attributes["gaps"].index(gap)
        if not self.is_done(index, frame):
            raise ValueError(f"{self.path} has no flow from frame {frame} at gap {gap}")
        return self._read("flow", (index, frame)) * np.float32(FLOW_SCALE)


class TrackStore(_Store):
    """Point tracks of a sequence: one set per query frame, over a window of T frames.

    Arrays: `query` (frame, 2, N) the query points in pixels; `steps` (frame, T-1, 2, N) what a
    point moves from one frame of the window to the next; `visibility` (frame, T, N); `window`
    (frame, T) the video frame that each row shows; `query_index` (frame,) the row of the query
    frame; `count` (frame,) how many of the N columns are tracks.
    """

    @classmethod
    def build(cls, path: Path, frames: int, window: int, points: int, attributes: dict) -> Self:
        """Begin or continue a store for `window` = T frames and at most `points` = N tracks."""
        fixed = {"dtype": "int16", "attributes": _fixed_point(TRACK_SCALE)}
        arrays = {
            "query": fixed | {"shape": (frames, 2, points), "dimensions": ["frame", "xy", "track"]},
            "steps": fixed
            | {
                "shape": (frames, window - 1, 2, points),
                "dimensions": ["frame", "step", "xy", "track"],
            },
            "visibility": {
                "shape": (frames, window, points),
                "dtype": "bool",
                "dimensions": ["frame", "time", "track"],
            },
            "window": {
                "shape": (frames, window),
                "dtype": "int32",
                "dimensions": ["frame", "time"],
            },
            "query_index": {"shape": (frames,), "dtype": "int32", "dimensions": ["frame"]},
            "count": {"shape": (frames,), "dtype": "int32", "dimensions": ["frame"]},
        }
        attributes = attributes | {"frames": frames, "window": window, "points": points}
        return cls._build(path, arrays, (frames,), attributes)

    def write(self, frame: int, positions, visibility, window, query_index: int) -> None:
        """Store the tracks queried at `frame`.

        Args:
            frame: the query frame.
            positions: (T, 2, N) in pixels, (x, y).
            visibility: (T, N) bool.
            window: (T,) the video frame of each row.
            query_index: the row of the query frame.
        """
        where = f"tracks of frame {frame} for {self.path}"
        fixed = _quantise(positions, TRACK_SCALE, where, np.int32)  # (T, 2, N)
        count, columns = positions.shape[-1], self._group["query"].shape[-1]
        pad = [(0, 0), (0, 0), (0, columns - count)]
        steps = np.pad(_check_range(np.diff(fixed, axis=0), where), pad, constant_values=MISSING)
        query = _check_range(fixed[query_index], where)
        self._put(
            (frame,),
            query=np.pad(query, pad[1:], constant_values=MISSING),
            steps=steps,
            visibility=np.pad(visibility, pad[1:]),
            window=window,
            query_index=query_index,
            count=count,
        )
        self.__dict__.pop("_small", None)  # what was read of the small arrays is old now

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Read positions (T, 2, N) float32 px, visibility (T, N), window (T,) and query index."""
        query, steps, visibility, window, index = self.read_fixed(frame)
        positions = fixed_positions(query, steps, index).astype(np.float32)
        return positions * np.float32(TRACK_SCALE), visibility, window, index

    def read_fixed(self, frame: int) -> tuple[np.ndarray, ...]:
        """Read what is stored of a frame, in units of TRACK_SCALE px.

        Returns:
            query (2, N) and steps (T-1, 2, N) int16, visibility (T, N), window (T,), query index.
        """
        if not self.is_done(frame):
            raise ValueError(f"{self.path} has no tracks of frame {frame}")
        counts, indices, windows = self._small
        query, steps, visibility = (
            self._read(name, (frame,))[..., : counts[frame]]
            for name in ("query", "steps", "visibility")
        )
        return query, steps, visibility, windows[frame], int(indices[frame])

    @cached_property
    def _small(self) -> list[np.ndarray]:
        """The arrays `count`, `query_index` and `window`, whole."""
        return [self._read(name, ()) for name in ("count", "query_index", "window")]


def fixed_positions(query: np.ndarray, steps: np.ndarray, index: int) -> np.ndarray:
    """Positions (T, 2, N) int32 from the query (2, N) at row `index` and the steps (T-1, 2, N)."""
    positions = np.empty((len(steps) + 1, *query.shape), np.int32)
    positions[index] = query
    for row in range(index, len(steps)):
        np.add(positions[row], steps[row], out=positions[row + 1])
    for row in range(index, 0, -1):
        np.subtract(positions[row], steps[row - 1], out=positions[row - 1])
    return positions


def _create(group, name, array: dict, chunks: tuple, shards: tuple | None = None) -> zarr.Array:
    """Create an array with core codecs only: little-endian bytes, Blosc zstd, crc32c."""
    dtype = array["dtype"]
    codec = BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=np.dtype(dtype).itemsize)
    return group.create_array(
        name,
        shape=array["shape"],
        chunks=chunks,
        shards=shards,  # their index is under crc32c by default
        dtype=dtype,
        compressors=[codec, Crc32cCodec()],
        fill_value=MISSING if dtype == "int16" else 0,
        dimension_names=array["dimensions"],
        attributes=array.get("attributes"),
        config={"write_empty_chunks": True},
    )


def _remove(store: Path) -> None:
    """Delete a store, its metadata first, so that what a kill leaves of it is not taken for one.

    What another process writes into it meanwhile may stay.
    """
    (store / "zarr.json").unlink(missing_ok=True)
    shutil.rmtree(store, ignore_errors=True)


def _removed(path: Path) -> ValueError:
    what = f"{path}.partial was removed, by hand or by a process that finished it"
    return ValueError(f"{what}; run again")


@contextmanager
def _alone_with(store: Path) -> Iterator[bool]:
    """Wait for other processes that hold a store, where its file system has locks; is it there?"""
    metadata = store / "zarr.json"
    with ExitStack() as stack:
        with suppress(OSError):  # it is gone, or there are no locks
            fcntl.flock(stack.enter_context(open(metadata, "r+b")), fcntl.LOCK_EX)
        yield metadata.exists()


def _fixed_point(scale: float) -> dict:
    return {"scale_factor": scale, "_FillValue": MISSING, "units": "pixel"}


def _quantise(values: np.ndarray, scale: float, where: str, dtype=np.int16) -> np.ndarray:
    if not np.isfinite(values).all():
        count, remedy = int((~np.isfinite(values)).sum()), "use precision float32 or other weights"
        raise ValueError(
            f"{where}: {count} of {values.size} values are not finite; none is stored: {remedy}"
        )
    fixed = np.rint(np.asarray(values, np.float64) / scale)
    return _check_range(fixed, where, dtype).astype(dtype)


def _check_range(fixed: np.ndarray, where: str, dtype=np.int16) -> np.ndarray:
    largest, limit = np.abs(fixed).max(initial=0), np.iinfo(dtype).max
    if largest > limit:
        raise ValueError(
            f"{where}: {largest} units of fixed point do not fit, the limit is {limit}; use a "
            "smaller size"
        )
    return fixed.astype(dtype)
