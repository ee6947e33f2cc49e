"""Learn to segment what moves in videos, without labels."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """Import `lrtl.segment` when it is asked for: what it needs takes seconds to import."""
    if name == "segment":
        from lrtl.own import segment

        return segment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
