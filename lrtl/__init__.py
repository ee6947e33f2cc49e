"""Learn to segment what moves in videos, without labels."""

__version__ = "0.1.0"
