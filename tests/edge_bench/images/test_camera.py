"""Cameras through programs that behave like ffmpeg and gst-launch-1.0, and through stand-ins of cv2 and gi.

No real camera was ever here: these tests hold that frames arrive whole, newest first, and that every end has words.
"""

import json
import os
import threading
import time
import types

import fake_camera
import pytest

from edge_bench.errors import CameraError
from edge_bench.images import camera, process_camera
from edge_bench.images.image import Image
from edge_bench.images.newest import Camera, NewestFrame
from waiting import has_ended

DEVICE = "/dev/null"  # is there, and the programs do not open it


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A function that puts such programs alone on the PATH, and says what they do."""

    def choose(*names, **plan):
        folder = fake_camera.write_programs(tmp_path / "programs", names)
        monkeypatch.setenv("PATH", folder)
        monkeypatch.setenv("FAKE_CAMERA", json.dumps(plan))
        return folder

    return choose


@pytest.fixture(autouse=True)
def no_libraries(monkeypatch):
    """Neither cv2 nor gi, whatever is installed here."""
    find = camera.importlib.util.find_spec
    monkeypatch.setattr(camera.importlib.util, "find_spec", lambda name: None if name in ("cv2", "gi") else find(name))


def wanted(device=DEVICE, pipeline=None, width=6, height=4):
    return camera.Wanted(None if pipeline else device, pipeline, width, height)


def expected(frame, width=6, height=4):
    return Image(width, height, 3, bytes(bytearray((frame + place) % 256 for place in range(3 * width * height))))


def called(folder):
    with open(os.path.join(folder, "called.json"), encoding="utf-8") as stream:
        return json.load(stream)


@pytest.mark.parametrize("way", ["ffmpeg", "gst-launch-1.0"])
@pytest.mark.parametrize("width", [6, 8])
def test_frames_come_whole_and_in_order(programs, way, width):
    """Rows of GStreamer are padded where three bytes a pixel do not fill four; messages on stdout are no pixels."""
    programs(way, frames=20, code=1)
    opened = camera.open_camera(wanted(width=width))
    try:
        assert way in opened.name and DEVICE in opened.name
        for frame in range(20):
            assert opened.grab(20.0) == expected(frame, width)
        with pytest.raises(CameraError):
            opened.grab(20.0)
    finally:
        opened.close()


def test_a_camera_that_is_unplugged_is_an_error_with_its_reason(programs):
    for code in (0, 1, -9):  # some programs call the loss of a camera an orderly end
        programs("ffmpeg", frames=2, code=code, message="[video4linux2] ioctl(VIDIOC_DQBUF) error: No such device")
        opened = camera.open_camera(wanted())
        opened.grab(20.0), opened.grab(20.0)
        with pytest.raises(CameraError, match="No such device; is the camera still plugged in") as caught:
            opened.grab(20.0)
        assert "exit code %d" % code in str(caught.value)
        opened.close()


def test_a_recording_ends_in_order_and_an_error_does_not(programs):
    programs("gst-launch-1.0", frames=1)
    opened = camera.open_camera(wanted(pipeline="videotestsrc num-buffers=1"))
    assert opened.grab(20.0) == expected(0) and opened.grab(20.0) is None
    opened.close()
    programs(
        "gst-launch-1.0", frames=1, code=1, message="ERROR: from element /GstPipeline: Internal data stream error."
    )
    opened = camera.open_camera(wanted(pipeline="videotestsrc"))
    opened.grab(20.0)
    with pytest.raises(CameraError, match="Internal data stream error"):
        opened.grab(20.0)
    opened.close()


def test_a_camera_that_says_nothing_is_given_up_and_ended(programs):
    folder = programs("ffmpeg", hang=True)
    opened = camera.open_camera(wanted())
    with pytest.raises(CameraError, match="no frame within 1 s"):
        opened.grab(1.0)
    number = called(folder)[-1]
    opened.close()
    assert has_ended(number)


def test_what_was_wrong_with_a_pipeline_is_said(programs):
    programs("gst-launch-1.0")
    opened = camera.open_camera(wanted(pipeline="nosuchelement ! videoconvert"))
    with pytest.raises(CameraError, match='no element "nosuchelement"'):
        opened.grab(20.0)
    opened.close()


def test_a_pipeline_is_words_and_never_a_shell(programs, tmp_path):
    folder = programs("gst-launch-1.0")
    text = "nvarguscamerasrc sensor-id=0 ! 'video/x-raw(memory:NVMM), width=1280' ! nvvidconv $(touch x) ; touch y"
    text += " ! appsink drop=1"
    opened = camera.open_camera(wanted(pipeline=text))
    opened.grab(20.0)
    opened.close()
    words = called(folder)[:-1]
    assert words[:2] == ["gst-launch-1.0", "-q"]
    assert words[2:13] == [
        "nvarguscamerasrc", "sensor-id=0", "!", "video/x-raw(memory:NVMM), width=1280", "!", "nvvidconv",
        "$(touch", "x)", ";", "touch", "y",
    ]  # fmt: skip
    assert words[13:18] == ["!", "videoconvert", "!", "videoscale", "add-borders=false"]
    assert words[-4:-2] == ["!", "fdsink"] and "appsink" not in words


@pytest.mark.parametrize(
    "text", ["", "'open", "--gst-version", "videotestsrc !", "! videoconvert", "fakesink ! appsink !"]
)
def test_pipelines_that_are_none(programs, text):
    programs("gst-launch-1.0")
    with pytest.raises(CameraError, match="pipeline"):
        camera.open_camera(camera.Wanted(None, text, 6, 4))


def test_nothing_installed_names_what_to_install(programs):
    programs()
    for source in (wanted(), wanted(pipeline="videotestsrc")):
        with pytest.raises(CameraError, match="sudo apt install gstreamer1.0-tools"):
            camera.open_camera(source)
    with pytest.raises(CameraError, match="ffmpeg is not installed"):
        camera.open_camera(wanted(), "ffmpeg")
    with pytest.raises(CameraError, match="ffmpeg cannot run a pipeline; give one of gst"):
        camera.open_camera(wanted(pipeline="videotestsrc"), "ffmpeg")


def test_a_device_that_is_not_there(programs):
    programs("ffmpeg")
    with pytest.raises(CameraError, match="ls /dev/video"):
        camera.open_camera(wanted("/dev/video9876"))


def test_a_program_that_cannot_be_started(programs):
    folder = programs("ffmpeg")
    with open(os.path.join(folder, "ffmpeg"), "w", encoding="utf-8") as stream:
        stream.write("#!/no/such/interpreter\n")
    with pytest.raises(CameraError, match="cannot be started"):
        camera.open_camera(wanted())


def test_frames_of_a_size_that_nobody_means(programs):
    programs("ffmpeg")
    with pytest.raises(Exception, match="million"):
        camera.open_camera(wanted(width=16384, height=16384))


# --- the newest frame


class Scripted(Camera):
    """Gives frames when it is told to."""

    name = "a scripted camera"

    def __init__(self):
        self.given = threading.Semaphore(0)
        self.taken = threading.Semaphore(0)
        self.num_frames = 0
        self.then = None
        self.closed = False

    def grab(self, limit_s):
        self.taken.release()
        assert self.given.acquire(timeout=20)
        if self.closed:
            return None
        if self.then is not None:
            raise self.then
        self.num_frames += 1
        return Image(1, 1, 1, bytes(bytearray([self.num_frames])))

    def give(self, count):
        """Returns when all of them were read and the next is asked for."""
        for _ in range(count):
            self.given.release()
            assert self.taken.acquire(timeout=20)

    def close(self):
        self.closed = True
        self.given.release()


def test_the_newest_frame_is_given_and_older_ones_are_counted():
    source = Scripted()
    newest = NewestFrame(source)
    source.taken.acquire()
    items = newest.items()
    source.give(1)
    first = next(items)
    assert first.load().pixels == b"\x01" and newest.num_dropped == 0
    source.give(4)
    second = next(items)
    assert second.load().pixels == b"\x05" and newest.num_dropped == 3
    assert first.arrived_s < second.arrived_s <= time.perf_counter()
    assert (first.name, second.name) == ("frame 0", "frame 1")
    newest.close()
    assert source.closed and list(items) == []


@pytest.mark.parametrize("error", [CameraError("unplugged"), RuntimeError("unplugged"), MemoryError("unplugged")])
def test_the_last_frame_is_given_before_the_error(error):
    source = Scripted()
    newest = NewestFrame(source)
    source.taken.acquire()
    items = newest.items()
    source.give(1)
    source.then = error
    source.given.release()
    assert next(items).load().pixels == b"\x01"
    with pytest.raises(CameraError, match="unplugged"):
        next(items)
    newest.close()


def test_real_frames_through_a_slow_reader(programs):
    folder = programs("ffmpeg", period_s=0.002)
    newest = NewestFrame(camera.open_camera(wanted()))
    seen = []
    for item in newest.items():
        image = item.load()
        seen.append(image.pixels[0])
        assert image == expected(seen[-1])
        time.sleep(0.05)
        if len(seen) == 4:
            break
    assert newest.num_dropped > 0 and seen == sorted(seen)
    newest.close()
    assert has_ended(called(folder)[-1])


# --- libraries, by stand-ins shaped after their documentation


def test_through_opencv(monkeypatch):
    numpy = pytest.importorskip("numpy")
    devices = []
    frames = [numpy.arange(24, dtype=numpy.uint8).reshape(2, 4, 3)]

    class Capture:
        def __init__(self, device, kind):
            assert device in (DEVICE, 3) and kind == 200  # OpenCV 5 opens no V4L2 device by its path
            devices.append(device)
            self.asked = {}

        def isOpened(self):
            return bool(frames)

        def set(self, name, value):
            self.asked[name] = value
            return False  # the driver may refuse

        def read(self):
            return (True, frames.pop()) if frames else (False, None)

        def release(self):
            self.asked = None

    module = types.ModuleType("cv2")
    module.__dict__.update(
        VideoCapture=Capture, CAP_V4L2=200, CAP_PROP_FRAME_WIDTH=3, CAP_PROP_FRAME_HEIGHT=4, __version__="4.1.1"
    )
    monkeypatch.setitem(__import__("sys").modules, "cv2", module)
    monkeypatch.setattr(camera, "_is_installed", lambda way: way == "opencv")
    opened = camera.open_camera(wanted())
    assert "OpenCV 4.1.1" in opened.name
    image = opened.grab(1.0)
    assert image[:3] == (4, 2, 3) and list(image.pixels[:6]) == [2, 1, 0, 5, 4, 3]  # red first
    with pytest.raises(CameraError, match="still plugged in"):
        opened.grab(1.0)
    opened.close()
    with pytest.raises(CameraError, match="usermod -aG video"):
        camera.OpenCvCamera(wanted("/dev/video3"))
    assert devices == [DEVICE, 3]


class FakeGst(types.ModuleType):
    """What GiCamera uses of gi.repository.Gst, with the answers that the real 1.22 gave."""

    SECOND = 1000000000
    State = types.SimpleNamespace(PLAYING="playing", NULL="null")
    MessageType = types.SimpleNamespace(ERROR="error")

    def __init__(self, samples, error=None):
        types.ModuleType.__init__(self, "gi.repository.Gst")
        self.samples, self.error, self.states, self.words = samples, error, [], None

    def init(self, _arguments):
        pass

    def parse_launchv(self, words):
        self.words = words
        if "nosuch" in words:
            raise RuntimeError('gst_parse_error: no element "nosuch" (1)')
        return self

    def get_by_name(self, name):
        assert "name=" + name in self.words and "appsink" in self.words
        return self

    def set_state(self, state):
        self.states.append(state)

    def emit(self, signal, _limit_ns):
        assert signal == "try-pull-sample"
        if not self.samples:
            return None
        content = self.samples.pop(0)
        buffer = types.SimpleNamespace(get_size=lambda: len(content), extract_dup=lambda start, size: content[:size])
        return types.SimpleNamespace(get_buffer=lambda: buffer)

    def get_bus(self):
        return self

    def pop_filtered(self, kind):
        assert kind == "error"
        return types.SimpleNamespace(parse_error=lambda: (self.error, "debug")) if self.error else None

    def get_property(self, name):
        assert name == "eos"
        return self.error is None


def test_through_gi(monkeypatch):
    padded = b"".join(bytes(bytearray(range(18))) + b"\xee\xee" for _ in range(4))  # six pixels, rows of 20 bytes

    def install(gst):
        gi, repository = types.ModuleType("gi"), types.ModuleType("gi.repository")
        gi.require_version = lambda name, version: None
        repository.Gst = gst
        for name, module in (("gi", gi), ("gi.repository", repository), ("gi.repository.Gst", gst)):
            monkeypatch.setitem(__import__("sys").modules, name, module)
        monkeypatch.setattr(camera, "_is_installed", lambda way: way == "gi")
        return gst

    gst = install(FakeGst([padded, padded]))
    opened = camera.open_camera(wanted(pipeline="videotestsrc ! appsink"))
    for _ in range(2):
        assert opened.grab(1.0) == Image(6, 4, 3, bytes(bytearray(range(18))) * 4)
    assert opened.grab(1.0) is None
    opened.close()
    assert gst.states == ["playing", "null"] and gst.words.count("appsink") == 1
    install(FakeGst([], "gst-resource-error-quark: device lost"))
    with pytest.raises(CameraError, match="device lost"):
        camera.open_camera(wanted()).grab(1.0)
    with pytest.raises(CameraError, match='no element "nosuch"'):
        camera.open_camera(wanted(pipeline="nosuch ! videoconvert"))
    install(None)
    with pytest.raises(CameraError, match="no GStreamer 1.0"):
        camera.open_camera(wanted())


def test_padding_of_rows():
    assert process_camera.without_padding(b"abc.def.", 1, 2, 4) == b"abcdef"
    assert process_camera.without_padding(b"abcdef", 1, 2, 1) == b"abcdef"
