"""Flow and tracks of one sequence as Zarr 3 stores; the only module that imports zarr.

Values are fixed point (int16 with the CF attributes `scale_factor` and `_FillValue`), one chunk per
unit of work, every chunk under crc32c. A store is built under `NAME.partial` and renamed when it is
whole; an interrupted build goes on with the units that are missing.
"""

import shutil
from pathlib import Path
from typing import Self

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

FLOW_SCALE = 1 / 64  # px
TRACK_SCALE = 1 / 32  # px
MISSING = np.iinfo(np.int16).min


class _Store:
    """A Zarr group of arrays with one chunk per unit, and a flag per finished unit."""

    def __init__(self, path: Path, group: zarr.Group) -> None:
        self.path, self._group = path, group
        self.attributes = dict(group.attrs)
        self._done = group["done"][:]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a finished store for reading.

        Raises:
            ValueError: there is no whole store at `path`.
        """
        try:
            store = cls(Path(path), zarr.open_group(path, mode="r", zarr_format=3))
        except (FileNotFoundError, KeyError) as error:
            remedy = "delete it and run its rule again"
            raise ValueError(f"{path} is not a whole {cls.__name__} ({error}); {remedy}") from error
        return store

    @classmethod
    def _build(cls, path: Path, arrays: dict, units: tuple, attributes: dict) -> Self:
        """Open the partial store of an interrupted build, or begin a new one."""
        partial = Path(f"{path}.partial")
        if partial.exists():
            try:
                store = cls(Path(path), zarr.open_group(partial, mode="r+", zarr_format=3))
                if store.attributes == attributes:
                    return store
            except (FileNotFoundError, KeyError, ValueError):
                pass  # killed before the arrays were laid out: nothing in it to keep
            shutil.rmtree(partial)
        partial.parent.mkdir(parents=True, exist_ok=True)
        group = zarr.open_group(partial, mode="w", zarr_format=3)
        for name, array in arrays.items():
            _create(group, name, **array)
        _create(group, "done", units, units, "bool", [f"unit_{i}" for i in range(len(units))])
        group["done"][:] = False
        group.update_attributes(attributes)  # last: only a complete layout has them
        return cls(Path(path), group)

    def is_done(self, *unit: int) -> bool:
        """Whether a unit of work is in the store."""
        return bool(self._done[unit])

    def _mark_done(self, *unit: int) -> None:
        self._done[unit] = True
        self._group["done"][:] = self._done

    def finish(self) -> None:
        """Give a built store its final name."""
        if self.path.exists():
            shutil.rmtree(self.path)
        Path(f"{self.path}.partial").rename(self.path)

    def _read(self, name: str, selection: tuple) -> np.ndarray:
        try:
            return self._group[name][selection]
        except (ValueError, RuntimeError, OSError) as error:
            remedy = "delete the store and run its rule again"
            where = f"{self.path}: array {name}, chunk {selection}"
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
            "chunks": (1, 1, 2, *size),
            "dtype": "int16",
            "dimensions": ["gap", "frame", "xy", "y", "x"],
            "attributes": _fixed_point(FLOW_SCALE),
        }
        attributes = attributes | {"frames": frames, "height": size[0], "width": size[1]}
        return cls._build(path, {"flow": flow}, (gaps, frames), attributes)

    def write(self, gap: int, frame: int, flow: np.ndarray) -> None:
        """Store the flow (2, H, W) of frame `frame` at the gap of index `gap`."""
        where = f"flow of frame {frame} at gap {self.attributes['gaps'][gap]} for {self.path}"
        self._group["flow"][gap, frame] = _quantise(flow, FLOW_SCALE, where)
        self._mark_done(gap, frame)

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
        for array in arrays.values():
            array["chunks"] = (1, *array["shape"][1:])
        attributes = attributes | {"frames": frames, "window": window}
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
        self._group["query"][frame] = np.pad(query, pad[1:], constant_values=MISSING)
        self._group["steps"][frame] = steps
        self._group["visibility"][frame] = np.pad(visibility, pad[1:])
        self._group["window"][frame] = window
        self._group["query_index"][frame] = query_index
        self._group["count"][frame] = count
        self._mark_done(frame)

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Read positions (T, 2, N) float32 px, visibility (T, N), window (T,) and query index."""
        count = int(self._read("count", (frame,)))
        index = int(self._read("query_index", (frame,)))
        steps = self._read("steps", (frame,))[..., :count].astype(np.int32)
        query = self._read("query", (frame,))[..., :count].astype(np.int32)
        sums = np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, 0)])  # (T, 2, N)
        positions = (sums - sums[index] + query).astype(np.float32) * np.float32(TRACK_SCALE)
        visibility = self._read("visibility", (frame,))[:, :count]
        return positions, visibility, self._read("window", (frame,)), index


def _create(group, name, shape, chunks, dtype, dimensions, attributes=None) -> None:
    """Create an array with core codecs only: little-endian bytes, Blosc zstd, crc32c."""
    codec = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=np.dtype(dtype).itemsize)
    group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        compressors=[codec, Crc32cCodec()],
        fill_value=MISSING if dtype == "int16" else 0,
        dimension_names=dimensions,
        attributes=attributes,
        config={"write_empty_chunks": True},
    )


def _fixed_point(scale: float) -> dict:
    return {"scale_factor": scale, "_FillValue": MISSING, "units": "pixel"}


def _quantise(values: np.ndarray, scale: float, where: str, dtype=np.int16) -> np.ndarray:
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise ValueError(f"{where}: {count} of {values.size} values are not finite; none is stored")
    fixed = np.rint(np.asarray(values, np.float64) / scale)
    return _check_range(fixed, where, dtype).astype(dtype)


def _check_range(fixed: np.ndarray, where: str, dtype=np.int16) -> np.ndarray:
    largest, limit = np.abs(fixed).max(initial=0), np.iinfo(dtype).max
    if largest > limit:
        raise ValueError(
            f"{where}: {largest} units of fixed point do not fit, the limit is {limit}"
        )
    return fixed.astype(dtype)
