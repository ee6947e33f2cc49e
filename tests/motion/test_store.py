"""Flow and track stores: exactness of fixed point, resuming, damage, and other readers."""

import json
import subprocess

import numpy as np
import pytest
import zarr

from lrtl.motion import store as module
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


def test_several_processes_fill_one_store(tmp_path):
    values = write_flow(tmp_path / "alone.zarr")
    stores = [FlowStore.build(tmp_path / "flow.zarr", 4, (20, 30), GAPS) for _ in range(3)]
    for frame, store in enumerate(stores):
        store.write(1, frame, values[frame])
    FlowStore.build(tmp_path / "flow.zarr", 4, (20, 30), GAPS).finish()
    assert contents(tmp_path / "flow.zarr") == contents(tmp_path / "alone.zarr")


def test_the_first_of_two_that_finish_a_store_is_kept(tmp_path):
    path = tmp_path / "flow.zarr"
    first, second, late = (FlowStore.build(path, 4, (20, 30), GAPS) for _ in range(3))
    for frame, flow in enumerate(flows()):
        for store in (first, second):
            store.write(1, frame, flow)
    first.finish()
    whole = contents(path)
    second.finish()
    assert contents(path) == whole
    assert [p.name for p in tmp_path.iterdir()] == ["flow.zarr"]
    module._remove(path)
    with pytest.raises(ValueError, match="not a whole FlowStore"):
        late.finish()


@pytest.mark.parametrize("step", range(4))
def test_a_kill_while_finishing_loses_nothing(tmp_path, monkeypatch, step):
    """Killed before each of: gathering, checksums, removing an old store, removing the parts."""
    path = tmp_path / "flow.zarr"
    values = write_flow(path)
    whole = contents(path)
    store = FlowStore.build(path, 4, (20, 30), GAPS)
    for frame, flow in enumerate(values):
        store.write(1, frame, flow)
    killed = [("_create", 1), ("write_sums", 1), ("_remove", 2), ("_remove", 3)][step]
    die_at_call(monkeypatch, *killed)
    with pytest.raises(KeyboardInterrupt):
        store.finish()
    monkeypatch.undo()
    again = FlowStore.build(path, 4, (20, 30), GAPS)
    assert all(again.is_done(1, frame) for frame in range(3))
    again.finish()
    assert contents(path) == whole
    assert [p.name for p in tmp_path.iterdir()] == ["flow.zarr"]


def die_at_call(monkeypatch, name, call):
    """Interrupt the store module's function `name` at its call of that number."""
    original, calls = getattr(module, name), []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, name, interrupted)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_chunks_are_gathered_in_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_UNITS", 2)
    values = write_flow(tmp_path / "flow.zarr", flows(4))
    shards = {
        str(p.relative_to(tmp_path / "flow.zarr" / "flow" / "c")): p.stat().st_size
        for p in (tmp_path / "flow.zarr" / "flow" / "c").rglob("*")
        if p.is_file()
    }
    assert set(shards) == {f"{gap}/{shard}/0/0/0" for gap in (0, 1) for shard in (0, 1, 2)}
    store = FlowStore.open(tmp_path / "flow.zarr")
    for frame, flow in enumerate(values):
        assert np.abs(store.read(frame, 1) - flow).max() <= FLOW_SCALE / 2
    monkeypatch.setattr(module, "SHARD_BYTES", 2 * 20 * 30 * 2 * 3)  # three units
    monkeypatch.setattr(module, "SHARD_UNITS", 64)
    write_flow(tmp_path / "small.zarr", flows(5))
    assert len([p for p in (tmp_path / "small.zarr/flow/c").rglob("*") if p.is_file()]) == 4


@pytest.mark.parametrize("keep", [0, 0.3, 0.99, -1])
def test_truncated_shards_are_reported(tmp_path, keep):
    write_flow(tmp_path / "flow.zarr")
    shard = tmp_path / "flow.zarr" / "flow" / "c" / "1" / "0" / "0" / "0" / "0"
    data = shard.read_bytes()
    shard.write_bytes(data[: keep if keep < 0 else int(keep * len(data))])
    store = FlowStore.open(tmp_path / "flow.zarr")
    with pytest.raises(ValueError, match=r"flow.zarr: array flow, frame 0 .* is damaged .*run its"):
        store.read(0, 1)


def test_a_damaged_chunk_is_reported_with_its_frame_and_spares_the_others(tmp_path):
    values = write_flow(tmp_path / "flow.zarr")
    shard = tmp_path / "flow.zarr" / "flow" / "c" / "1" / "0" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[10] ^= 1
    shard.write_bytes(data)
    store = FlowStore.open(tmp_path / "flow.zarr")
    with pytest.raises(
        ValueError, match=r"flow.zarr: array flow, frame 0 \(chunk \(1, 0\)\) is dam"
    ):
        store.read(0, 1)
    assert np.abs(store.read(1, 1) - values[1]).max() <= FLOW_SCALE / 2


@pytest.mark.parametrize("name", ["zarr.json", "flow/zarr.json", "done/zarr.json", "done/c/0/0"])
def test_damaged_metadata_is_refused(tmp_path, name):
    write_flow(tmp_path / "flow.zarr")
    file = tmp_path / "flow.zarr" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"not a whole FlowStore .*run its rule again"):
        FlowStore.open(tmp_path / "flow.zarr")


def test_a_missing_shard_is_reported(tmp_path):
    write_flow(tmp_path / "flow.zarr")
    (tmp_path / "flow.zarr" / "flow" / "c" / "1" / "0" / "0" / "0" / "0").unlink()
    with pytest.raises(ValueError, match=r"flow/c/1/0/0/0/0 is missing"):
        FlowStore.open(tmp_path / "flow.zarr")


def test_a_damaged_part_does_not_get_into_a_finished_store(tmp_path):
    store = FlowStore.build(tmp_path / "flow.zarr", 4, (20, 30), GAPS)
    store.write(1, 0, flows()[0])
    chunk = tmp_path / "flow.zarr.partial" / "flow" / "c" / "1" / "0" / "0" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[10] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(ValueError, match=r"flow.zarr.partial: array flow, frame 0 .* is damaged"):
        store.finish()
    assert not (tmp_path / "flow.zarr").exists()


def test_stores_are_plain_zarr_with_cf_attributes(tmp_path):
    values = write_flow(tmp_path / "flow.zarr")
    group = zarr.open_group(tmp_path / "flow.zarr", mode="r")
    array = group["flow"]
    scale = array.attrs["scale_factor"]
    np.testing.assert_allclose(array[1, 0] * scale, values[0], atol=scale / 2)
    about = json.loads((tmp_path / "flow.zarr" / "flow" / "zarr.json").read_text())
    assert about["dimension_names"] == ["gap", "frame", "xy", "y", "x"]
    (sharding,) = about["codecs"]
    codecs = {
        key: [codec["name"] for codec in sharding["configuration"][key]]
        for key in ("codecs", "index_codecs")
    }
    assert sharding["name"] == "sharding_indexed"
    assert codecs == {"codecs": ["bytes", "blosc", "crc32c"], "index_codecs": ["bytes", "crc32c"]}
    assert group.attrs["estimator"] == "test"
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=tmp_path / "flow.zarr", check=True)


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
