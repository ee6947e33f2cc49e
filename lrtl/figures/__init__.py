"""Pictures of what the pipeline makes, in one style: sheets of pictures, and charts."""

from lrtl.figures.motion import motion_sheet
from lrtl.figures.segments import (
    FOREGROUND,
    TRUTH,
    comparison,
    contact_sheet,
    draw_components,
    draw_foreground,
    overlay,
    overlay_line,
    write_video,
)

__all__ = [
    "FOREGROUND",
    "TRUTH",
    "comparison",
    "contact_sheet",
    "draw_components",
    "draw_foreground",
    "motion_sheet",
    "overlay",
    "overlay_line",
    "write_video",
]
