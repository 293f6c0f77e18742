"""The newest frame of a camera: what a slow network gets is never a picture of the past."""

import threading
import time
from typing import Iterator, Optional, Tuple

from edge_bench.errors import CameraError, EdgeBenchError
from edge_bench.images.image import Image
from edge_bench.images.source import Item

# The first frame of a camera takes seconds: exposure, and on a Jetson the start of its image processor.
_FIRST_FRAME_LIMIT_S = 30.0
_FRAME_LIMIT_S = 10.0


class Camera:
    """A source of frames. `name` says in words which, and through what."""

    name = ""

    def grab(self, limit_s: float) -> Optional[Image]:
        """Wait for the next frame; None when a recording came to its end. Raises CameraError when none comes."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the device back. `grab` may be waiting in another thread and ends then."""


class NewestFrame:
    """Reads a camera in a thread of its own and keeps the latest frame; `num_dropped` counts those never taken."""

    def __init__(self, camera: Camera):
        self._camera = camera
        self._changed = threading.Condition()
        self._frame = None  # type: Optional[Tuple[Image, float]]
        self._error = None  # type: Optional[EdgeBenchError]
        self._has_ended = False
        self.num_dropped = 0
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    def items(self) -> Iterator[Item]:
        """Frame after frame, each the newest when it is asked for. Raises CameraError when the camera fails."""
        number = 0
        while True:
            taken = self._take()
            if taken is None:
                return
            image, arrived_s = taken
            item = Item("frame %d" % number, lambda _item, image=image: image)  # type: ignore[misc]
            item.arrived_s = arrived_s
            yield item
            number += 1

    def close(self) -> None:
        """End the thread and give the camera back."""
        with self._changed:
            self._has_ended = True
        self._camera.close()
        self._thread.join(2.0)  # a driver that hangs holds the thread, not the program: it is a daemon

    def _take(self) -> Optional[Tuple[Image, float]]:
        with self._changed:
            # In steps: a wait without end would keep Ctrl-C waiting under old releases of Python.
            while self._frame is None and self._error is None and not self._has_ended:
                self._changed.wait(0.5)
            taken, self._frame = self._frame, None
            if taken is None and self._error is not None:
                raise self._error
            return taken

    def _read(self) -> None:
        limit_s = _FIRST_FRAME_LIMIT_S
        try:
            while not self._has_ended:
                image = self._camera.grab(limit_s)
                arrived_s = time.perf_counter()
                limit_s = _FRAME_LIMIT_S
                with self._changed:
                    if image is None:
                        self._has_ended = True
                    else:
                        self.num_dropped += self._frame is not None
                        self._frame = (image, arrived_s)
                    self._changed.notify()
        except Exception as error:  # whatever a driver's library raises; the other thread has to hear of it
            known = isinstance(error, EdgeBenchError)
            reason = error if known else CameraError("%s: failed: %s" % (self._camera.name, error))
            with self._changed:
                self._error = reason  # type: ignore[assignment]
                self._changed.notify()
