"""The version of minigrok."""

__version__ = "0.1.0"
