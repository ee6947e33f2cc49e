"""The style of charts, that of the sheets: white, grey labels, colours for every eye."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from lrtl.figures.sheets import GREY, INK
from lrtl.files import whole_file

# Okabe and Ito's colours, which stay apart for colour-blind readers.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000"]
LABEL = tuple(part / 255 for part in GREY)
STYLE = {
    "font.size": 9,
    "axes.axisbelow": True,
    "axes.edgecolor": LABEL,
    "axes.grid": True,
    "axes.labelcolor": LABEL,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "figure.titlesize": 13,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.hashsalt": "lrtl",
    "text.color": tuple(part / 255 for part in INK),
    "xtick.color": LABEL,
    "ytick.color": LABEL,
}


def write_chart(draw: Callable[[], Figure], out: Path) -> None:
    """Write the figure that `draw` makes as PNG, in the style of all charts."""
    with matplotlib.rc_context(STYLE), whole_file(out) as temporary:
        draw().savefig(temporary, dpi=150, metadata={"Software": None})
