"""What can go wrong, in words for who runs the script."""

from __future__ import annotations


class ImageError(Exception):
    """What failed, what was seen, what to do."""


class CannotRun(Exception):
    """This machine lacks something that the work needs; nothing is wrong with the images. One line."""
