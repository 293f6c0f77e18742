"""Cameras: V4L2 devices and pipelines of GStreamer, through what is installed.

Run with the real GStreamer 1.22 (by gst-launch-1.0 and by gi), FFmpeg and OpenCV, on generated pictures and on devices
that are no cameras. None of it ever ran with a real camera.
"""

import contextlib
import importlib.util
import os
import shlex
import shutil
from typing import Any, Callable, List, NamedTuple, Optional

from edge_bench.errors import CameraError
from edge_bench.images.image import Image
from edge_bench.images.newest import Camera
from edge_bench.images.process_camera import ProcessCamera, without_padding

WAYS = ("opencv", "gi", "gst-launch-1.0", "ffmpeg")
# Of rows of RGB in GStreamer ("Raw Video Media Types" of its documentation).
_ALIGNMENT = 4
_INSTALL = "install one: `sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-good`, or ffmpeg, or python3-opencv"


class Wanted(NamedTuple):
    """A V4L2 device, or the text of a pipeline of GStreamer; and the size in which frames come."""

    device: Optional[str]
    pipeline: Optional[str]
    width: int
    height: int

    @property
    def name(self) -> str:
        return self.device or "the pipeline %r" % self.pipeline


def open_camera(wanted: Wanted, way: Optional[str] = None) -> Camera:
    """A camera through `way`, else through the first of WAYS that is installed.

    A pipeline runs in gst-launch-1.0 where that is there: NVIDIA's source writes messages to stdout, where our results
    go. Raises CameraError when the device is not there, nothing can open it, or it does not open.
    """
    if wanted.device is not None and not os.path.exists(wanted.device):
        raise CameraError(
            "%s is not there; plug the camera in and look with `ls /dev/video*`; a CSI camera of a Jetson needs "
            "--pipeline 'nvarguscamerasrc ! nvvidconv'" % wanted.device
        )
    elements = _elements(wanted)
    # OpenCV takes pipelines too, but only where it was built with GStreamer, which wheels are not.
    order = ("gst-launch-1.0", "gi") if wanted.pipeline is not None else WAYS
    if way is not None and way not in order:
        raise CameraError(
            "%s cannot run a pipeline; give one of %s with --camera-by, or leave it out" % (way, ", ".join(order))
        )
    for candidate in order if way is None else (way,):
        if _is_installed(candidate):
            return _open(candidate, wanted, elements)
    missing = "%s is not installed" % way if way else "none of %s is installed" % ", ".join(order)
    raise CameraError("%s cannot be opened: %s; %s" % (wanted.name, missing, _INSTALL))


def _open(way: str, wanted: Wanted, elements: List[str]) -> Camera:
    if way == "opencv":
        return OpenCvCamera(wanted)
    if way == "gi":
        return GiCamera(wanted, elements)
    name = "%s through %s" % (wanted.name, way)
    if way == "ffmpeg":
        return ProcessCamera(name, ffmpeg_command(wanted), wanted.width, wanted.height, 1, ends=False)
    command = gst_launch_command(elements)
    return ProcessCamera(name, command, wanted.width, wanted.height, _ALIGNMENT, ends=wanted.pipeline is not None)


def _is_installed(way: str) -> bool:
    if way in ("gst-launch-1.0", "ffmpeg"):
        return shutil.which(way) is not None
    return importlib.util.find_spec("cv2" if way == "opencv" else "gi") is not None


def ffmpeg_command(wanted: Wanted) -> Callable[[int], List[str]]:
    """The command, for the number of the open file that takes the frames.

    ffmpeg-devices(1): `-video_size` asks the driver, which may take another size, so `scale` has the last word;
    ffmpeg-protocols(1): `pipe:N` writes to an open file.
    """
    start = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-f", "v4l2"]
    size = ["-video_size", "%dx%d" % (wanted.width, wanted.height), "-i", str(wanted.device)]
    frames = ["-vf", "scale=%d:%d" % (wanted.width, wanted.height), "-f", "rawvideo", "-pix_fmt", "rgb24"]
    return lambda descriptor: start + size + frames + ["pipe:%d" % descriptor]


def gst_launch_command(elements: List[str]) -> Callable[[int], List[str]]:
    """The command, for the number of the open file that takes the frames; messages go elsewhere."""
    return lambda descriptor: ["gst-launch-1.0", "-q"] + elements + ["!", "fdsink", "fd=%d" % descriptor, "sync=false"]


def _elements(wanted: Wanted) -> List[str]:
    """The words of the pipeline up to RGB frames of the wanted size, as gst-launch-1.0(1) takes them one by one.

    A sink at the end is left out: what is written for OpenCV ends with `appsink`. Raises CameraError on open quotes.
    """
    if wanted.pipeline is None:
        # decodebin: many USB cameras give their full rate only as JPEG.
        words = ["v4l2src", "device=%s" % wanted.device, "!", "decodebin"]
    else:
        try:
            words = shlex.split(wanted.pipeline)
        except ValueError as error:
            raise CameraError("the pipeline %r cannot be read: %s" % (wanted.pipeline, error)) from error
        last = len(words) - words[::-1].index("!") if "!" in words else 0
        if last and words[last:] and words[last].endswith("sink"):
            words = words[: last - 1]
        if not words or words[0].startswith(("-", "!")) or words[-1] == "!":
            raise CameraError("the pipeline %r has no source; as 'nvarguscamerasrc ! nvvidconv'" % wanted.pipeline)
    caps = "video/x-raw,format=RGB,width=%d,height=%d" % (wanted.width, wanted.height)
    return words + ["!", "videoconvert", "!", "videoscale", "add-borders=false", "!", caps]


class OpenCvCamera(Camera):
    """cv2.VideoCapture on a V4L2 device."""

    def __init__(self, wanted: Wanted):
        import cv2  # type: ignore[import-not-found,unused-ignore]

        self.name = "%s through OpenCV %s" % (wanted.name, cv2.__version__)
        number = str(wanted.device)[len("/dev/video") :]
        # By number where there is one: older releases take no path for V4L2.
        self._capture = cv2.VideoCapture(int(number) if number.isdigit() else wanted.device, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise CameraError(
                "%s: does not open; another program may use it, or you are not in the group: "
                "`sudo usermod -aG video $USER`, then log in again" % self.name
            )
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height)

    def grab(self, limit_s: float) -> Optional[Image]:
        is_there, frame = self._capture.read()  # has a time limit of its own, 10 s
        if not is_there:
            raise CameraError("%s: gives no frames any more; is it still plugged in?" % self.name)
        height, width = frame.shape[:2]
        return Image(width, height, 3, frame[:, :, ::-1].tobytes())  # OpenCV has blue first

    def close(self) -> None:
        self._capture.release()


class GiCamera(Camera):
    """A pipeline of GStreamer in this process, through its Python binding."""

    def __init__(self, wanted: Wanted, elements: List[str]):
        try:
            import gi  # type: ignore[import-not-found,unused-ignore]

            gi.require_version("Gst", "1.0")
            from gi.repository import Gst  # type: ignore[import-not-found,unused-ignore]

            Gst.init(None)
        except Exception as error:  # the binding is there, its typelibs are not: ValueError, ImportError, ...
            raise CameraError("%s: gi has no GStreamer 1.0 (%s); %s" % (wanted.name, error, _INSTALL)) from error
        self.name = "%s through GStreamer (gi)" % wanted.name
        self._gst: Any = Gst
        self._size = (wanted.width, wanted.height)
        sink = ["!", "appsink", "name=edge_bench_sink", "max-buffers=2", "drop=true", "sync=false"]
        try:
            self._pipeline = Gst.parse_launchv(elements + sink)
        except Exception as error:
            raise CameraError("%s: %s" % (self.name, error)) from error
        self._sink = self._pipeline.get_by_name("edge_bench_sink")
        self._pipeline.set_state(Gst.State.PLAYING)

    def grab(self, limit_s: float) -> Optional[Image]:
        sample = self._sink.emit("try-pull-sample", int(limit_s * self._gst.SECOND))
        if sample is None:
            message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
            if message is not None:
                raise CameraError("%s: %s" % (self.name, message.parse_error()[0]))
            if self._sink.get_property("eos"):
                return None
            raise CameraError("%s: no frame within %d s" % (self.name, limit_s))
        buffer = sample.get_buffer()
        content = buffer.extract_dup(0, buffer.get_size())
        width, height = self._size
        return Image(width, height, 3, without_padding(content, width, height, _ALIGNMENT))

    def close(self) -> None:
        with contextlib.suppress(Exception):  # a device that went away fails in many ways, and nothing is left to do
            self._pipeline.set_state(self._gst.State.NULL)
