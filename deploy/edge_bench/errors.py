"""Errors that a user can act on; anything else that escapes is a bug of ours.

EdgeBenchError
 +- BundleError        the bundle is damaged, incomplete, or not what its manifest says
 +- MeasurementError   a measurement file does not follow the schema
 +- BackendError       the runtime is missing or cannot load or run the model
 +- ImageError         an image is damaged, too large, or of a kind that cannot be read here
 +- CameraError        a camera cannot be opened, or stopped giving frames
"""


class EdgeBenchError(Exception):
    """What failed, what was seen, what to do: all in the message."""


class BundleError(EdgeBenchError):
    """The bundle is damaged, incomplete, or not what its manifest says."""


class MeasurementError(EdgeBenchError):
    """A measurement file does not follow the schema."""


class BackendError(EdgeBenchError):
    """The runtime is missing or cannot load or run the model."""


class ImageError(EdgeBenchError):
    """An image is damaged, too large, or of a kind that cannot be read here."""


class CameraError(EdgeBenchError):
    """A camera cannot be opened, or stopped giving frames."""
