"""Flow and track stores: exactness of fixed point, resuming, damage, and other readers."""

import json

import numpy as np
import pytest
import zarr

from lrtl.motion.store import FLOW_SCALE, TRACK_SCALE, FlowStore, TrackStore

GAPS = {"gaps": [-1, 1], "estimator": "test"}


def flows(count=3, size=(20, 30)):
    return np.random.default_rng(0).normal(0, 8, (count, 2, *size)).astype(np.float32)


def write_flow(path, values=None):
    values = flows() if values is None else values
    store = FlowStore.build(path, len(values) + 1, values.shape[-2:], GAPS)
    for frame, flow in enumerate(values):
        store.write(1, frame, flow)
    store.finish()
    return values


def test_flow_comes_back_to_half_a_step(tmp_path):
    values = write_flow(tmp_path / "flow.zarr")
    store = FlowStore.open(tmp_path / "flow.zarr")
    for frame, flow in enumerate(values):
        assert np.abs(store.read(frame, 1) - flow).max() <= FLOW_SCALE / 2
    with pytest.raises(ValueError, match="no flow from frame 0 at gap -1"):
        store.read(0, -1)


def test_values_out_of_range_or_not_finite_are_refused(tmp_path):
    store = FlowStore.build(tmp_path / "flow.zarr", 2, (20, 30), GAPS)
    bad = np.zeros((2, 20, 30), np.float32)
    bad[0, 3, 4] = np.nan
    with pytest.raises(ValueError, match=r"flow of frame 0 at gap 1 .*1 of 1200 .* not finite"):
        store.write(1, 0, bad)
    bad[0, 3, 4] = 600
    with pytest.raises(ValueError, match=r"flow of frame 0 at gap 1 .*do not fit"):
        store.write(1, 0, bad)
    assert not store.is_done(1, 0)


def test_an_interrupted_build_goes_on(tmp_path):
    path = tmp_path / "flow.zarr"
    values = flows()
    store = FlowStore.build(path, 4, (20, 30), GAPS)
    store.write(1, 0, values[0])
    with pytest.raises(ValueError, match="not a whole FlowStore"):
        FlowStore.open(path)
    again = FlowStore.build(path, 4, (20, 30), GAPS)
    assert again.is_done(1, 0)
    assert not again.is_done(1, 1)
    other = FlowStore.build(path, 4, (20, 30), GAPS | {"estimator": "other"})
    assert not other.is_done(1, 0)


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_damaged_chunks_are_reported(tmp_path, damage):
    write_flow(tmp_path / "flow.zarr")
    chunk = tmp_path / "flow.zarr" / "flow" / "c" / "1" / "0" / "0" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    else:
        data = data[: len(data) // 2]
    chunk.write_bytes(data)
    store = FlowStore.open(tmp_path / "flow.zarr")
    with pytest.raises(ValueError, match=r"array flow, chunk \(1, 0\) is damaged .*run its rule"):
        store.read(0, 1)
    store.read(1, 1)


def test_stores_are_plain_zarr_with_cf_attributes(tmp_path):
    values = write_flow(tmp_path / "flow.zarr")
    group = zarr.open_group(tmp_path / "flow.zarr", mode="r")
    array = group["flow"]
    scale = array.attrs["scale_factor"]
    np.testing.assert_allclose(array[1, 0] * scale, values[0], atol=scale / 2)
    about = json.loads((tmp_path / "flow.zarr" / "flow" / "zarr.json").read_text())
    assert about["dimension_names"] == ["gap", "frame", "xy", "y", "x"]
    assert [codec["name"] for codec in about["codecs"]] == ["bytes", "blosc", "crc32c"]
    assert group.attrs["estimator"] == "test"


def test_tracks_sum_back_exactly(tmp_path):
    rng = np.random.default_rng(0)
    store = TrackStore.build(tmp_path / "tracks.zarr", 2, 5, 7, {"tracker": "test"})
    fixed = rng.integers(-60_000, 60_000, (2, 5, 2, 7)) // 4
    positions = (fixed * TRACK_SCALE).astype(np.float32)
    visibility = rng.random((2, 5, 7)) < 0.5
    store.write(0, positions[0], visibility[0], np.arange(5), 2)
    store.write(1, positions[1][..., :4], visibility[1][:, :4], np.arange(5) - 1, 3)
    store.finish()
    store = TrackStore.open(tmp_path / "tracks.zarr")
    read, visible, window, index = store.read(0)
    np.testing.assert_array_equal(read, positions[0])
    np.testing.assert_array_equal(visible, visibility[0])
    assert (window.tolist(), index) == ([0, 1, 2, 3, 4], 2)
    np.testing.assert_array_equal(store.read(1)[0], positions[1][..., :4])
