"""`lrtl show`: a picture of any product of the pipeline, told by its content."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lrtl.datasets.layout import Sequence
from lrtl.figures import charts
from lrtl.figures.motion import flow_sheet, track_sheet
from lrtl.figures.segments import segment_sheet, sequence_sheet
from lrtl.figures.style import write_chart
from lrtl.files import checked
from lrtl.motion.store import FlowStore, TrackStore

# The columns by which a CSV file is known, and its chart; the first that fits.
CHARTS = [
    ({"step", "loss", "gradient_norm"}, charts.curves),
    ({"sequence", "frame", "J"}, charts.scores),
    ({"experiment", "sequence", "J", "J_gt_choice", "source"}, charts.sequences),
    ({"experiment", "network", "J", "J_gt_choice", "J_oracle", "source"}, charts.table),
    ({"row", "dataset", "J", "J_as_paper", "J_paper"}, charts.paper_table),
    ({"method", "ARI", "FG_ARI", "source"}, charts.rand_table),
    ({"sequence", "true", "halves", "shifted", "random"}, charts.landscape),
    ({"experiment", "network", "fps", "fps_paper"}, charts.speed),
]
METRICS = "metrics.csv"  # of a run
COMPONENTS = "components"  # the folder of results in which 0 is an id as any other
SHOWN = (
    "a prepared sequence; a store of flow or tracks; a folder of masks, objects or components; a "
    "run or its metrics.csv; a CSV file of scores, of a table, per sequence, of a landscape or of "
    "speeds"
)


def show(path: Path, out: Path | None = None, sequence: Path | None = None) -> Path:
    """Draw a product of the pipeline as PNG.

    Args:
        path: the product; what it is its content says, wherever it lies.
        out: the picture; by default a new file in the current folder, called as the product.
        sequence: the prepared sequence that flow, tracks or masks are of. By default the one in
            the same folder of results, and where there is none they are drawn without frames.

    Returns:
        Where the picture is.

    Raises:
        ValueError: the product is damaged or of no kind that has a picture, `sequence` is not its,
            or `out` would replace what is there.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"there is no {path}; what can be shown: {SHOWN}")
    out = _target(path, sequence, out)
    run = path.parent if path.name == METRICS else path
    if (run / METRICS).exists() or path.suffix == ".csv":
        if sequence:
            raise ValueError(f"{path} is drawn without frames; leave --sequence out")
        write_chart(_chart(run / METRICS if run.is_dir() else path, _name(run)), out)
    elif (path / "sequence.json").exists():
        sequence_sheet(Sequence.open(path), out)
    else:
        _show_folder(path, Sequence.open(sequence) if sequence else _sequence_of(path), out)
    return out


def _target(path: Path, sequence: Path | None, out: Path | None) -> Path:
    """Where the picture goes: never into a product, and by default on nothing that is there."""
    target = out or Path(f"{path.resolve().stem}.png")
    if target.suffix != ".png":
        raise ValueError(f"{target} is no name of a PNG; let it end in .png")
    for given in filter(None, (path, sequence)):
        if given.resolve() in (target.resolve(), *target.resolve().parents):
            raise ValueError(f"{target} is in {given}, which is to be shown; name another with -o")
    if out is None and target.exists():
        raise ValueError(f"{target} is there already; name the picture with -o")
    return target


def _show_folder(path: Path, sequence: Sequence | None, out: Path) -> None:
    """Draw flow, tracks or masks."""
    name = sequence.name if sequence else path.resolve().parent.name
    if (path / "flow/zarr.json").exists():
        flow_sheet(FlowStore.open(path), sequence, name, out)
    elif (path / "steps/zarr.json").exists():
        track_sheet(TrackStore.open(path), sequence, name, out)
    elif path.is_dir() and any(path.glob("*.png")):
        segment_sheet(checked(path), sequence, out, COMPONENTS in path.resolve().parts)
    else:
        inside = sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
        one = f"; show what is in it, for instance {inside[0]}" if inside else ""
        raise ValueError(f"{path} is nothing that can be shown{one}; what can be: {SHOWN}")


def _sequence_of(path: Path) -> Sequence | None:
    """The prepared sequence of a product in the same folder of results, if it is there."""
    path = path.resolve()
    name = path.parent.name if path.suffix == ".zarr" else path.name
    for results in path.parents[2:]:
        dataset = path.relative_to(results).parts[1]
        folder = results / "datasets" / dataset / name
        if (folder / "sequence.json").exists():
            return Sequence.open(folder)
    return None


def _name(product: Path) -> str:
    """What to call a product: its name, and for a seed its dataset and experiment too."""
    *parts, stem = product.resolve().with_suffix("").parts
    return ", ".join([*parts[-2:], stem]) if stem.startswith("seed") else stem


def _chart(path: Path, title: str) -> Callable[[], Figure]:
    """The chart of a CSV file, to be drawn."""
    table = _read_table(path)
    for columns, chart in CHARTS:
        if columns <= set(table):
            return partial(chart, table, title)
    found = ", ".join(table.columns)
    raise ValueError(f"{path} has the columns {found}; what can be shown: {SHOWN}")


def _read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file, checked against its checksum if it has one."""
    path, remedy = checked(path), "run its rule again"
    try:
        table = pd.read_csv(path, dtype={"sequence": str, "frame": str, "video": str})
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a table ({error}); {remedy}") from error
    if table.empty:
        raise ValueError(f"{path} has no rows; {remedy}")
    return table
