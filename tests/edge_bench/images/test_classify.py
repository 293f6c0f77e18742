"""`edge-bench classify` as a user or a script meets it: a real network, real children, a real (pseudo) terminal."""

import array
import fcntl
import json
import math
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import types

import fake_camera
import pytest

from edge_bench import cli, stats
from edge_bench.errors import EdgeBenchError

pytest.importorskip("onnxruntime")

# What tiny.onnx, whose weights are random, makes of these images was computed once by numpy (test_the_label_is_right).
NUM_CLASSES = 10


def pixels_of(number):
    return bytes(bytearray((number * 37 + place * (number + 3)) % 256 for place in range(64)))


def write(folder, name, content):
    path = os.path.join(str(folder), *name.split("/"))
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    with open(path, "wb") as stream:
        stream.write(content)
    return path


def write_idx(folder, count, name="t10k-images-idx3-ubyte"):
    body = b"".join(pixels_of(number) for number in range(count))
    return write(folder, name, b"\x00\x00\x08\x03" + struct.pack(">3I", count, 8, 8) + body)


def write_labels(folder, labels, name="t10k-labels-idx1-ubyte"):
    return write(folder, name, b"\x00\x00\x08\x01" + struct.pack(">I", len(labels)) + bytes(bytearray(labels)))


def write_pgm(folder, name, number):
    return write(folder, name, b"P5 8 8 255\n" + pixels_of(number))


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def expected_logits(maker, number):
    """By plain arithmetic, from the formula of README.md and the network's definition, through no runtime of ours."""
    numpy = pytest.importorskip("numpy")
    onnxruntime = pytest.importorskip("onnxruntime")
    rules = maker.manifest(maker.files())["preprocessing"]
    values = numpy.frombuffer(pixels_of(number), numpy.uint8).astype(numpy.float32)
    x_bchw = ((values * numpy.float32(rules["scale"]) - numpy.float32(rules["mean"][0])) / numpy.float32(0.4)).reshape(
        1, 1, 8, 8
    )
    session = onnxruntime.InferenceSession(maker.files()["model.onnx"], providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x_bchw})[0].ravel().tolist()


def best_of(maker, number):
    logits = expected_logits(maker, number)
    return logits.index(max(logits))


@pytest.fixture
def in_process(capsys, monkeypatch, tmp_path):
    """The command in this process, which has the runtime loaded already: code, out and err as of a child."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(str(tmp_path / "here"))

    def call(*arguments):
        try:
            words = ["classify"] + list(arguments)
            given = cli.build_parser(words).parse_args(words)
            code = given.handler(given)
        except SystemExit as ended:
            code = ended.code
        except EdgeBenchError as error:  # as main() does
            code = 1
            sys.stderr.write("edge-bench: error: %s\n" % error)
        captured = capsys.readouterr()
        return types.SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return call


def assert_no_traceback(done):
    assert "Traceback" not in done.err + done.out, done.err


# --- what it says


def test_the_label_is_right(maker, agent, tmp_path):
    files = [write_pgm(tmp_path, "%d.pgm" % number, number) for number in range(3)]
    done = agent.run("classify", maker.tar(), *(files + ["--json", "--top", "10"]))
    assert done.code == 0, done.err
    lines = records(done.out)
    assert [line["kind"] for line in lines] == ["image"] * 3 + ["summary"]
    for number, line in enumerate(lines[:3]):
        logits = expected_logits(maker, number)
        powers = [math.exp(logit) for logit in logits]
        shares = {entry["class"]: entry["confidence"] for entry in line["top"]}
        assert line["image"] == files[number] and line["label"] == "label %d" % logits.index(max(logits))
        for place in range(NUM_CLASSES):
            assert shares[place] == pytest.approx(powers[place] / sum(powers), rel=1e-4)
        assert [entry["confidence"] for entry in line["top"]] == sorted(shares.values(), reverse=True)
        assert line["confidence"] == line["top"][0]["confidence"]
        assert line["missed"] is None and line["correct"] is None
        parts = [line[name] for name in ("decode_s", "preprocess_s", "inference_s")]
        assert all(part > 0 for part in parts) and sum(parts) <= line["total_s"] and line["wait_s"] == 0.0
    summary = lines[3]
    totals = [line["total_s"] for line in lines[:3]]
    assert summary["times"]["total"]["median_s"] == stats.median(totals) and summary["num_images"] == 3
    assert summary["check"]["passed"] is True and summary["accuracy"] is None and summary["num_missed"] is None
    assert summary["backend"]["name"] == "onnxruntime" and summary["interrupted"] is False
    assert summary["times"]["total"]["p99_s"] is None  # three images carry no percentile


def test_lines_for_people(maker, in_process, tmp_path):
    write_pgm(tmp_path, "a.pgm", 1)
    done = in_process(maker.folder(), str(tmp_path / "*.pgm"), "--deadline-ms", "10000", "--top", "2")
    assert done.code == 0, done.err
    first, rest = done.out.split("\n", 1)
    assert re.match(r".*a\.pgm: label %d [0-9.]+ %%, label \d [0-9.]+ %%  " % best_of(maker, 1), first)
    assert "decode" in first and "inference" in first and "MISSED" not in first
    for row in ("images       1 classified", "latency      median", "missed by 0 of 1", "outputs match the reference"):
        assert row in rest
    assert "board        " in rest  # no number without the state of its board


def test_accuracy_from_labels_beside_given_or_in_folders(maker, in_process, tmp_path):
    truth = [best_of(maker, number) for number in range(8)]
    truth[2] = (truth[2] + 1) % NUM_CLASSES
    images = write_idx(tmp_path, 8)
    write_labels(tmp_path, truth)
    other = write_labels(tmp_path, [best_of(maker, number) for number in range(8)], "all-right")
    for extra, correct in (([], 7), (["--labels", other], 8)):
        done = in_process(maker.folder(), images, "--json", *extra)
        assert done.code == 0, done.err
        lines = records(done.out)
        assert lines[-1]["num_correct"] == correct and lines[-1]["accuracy"] == correct / 8.0
        assert lines[2]["correct"] is (correct == 8)
    for number in range(4):
        write_pgm(tmp_path, "classes/label %d/%d.pgm" % (truth[number], number), number)
    done = in_process(maker.folder(), str(tmp_path / "classes"), "--labels", "folder", "--json")
    assert done.code == 0, done.err
    assert (records(done.out)[-1]["num_correct"], records(done.out)[-1]["num_labelled"]) == (3, 4)


def test_labels_that_do_not_fit_are_refused(maker, in_process, tmp_path):
    images, short = write_idx(tmp_path, 4), write_labels(tmp_path, [1, 2, 3], "short")
    beyond = write_labels(tmp_path, [1, 2, 3, 77], "beyond")
    stray = write_pgm(tmp_path, "no label/x.pgm", 1)
    for extra, words in (
        ([images, "--labels", short], "3 labels"),
        ([images, "--labels", beyond], "77"),
        ([images, stray, "--labels", short], "one file of images"),
        ([stray, "--labels", "folder"], "no label"),
        ([images, "--labels", str(tmp_path / "absent")], "absent"),
    ):
        done = in_process(maker.folder(), *extra)
        assert done.code == 1 and words in done.err and done.out == "", done.err
        assert_no_traceback(done)


def test_deadlines(maker, in_process, tmp_path):
    images = write_idx(tmp_path, 5)
    for deadline_ms, missed in (("0.000001", 5), ("100000", 0)):
        done = in_process(maker.folder(), images, "--json", "--strict", "--deadline-ms", deadline_ms)
        summary = records(done.out)[-1]
        assert summary["num_missed"] == missed and summary["miss_ratio"] == missed / 5.0
        assert [line["missed"] for line in records(done.out)[:-1]] == [bool(missed)] * 5
        assert done.code == (3 if missed else 0)
    done = in_process(maker.folder(), images, "--deadline-ms", "0.000001")
    assert done.code == 0 and done.out.count("MISSED the deadline") == 5 and "missed by 5 of 5 (100.00 %)" in done.out


def test_count_loop_and_rate(maker, in_process, tmp_path):
    images = write_idx(tmp_path, 3)
    done = in_process(maker.folder(), images, "--json", "--loop", "--count", "7")
    assert done.code == 0 and records(done.out)[-1]["num_images"] == 7
    assert [line["image"][-3:] for line in records(done.out)[:-1]] == ["[0]", "[1]", "[2]"] * 2 + ["[0]"]
    done = in_process(maker.folder(), images, "--json", "--loop", "--count", "6", "--fps", "20")
    assert records(done.out)[-1]["elapsed_s"] >= 5 / 20.0
    done = in_process(maker.folder(), images, "--json", "--fps", "1000000")
    assert records(done.out)[-1]["num_late"] >= 0 and done.code == 0


def test_saved_results_are_those_of_json(maker, in_process, tmp_path):
    images = write_idx(tmp_path, 3)
    done = in_process(maker.folder(), images, "--json", "--save", "r.jsonl")
    with open("r.jsonl", encoding="utf-8") as stream:
        assert stream.read() == done.out
    done = in_process(maker.folder(), images, "--save", "r.jsonl")  # again, now with lines for people
    with open("r.jsonl", encoding="utf-8") as stream:
        assert [record["kind"] for record in records(stream.read())] == ["image"] * 3 + ["summary"]
    bundle = maker.folder()
    for path, words in (
        (images, "another kind"),
        (os.path.join(bundle, "x"), "lies in "),
        ("/no/such/x", "write"),
    ):
        done = in_process(bundle, images, "--save", path)
        assert done.code == 1 and words in done.err
        assert_no_traceback(done)
    if os.path.exists("/dev/full"):
        done = in_process(maker.folder(), images, "--save", "/dev/full")
        assert done.code == 1 and "No space left" in done.err
        assert_no_traceback(done)


# --- what can be wrong


def test_a_broken_image_is_reported_and_skipped(maker, in_process, tmp_path):
    for number in (0, 2):
        write_pgm(tmp_path, "%d.pgm" % number, number)
    write(tmp_path, "1.pgm", b"P5 8 8 255\nshort")
    done = in_process(maker.folder(), str(tmp_path), "--json")
    assert done.code == 1 and "skipped: " in done.err and "cut short" in done.err
    lines = records(done.out)
    assert [line["kind"] for line in lines] == ["image", "failure", "image", "summary"]
    assert "cut short" in lines[1]["error"] and lines[-1]["num_failed"] == 1 and lines[-1]["num_images"] == 2
    assert_no_traceback(done)


def test_a_wrong_network_names_nothing(maker, agent, tmp_path):
    files = maker.files()
    files["reference/output.bin"] = bytes(40)
    done = agent.run("classify", maker.folder(files), write_idx(tmp_path, 2))
    assert done.code == 1 and "do not match the bundle's reference" in done.err and done.out == ""
    assert_no_traceback(done)


def test_a_network_that_takes_no_images_is_refused(maker, agent, tmp_path):
    tensor = ([1, 2], struct.pack("<2f", 1, 2))
    files, manifest = maker.other_model(
        "two_outputs.onnx", [("x", tensor)], [("doubled", ([1, 2], struct.pack("<2f", 2, 4))),
                                              ("negated", ([1, 2], struct.pack("<2f", -1, -2)))],
    )  # fmt: skip
    done = agent.run("classify", maker.folder(files, manifest), write_idx(tmp_path, 2))
    assert done.code == 1 and "'preprocessing' is empty" in done.err and "edge-bench run" in done.err
    assert_no_traceback(done)


def test_labels_of_a_bundle_cannot_steer_the_terminal(maker, in_process, tmp_path):
    """And classes that have no label are numbered."""
    manifest = maker.manifest(maker.files())
    manifest["labels"] = ["\x1b[31m\n\u00e9"] * 3
    bundle, images = maker.folder(manifest=manifest), write_idx(tmp_path, 1)
    done = in_process(bundle, images, "--top", "10")
    assert done.code == 0
    assert "\x1b" not in done.out and "??31m" in done.out.replace("[", "?") and "class 9" in done.out
    assert {entry["label"] for entry in records(in_process(bundle, images, "--top", "10", "--json").out)[0]["top"]} == {
        "\x1b[31m\n\u00e9"
    } | {"class %d" % number for number in range(3, 10)}


@pytest.mark.parametrize(
    "extra",
    [
        [],
        ["x", "--camera", "0"],
        ["--camera", "0", "--pipeline", "x"],
        ["-", "x"],
        ["-", "--loop"],
        ["--camera", "0", "--fps", "3"],
        ["x", "--camera-by", "ffmpeg"],
        ["--camera", "usb"],
        ["--camera", "0", "--camera-size", "640"],
        ["--camera", "0", "--camera-size", "0x9"],
        ["x", "--top", "0"],
        ["x", "--deadline-ms", "-1"],
        ["x", "--count", "1.5"],
    ],
)
def test_usage(maker, in_process, extra):
    done = in_process(maker.folder(), *extra)
    assert done.code == 2 and done.err.endswith("; see edge-bench classify --help\n")
    assert_no_traceback(done)


@pytest.mark.parametrize("images", ["absent.pgm", "no*.pgm"])
def test_nothing_to_classify(maker, in_process, images):
    done = in_process(maker.folder(), images)
    assert done.code == 1 and images in done.err and done.out == ""


def test_of_raw_pixels_it_says_once_what_they_were_taken_for(maker, in_process, tmp_path):
    values = array.array("f", [value / 255.0 for value in pixels_of(1)])
    write(tmp_path, "pictures/a.raw", pixels_of(0))
    write(tmp_path, "pictures/b.raw", values.tobytes())
    write(tmp_path, "pictures/c.raw", pixels_of(2) * 2)
    done = in_process(maker.folder(), str(tmp_path / "pictures"), "--json")
    assert done.code == 0
    assert [line["label"] for line in records(done.out)[:-1]] == [
        "label %d" % best_of(maker, number) for number in (0, 1, 2, 2)
    ]
    lines = [line for line in done.err.splitlines() if "has no header" in line]
    assert len(lines) == 2
    assert lines[0].endswith("a.raw has no header: taken as raw pixels of uint8, height 8 x width 8 x 1 channel(s)")
    assert "b.raw has no header: taken as raw pixels of float32 from 0 to 1" in lines[1]


def test_the_reference_input_of_a_bundle_is_no_picture(maker, in_process):
    """It is normalised float32; it was taken for four pictures of uint8."""
    path = maker.folder()
    done = in_process(path, os.path.join(path, "reference", "input.bin"), "--json")
    assert done.code == 1 and "float32 with numbers outside of 0 to 1" in done.err
    assert records(done.out)[-1]["num_images"] == 0


@pytest.mark.parametrize(
    "words, message",
    [
        (["x.pgm", "--camera-size", "320x240"], "--camera-by and --camera-size are for --camera and --pipeline"),
        (["x.pgm", "--backend", "tensorrt", "--threads", "2"], "--threads means nothing beside --backend tensorrt"),
        (["x.pgm", "--backend", "onnxruntime", "--buffers", "pycuda"], "--buffers means nothing beside"),
        (["x.pgm", "--save", "-"], "--save - is no file; for JSON on stdout give --json"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(maker, in_process, words, message):
    done = in_process(maker.folder(), *words)
    assert done.code == 2 and message in done.err and len(done.err.splitlines()) == 1


# --- streams, signals, terminals


@pytest.mark.parametrize("kind", ["raw", "ppm"])
def test_frames_on_stdin(maker, agent, kind):
    header = b"" if kind == "raw" else b"P5 8 8 255\n"
    child = agent.start("classify", maker.folder(), "-", "--json", stdin=subprocess.PIPE)
    for number in range(3):  # each is answered while the stream is open
        child.stdin.write(header + pixels_of(number))
        child.stdin.flush()
        line = json.loads(child.stdout.readline().decode("ascii"))
        assert line["image"] == "stdin[%d]" % number and line["label"] == "label %d" % best_of(maker, number)
    child.stdin.write(header + pixels_of(0)[:20])
    done = agent.finish(child)
    assert done.code == 1 and "cut short" in done.err
    assert records(done.out)[-1]["num_images"] == 3
    assert_no_traceback(done)


def test_an_empty_stdin(maker, agent):
    done = agent.run("classify", maker.folder(), "-")
    assert done.code == 1 and "nothing came" in done.err
    assert_no_traceback(done)
    done = agent.run("classify", maker.folder(), "-", preexec_fn=lambda: os.close(0))
    assert done.code == 2 and "closed" in done.err
    assert_no_traceback(done)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupt_ends_with_the_summary(maker, agent, tmp_path, number, as_json):
    extra = ["--loop", "--fps", "200"] + (["--json"] if as_json else [])
    child = agent.start("classify", maker.folder(), write_idx(tmp_path, 3), *extra)
    for _ in range(5):
        child.stdout.readline()
    child.send_signal(number)
    done = agent.finish(child)
    assert done.code == 130
    assert_no_traceback(done)
    if as_json:
        summary = records(done.out)[-1]
        assert summary["kind"] == "summary" and summary["interrupted"] is True and summary["num_images"] >= 5
    else:
        assert "interrupted  these are the images until then" in done.out


def test_a_reader_that_goes_away_is_no_traceback(maker, agent, tmp_path):
    child = agent.start("classify", maker.folder(), write_idx(tmp_path, 3), "--loop")
    child.stdout.readline()
    child.stdout.close()
    child.stdout = None
    done = agent.finish(child)
    assert done.code == 1 and "Traceback" not in done.err


def test_stdout_that_was_never_open(maker, agent, tmp_path):
    done = agent.run("classify", maker.folder(), write_idx(tmp_path, 3), "--save", "r", preexec_fn=lambda: os.close(1))
    assert done.code == 0, done.err
    with open(agent.path("r"), encoding="utf-8") as stream:
        assert len(stream.readlines()) == 4


class Screen:
    """Enough of a terminal for what the view sends; anything else fails the test."""

    CODES = re.compile(r"\x1b\[(\?25[lh]|\d*[AKJ])|([\r\n])|([ -~])")

    def __init__(self):
        self.lines, self.row, self.column, self.cursor_visible, self.num_draws = [""], 0, 0, True, 0

    def feed(self, text):
        place = 0
        while place < len(text):
            found = self.CODES.match(text, place)
            assert found, repr(text[place : place + 20])
            place = found.end()
            self._take(found.group(1), found.group(2), found.group(3))

    def _take(self, code, control, char):
        if code in ("?25l", "?25h"):
            self.cursor_visible = code == "?25h"
        elif code and code[-1] == "A":
            self.row -= int(code[:-1])
            self.num_draws += 1
            assert self.row >= 0
        elif code == "K":
            self.lines[self.row] = self.lines[self.row][: self.column]
        elif code == "J":
            del self.lines[self.row + 1 :]
        elif control == "\r":
            self.column = 0
        elif control == "\n":
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
        else:
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + char + line[self.column + 1 :]
            self.column += 1


def on_a_terminal(agent, arguments, columns, rows, until=None, environment=None):
    """Run with stdout and stderr on a terminal of so many columns and rows: (exit code, screen)."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
    variables = {"TERM": "xterm", "COLUMNS": "", "LINES": "", "LC_ALL": "C"}
    variables.update(environment or {})
    child = agent.start("classify", *arguments, stdout=slave, stderr=slave, environment=variables)
    os.close(slave)
    text, interrupted, deadline = "", False, time.time() + 60
    while time.time() < deadline:
        if not select.select([master], [], [], 1.0)[0]:
            continue
        try:
            part = os.read(master, 65536)
        except OSError:  # how Linux says that the other end was closed
            part = b""
        if not part:
            break
        text += part.decode("ascii")
        if until and not interrupted and len(re.findall(until, text)) >= 3:
            child.send_signal(signal.SIGINT)
            interrupted = True
    os.close(master)
    code = child.wait(30)
    screen = Screen()
    screen.feed(text)
    return code, screen


def test_the_live_view_is_drawn_in_place(maker, agent, tmp_path):
    arguments = [maker.folder(), write_idx(tmp_path, 3), "--loop", "--fps", "50", "--deadline-ms", "1000"]
    write_labels(tmp_path, [best_of(maker, number) for number in range(3)])
    code, screen = on_a_terminal(agent, arguments, 90, 30, until="edge-bench  tiny")
    text = "\n".join(screen.lines)
    assert code == 130 and screen.cursor_visible and screen.num_draws >= 2
    assert text.count("edge-bench  tiny") == 1 and text.count("latency   ") >= 1, text
    assert "accuracy 100.00 %" in text and "met" in text and "interrupted" in text
    assert max(len(line) for line in screen.lines[:18]) <= 89
    assert re.search(r"label \d \[#*\.*\] +[\d.]+ %", text)


def test_the_view_in_a_small_terminal_and_without_a_preview(maker, agent, tmp_path):
    arguments = [maker.folder(), write_idx(tmp_path, 3), "--no-preview"]
    for columns, rows in ((30, 8), (10, 3)):
        code, screen = on_a_terminal(agent, arguments, columns, rows)
        assert code == 0 and screen.cursor_visible


def test_a_broken_image_does_not_spoil_the_view(maker, agent, tmp_path):
    write_pgm(tmp_path, "0.pgm", 0)
    write(tmp_path, "1.pgm", b"P5")
    write_pgm(tmp_path, "2.pgm", 2)
    code, screen = on_a_terminal(agent, [maker.folder(), str(tmp_path)], 100, 30)
    text = "\n".join(screen.lines)
    assert code == 1 and "skipped: " in text and "could not be read" in text and "broken 1" in text


def test_a_dumb_terminal_gets_lines(maker, agent, tmp_path):
    code, screen = on_a_terminal(agent, [maker.folder(), write_idx(tmp_path, 2)], 400, 30, environment={"TERM": "dumb"})
    assert code == 0 and screen.num_draws == 0 and sum("[1]: label" in line for line in screen.lines) == 1


# --- a camera


def with_camera(tmp_path, **plan):
    """Environment in which ffmpeg is a camera; its frames are RGB of 16 x 12."""
    folder = fake_camera.write_programs(tmp_path / "programs", ["ffmpeg", "gst-launch-1.0"])
    return {"PATH": folder, "FAKE_CAMERA": json.dumps(plan)}


ARGUMENTS = ["--camera", "/dev/null", "--camera-by", "ffmpeg", "--camera-size", "16x12", "--json"]


def test_a_camera_that_is_unplugged_ends_with_what_was_done(maker, agent, tmp_path):
    environment = with_camera(tmp_path, frames=30, period_s=0.01, code=1, message="error: No such device")
    done = agent.run("classify", maker.folder(), *ARGUMENTS, environment=environment)
    assert done.code == 1 and "No such device" in done.err and "still plugged in" in done.err
    lines = records(done.out)
    summary = lines[-1]
    assert summary["kind"] == "summary" and "No such device" in summary["error"]
    assert summary["num_images"] == len(lines) - 1 > 0
    assert summary["num_images"] + summary["num_dropped"] == 30
    assert all(line["total_s"] >= line["wait_s"] > 0 for line in lines[:-1])
    assert_no_traceback(done)


def test_a_recording_ends_in_order(maker, agent, tmp_path):
    environment = with_camera(tmp_path, frames=20, period_s=0.01)
    arguments = ["--pipeline", "videotestsrc num-buffers=20 ! appsink", "--camera-size", "17x12", "--json"]
    done = agent.run("classify", maker.folder(), *arguments, environment=environment)
    assert done.code == 0, done.err
    summary = records(done.out)[-1]
    assert summary["error"] is None and summary["num_images"] + summary["num_dropped"] == 20


def read_number(tmp_path):
    """The process number of the camera program that ran last."""
    with open(str(tmp_path / "programs" / "called.json"), encoding="utf-8") as stream:
        return json.load(stream)[-1]


def test_the_camera_is_given_back_at_the_end_and_at_an_interrupt(maker, agent, tmp_path):
    environment = with_camera(tmp_path, period_s=0.01)
    done = agent.run("classify", maker.folder(), *(ARGUMENTS + ["--count", "3"]), environment=environment)
    assert done.code == 0 and records(done.out)[-1]["num_images"] == 3
    numbers = [read_number(tmp_path)]
    child = agent.start("classify", maker.folder(), *ARGUMENTS, environment=environment)
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    done = agent.finish(child)
    assert done.code == 130 and records(done.out)[-1]["interrupted"] is True
    numbers.append(read_number(tmp_path))
    for number in numbers:
        with pytest.raises(OSError):
            os.kill(number, 0)


def test_an_absent_camera(maker, in_process):
    done = in_process(maker.folder(), "--camera", "987")
    assert done.code == 1 and "/dev/video987 is not there" in done.err and "nvarguscamerasrc" in done.err
    assert_no_traceback(done)


def test_it_is_listed_with_its_help(agent):
    assert "classify" in agent.run("--help").out
    text = agent.run("classify", "--help").out
    for part in ("--deadline-ms", "PGM and PPM", "--camera", "stdin", "folder", "never run with a real one"):
        assert part in re.sub(r"\s+", " ", text)
    assert text.encode("ascii")
