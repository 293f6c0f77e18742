"""The command line as a user or a script meets it: exit codes, streams, signals, and what lies on disk afterwards."""

import json
import os
import re
import resource
import signal
import stat
import sys

import pytest

import edge_bench
from edge_bench import atomic, cli, schema
from edge_bench.commands import output

# As short as a run can be, and indifferent to the load of this machine.
SHORT = ["--runs", "20", "--warmup", "0.01", "--idle-s", "0.01", "--energy-s", "0.01", "--max-other-load", "1000"]
# Longer than any test: it ends by a signal.
LONG = ["--duration", "3600", "--warmup", "0.01", "--max-other-load", "1000"]


def load(path):
    """The measurement in a file, checked as the host checks it."""
    return schema.read_measurement(path)


def assert_one_line(text):
    """An error is one line for the user and never a traceback."""
    assert "Traceback" not in text
    errors = [line for line in text.splitlines() if "error" in line]
    assert len(errors) == 1 and errors[0].startswith("edge-bench: error: ")
    return errors[0]


@pytest.fixture
def in_process(capsys):
    """main() in this process: (exit code, stdout, stderr). Puts back the signal handlers that it sets."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def call(*arguments):
        try:
            code = cli.main(list(arguments))
        except SystemExit as ended:
            code = ended.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


# --- runs


def test_a_run_writes_the_file_and_prints_the_result(maker, agent):
    done = agent.run("run", maker.tar(), *SHORT)
    assert done.code == 0, done.err
    record = load(agent.path("measurement.json"))
    assert record["status"] == "complete" and record["latency"]["summary"]["num_samples"] == 20
    assert record["bundle"]["id"] in done.out and "tiny (baseline)" in done.out
    assert re.search(r"^median ", done.out, re.MULTILINE)
    assert os.listdir(agent.folder) == ["measurement.json"]
    # What a host reads while it waits.
    assert all(re.match(r"edge-bench: [a-z ]+ \d+ %$", line) for line in done.err.splitlines())


def test_json_on_stdout_is_the_file(maker, agent):
    done = agent.run("run", maker.folder(), "--output", "m.json", "--json", *SHORT)
    assert done.code == 0, done.err
    assert json.loads(done.out) == load(agent.path("m.json"))


def test_wrong_outputs_exit_with_1_and_give_no_latency(maker, agent):
    files = maker.files()
    files["reference/output.bin"] = bytes(40)
    done = agent.run("run", maker.folder(files), "--json", *SHORT)
    assert done.code == 1
    assert "do not match" in assert_one_line(done.err)
    record = load(agent.path("measurement.json"))
    assert record["status"] == "failed" and "latency" not in record
    assert json.loads(done.out) == record


def test_a_loaded_machine_makes_the_run_invalid(maker, agent):
    """Any other load at all is too much: the run itself, seen as another program, is enough."""
    done = agent.run("run", maker.folder(), *(SHORT + ["--max-other-load", "1e-300", "--runs", "20000"]))
    record = load(agent.path("measurement.json"))
    other_load = record["latency"].get("other_load")
    assert done.code == (4 if other_load else 0)
    assert bool(record["invalid"]) == bool(other_load)


def test_strict_exits_with_3_on_warnings(maker, in_process, tmp_path, monkeypatch):
    busy = iter([0.0, 1e9] * 2)
    monkeypatch.setattr("edge_bench.measure.other_load.busy_seconds", lambda: next(busy))
    monkeypatch.setattr("edge_bench.power.meter.find_meter", lambda *_: (None, []))
    monkeypatch.setattr("edge_bench.measure.other_load.MIN_WINDOW_S", 0.0)
    output = str(tmp_path / "m.json")
    huge = SHORT[:-1] + ["1e30"]
    assert in_process("run", maker.folder(), "--output", output, "--strict", *huge)[0] == 3
    assert in_process("run", maker.folder(), "--output", output, *huge)[0] == 0


@pytest.mark.parametrize("damage", ["absent", "empty", "garbage", "flipped"])
def test_a_bad_bundle_is_one_line_and_no_file(maker, agent, damage):
    path = maker.tar()
    with open(path, "rb") as stream:
        content = stream.read()
    damaged = {"empty": b"", "garbage": b"x" * 2048, "flipped": content[:4000] + b"\xaa" + content[4001:]}
    maker.write(path, damaged.get(damage, b""))
    if damage == "absent":
        os.unlink(path)
    done = agent.run("run", path, *SHORT)
    assert done.code == 1
    assert "bundle" in assert_one_line(done.err)
    assert done.out == "" and os.listdir(agent.folder) == []


# --- interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_leaves_a_valid_partial_file(maker, agent, number):
    child = agent.start("run", maker.folder(), *LONG)
    for line in iter(child.stderr.readline, b""):
        if b"latency" in line:
            break
    child.send_signal(number)
    done = agent.finish(child)
    assert done.code == 130
    assert "marked partial" in done.err and "Traceback" not in done.err
    record = load(agent.path("measurement.json"))
    assert record["status"] == "partial"
    assert record["latency"]["summary"]["num_samples"] == len(record["latency"]["samples_s"]) > 0
    assert os.listdir(agent.folder) == ["measurement.json"]
    shown = agent.run("show", "measurement.json")
    assert shown.code == 4 and "partial, started" in shown.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_while_layers_are_profiled_costs_the_layers_only(agent, number):
    """A batch of 200 takes longer than the signal; of what SIGKILL leaves, /tmp is the system's to clear."""
    scratch = agent.path("scratch")
    os.mkdir(scratch)
    model = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "layers.onnx")
    words = ["--layers", "--batch", "200", "--runs", "10", "--power", "none", "--max-other-load", "1000"]
    child = agent.start("run", model, *words, environment={"TMPDIR": scratch})
    for line in iter(child.stderr.readline, b""):
        if b"layers" in line:
            break
    child.send_signal(number)
    done = agent.finish(child)
    record = load(agent.path("measurement.json"))
    assert record["status"] == "complete" and "layers" not in record and len(record["latency"]["samples_s"]) == 10
    assert [entry["reason"] for entry in record["unavailable"] if entry["what"] == "layers"] == [
        "the run ended while they were profiled; all else was measured before"
    ]
    if number != signal.SIGKILL:
        assert done.code == 130 and "interrupted while the layers were profiled" in done.err
        assert "Traceback" not in done.err and os.listdir(scratch) == []


def test_a_kill_leaves_a_valid_partial_file(maker, agent):
    """No handler runs then: what the last phase saved is there, whole."""
    child = agent.start("run", maker.folder(), *LONG)
    for line in iter(child.stderr.readline, b""):
        if b"latency" in line:
            break
    child.kill()
    assert agent.finish(child).code == -signal.SIGKILL
    assert load(agent.path("measurement.json"))["status"] == "partial"


def test_an_interrupt_outside_of_a_run(in_process, monkeypatch):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("edge_bench.commands.doctor.diagnose", interrupted)
    code, out, err = in_process("doctor")
    assert (code, out, err) == (130, "", "edge-bench: interrupted\n")


# --- output that cannot be written


def test_an_output_in_a_missing_folder_is_known_at_once(maker, agent):
    done = agent.run("run", maker.folder(), "--output", "absent/m.json", *SHORT)
    assert done.code == 1
    line = assert_one_line(done.err)
    assert "absent/m.json" in line and "--output" in line
    assert "latency" not in done.err


def test_an_output_that_is_a_folder(maker, agent):
    os.mkdir(agent.path("folder"))
    done = agent.run("run", maker.folder(), "--output", "folder", *SHORT)
    assert done.code == 1
    assert "folder" in assert_one_line(done.err)
    assert os.listdir(agent.folder) == ["folder"] and os.listdir(agent.path("folder")) == []


def make_device(agent, minor):
    """A device to write into: minor 7 is /dev/full, 3 is /dev/null. Never the real one: a defect would ruin it."""
    path = agent.path("device")
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, minor))
        open(path, "wb").close()
    except PermissionError:
        pytest.skip("making a device takes root, and a file system that allows devices")
    return path


def test_a_full_disk(maker, agent):
    done = agent.run("run", maker.folder(), "--output", make_device(agent, 7), *SHORT)
    assert done.code == 1
    assert "No space left" in assert_one_line(done.err)


def test_output_into_a_device_leaves_the_device(maker, agent):
    device = make_device(agent, 3)
    done = agent.run("run", maker.folder(), "--output", device, *SHORT)
    assert done.code == 0, done.err
    assert stat.S_ISCHR(os.stat(device).st_mode)
    assert os.listdir(agent.folder) == ["device"]


def test_a_disk_that_fills_up_keeps_the_old_file(maker, agent):
    with open(agent.path("measurement.json"), "w") as stream:
        stream.write("old")

    def limit_file_size():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    done = agent.run("run", maker.folder(), *SHORT, preexec_fn=limit_file_size)
    assert done.code == 1
    assert "measurement.json" in assert_one_line(done.err)
    assert os.listdir(agent.folder) == ["measurement.json"]
    with open(agent.path("measurement.json")) as stream:
        assert stream.read() == "old"


def test_show_into_a_full_disk(agent, measurement):
    write_measurement(agent, measurement)
    with open("/dev/full", "wb") as full:
        done = agent.run("show", "m.json", stdout=full)
    assert done.code == 1
    assert "stdout" in assert_one_line(done.err)
    assert "Exception ignored" not in done.err


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_a_reader_that_goes_away(agent, measurement, json_flag):
    """`edge-bench show m.json | head -1`, at its worst: nobody reads at all."""
    write_measurement(agent, measurement)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = agent.run("show", "m.json", *json_flag, stdout=writing)
    finally:
        os.close(writing)
    assert done.code == 1
    assert done.err == ""


def test_a_pipe_into_head(agent, measurement):
    measurement["latency"]["samples_s"] = [0.001] * 50000
    write_measurement(agent, measurement)
    child = agent.start("show", "m.json", "--json")
    assert child.stdout.read(10) == b'{"agent": '
    child.stdout.close()
    child.stdout = None
    done = agent.finish(child)
    assert done.code == 1 and done.err == ""


def test_a_full_disk_behind_stderr_does_not_lose_the_measurement(maker, agent):
    with open("/dev/full", "wb") as full:
        done = agent.run("run", maker.folder(), *SHORT, stderr=full)
    assert done.code == 0
    assert load(agent.path("measurement.json"))["status"] == "complete"


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)])
def test_closed_streams_do_no_harm(maker, agent, closed):
    """`>&- 2>&-`: the numbers of the closed streams must not be given to the measurement's file."""

    def close_streams():
        for descriptor in closed:
            os.close(descriptor)

    done = agent.run("run", maker.folder(), *SHORT, preexec_fn=close_streams)
    assert done.code == 0
    assert load(agent.path("measurement.json"))["status"] == "complete"
    assert "Traceback" not in done.err


def test_an_error_with_stderr_closed_still_has_its_exit_code(agent):
    assert agent.run("show", "absent.json", preexec_fn=lambda: os.close(2)).code == 1


# --- surroundings


@pytest.mark.parametrize("text", ["raise ImportError('no such library')", "raise RuntimeError('several\\nlines')"])
def test_without_onnxruntime_there_is_one_clear_line(maker, agent, tmp_path, text):
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "onnxruntime.py").write_text(text)
    done = agent.run("run", maker.folder(), *SHORT, path=[str(stub)])
    assert done.code == 1
    assert "pip install onnxruntime" in assert_one_line(done.err)
    record = load(agent.path("measurement.json"))
    assert record["status"] == "failed" and "latency" not in record


@pytest.mark.parametrize("locale", ["C", "POSIX", "no_SUCH.locale"])
def test_any_locale_will_do(maker, agent, locale):
    """A board's ssh session often has none, and Python 3.6 then writes ASCII only."""
    manifest = maker.manifest(maker.files())
    manifest["name"] = "Gr\u00f6\u00dfe \u2603"
    environment = {"LC_ALL": locale, "LANG": "", "PYTHONIOENCODING": "", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    folder = maker.folder(maker.files(), manifest)
    done = agent.run("run", folder, "--output", "m\u00e4\u00df.json", *SHORT, environment=environment)
    assert done.code == 0, done.err
    assert "Gr??e ?" in done.out
    assert load(agent.path("m\u00e4\u00df.json"))["bundle"]["name"] == manifest["name"]
    for flags in ([], ["--json"]):
        shown = agent.run("show", "m\u00e4\u00df.json", *flags, environment=environment)
        assert shown.code == 0, shown.err
    missing = agent.run("show", "f\u00e4hlt.json", environment=environment)
    assert missing.code == 1
    assert_one_line(missing.err)


def test_names_from_a_bundle_cannot_forge_lines(maker, agent):
    manifest = maker.manifest(maker.files())
    manifest["name"] = "x\nrun          valid, started now\x1b[2J"
    done = agent.run("run", maker.folder(maker.files(), manifest), *SHORT)
    assert done.code == 0
    assert "\x1b" not in done.out
    assert len(re.findall(r"^run  ", done.out, re.MULTILINE)) == 1


def test_it_runs_with_nothing_but_the_standard_library(agent):
    """-S leaves out site-packages: what the agent imports by itself must not need them."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(edge_bench.__file__)))
    code = (
        "import sys; sys.path.insert(0, %r); from edge_bench.cli import main; sys.exit(main(['--version']))" % package
    )
    done = agent.run(python=["-S", "-E", "-c", code])
    assert done.code == 0, done.err
    assert done.out.strip() == "edge-bench " + edge_bench.__version__


# --- show


def write_measurement(agent, measurement):
    with open(agent.path("m.json"), "w") as stream:
        json.dump(measurement, stream)


def test_show(agent, measurement):
    write_measurement(agent, measurement)
    shown = agent.run("show", "m.json")
    assert shown.code == 0 and shown.err == ""
    assert "tiny (baseline)" in shown.out and "12 mJ (11 to 13) gross" in shown.out
    as_json = agent.run("show", "m.json", "--json")
    assert as_json.code == 0
    assert json.loads(as_json.out) == measurement


@pytest.mark.parametrize(
    "changes, code", [({"invalid": ["throttled"]}, 4), ({"status": "partial"}, 4), ({"status": "failed"}, 4), ({}, 0)]
)
def test_show_exits_with_4_on_what_must_not_be_compared(in_process, tmp_path, measurement, changes, code):
    measurement.update(changes)
    path = tmp_path / "m.json"
    path.write_text(json.dumps(measurement))
    assert in_process("show", str(path))[0] == code


GARBAGE = [
    b"",
    b"\0" * 100,
    b"{}",
    b"[[[",
    b"NaN",
    b"null",
    b"\xff\xd8\xff",
    b"[" * 100000,
    b'{"schema": 1}',
    b"\x1b[2J",
]


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_show_of_garbage_is_one_line(in_process, tmp_path, content):
    path = tmp_path / "m.json"
    path.write_bytes(content)
    code, out, err = in_process("show", str(path))
    assert code == 1 and out == ""
    assert "m.json" in assert_one_line(err)


@pytest.mark.parametrize("name", ["absent.json", ".", "a\nb", "\u00e4"])
def test_show_of_what_is_no_file_is_one_line(in_process, tmp_path, name):
    code, out, err = in_process("show", str(tmp_path / name))
    assert code == 1 and out == ""
    assert_one_line(err)


def test_a_directory_without_permission(maker, agent):
    folder = maker.folder()
    os.chmod(folder, 0)
    try:
        if os.access(folder, os.R_OK):
            pytest.skip("this user may read everything")
        assert_one_line(agent.run("run", folder, *SHORT).err)
    finally:
        os.chmod(folder, 0o755)


# --- doctor


def test_doctor_names_the_runtime_that_works(agent):
    done = agent.run("doctor", "--json")
    assert done.code == 0, done.err
    diagnosis = json.loads(done.out)
    rows = {row["name"]: row for row in diagnosis["runtimes"]}
    assert rows["onnxruntime"]["works"] and "CPUExecutionProvider" in rows["onnxruntime"]["providers"]
    assert not [problem for problem in diagnosis["problems"] if problem["what"] == "inference"]
    text = agent.run("doctor")
    assert text.code == 0
    assert re.search(r"^ +onnxruntime +%s" % re.escape(rows["onnxruntime"]["version"]), text.out, re.MULTILINE)


# --- usage


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["run"],
        ["run", "a", "b"],
        ["run", "a", "--nonsense"],
        ["run", "a", "--runs", "0"],
        ["run", "a", "--runs", "-1"],
        ["run", "a", "--runs", "1.5"],
        ["run", "a", "--runs", "many"],
        ["run", "a", "--runs", str(schema.MAX_SAMPLES + 1)],
        ["run", "a", "--runs", "9" * 5000],
        ["run", "a", "--duration", "0"],
        ["run", "a", "--duration", "-3"],
        ["run", "a", "--duration", "nan"],
        ["run", "a", "--duration", "inf"],
        ["run", "a", "--duration", "long"],
        ["run", "a", "--warmup", ""],
        ["run", "a", "--threads", "0"],
        ["run", "a", "--idle-s", "0"],
        ["run", "a", "--energy-s", "-0.0"],
        ["run", "a", "--max-other-load", "nan"],
        ["run", "a", "--output"],
        ["show"],
        ["doctor", "extra"],
        ["--json"],
    ],
)
def test_wrong_usage_exits_with_2_and_says_how(in_process, arguments):
    code, out, err = in_process(*arguments)
    assert code == 2 and out == ""
    assert err.startswith("edge-bench") and "error: " in err and len(err.splitlines()) == 1
    assert re.search(r"; see edge-bench( [a-z]+)? --help$", err)
    assert "_positive" not in err


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("--runs 5 --duration 2", "--duration means nothing beside --runs"),
        ("--power none --power-cmd true", "--power none and --power-cmd contradict each other"),
        ("--power rapl --power-cmd true", "--power rapl and --power-cmd contradict each other"),
        ("--power none --power-interval 1", "--power-interval means nothing beside --power none"),
        ("--power none --energy-s 1 --idle-s 1", "--idle-s and --energy-s mean nothing beside --power none"),
        ("--backend trtexec --period-ms 5", "--period-ms means nothing beside --backend trtexec"),
        ("--backend trtexec --warmup 5", "--warmup means nothing beside --backend trtexec"),
        ("--backend trtexec --buffers ctypes", "--buffers means nothing beside --backend trtexec"),
        ("--backend trtexec --threads 1", "--threads means nothing beside --backend trtexec"),
        ("--backend tensorrt --provider X --threads 1", "--provider and --threads mean nothing beside --backend tens"),
        ("--backend onnxruntime --buffers pycuda", "--buffers means nothing beside --backend onnxruntime"),
        ("--provider X --buffers pycuda", "--buffers means nothing beside --provider"),
        ("--output -", "--output - is no file; for JSON on stdout give --json"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_flags_that_contradict_each_other_are_refused(in_process, arguments, words, turned):
    """Before anything is opened: there is no such bundle."""
    flags = arguments[2:].split(" --")
    words_given = ("--" + " --".join(reversed(flags) if turned else flags)).split(" ")
    code, out, err = in_process("run", "nowhere", *words_given)
    assert code == 2 and out == "" and words in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "flag", ["--backend onnxruntime", "--provider X", "--threads 2", "--buffers ctypes", "--batch 2", "--layers"]
)
def test_a_command_has_no_runtime_of_ours(in_process, flag):
    code, _out, err = in_process("run", "--cmd", "true", *flag.split())
    assert code == 2 and "%s means nothing beside --cmd" % flag.split()[0] in err


def test_threads_mean_nothing_to_an_engine(in_process):
    code, _out, err = in_process("run", "model.engine", "--threads", "2")
    assert code == 2 and "--threads means nothing beside an engine" in err


@pytest.mark.parametrize("arguments", [["--power", "auto", "--power-cmd", "x"], ["--batch", "2", "--threads", "2"]])
def test_flags_that_go_together_are_taken(in_process, arguments):
    """They fail only where the bundle is looked for."""
    assert in_process("run", "nowhere", *arguments)[0] == 1


def test_a_working_folder_that_is_gone_is_one_line(maker, agent):
    code = (
        "import os, sys; os.chdir('gone'); os.rmdir(os.getcwd()); from edge_bench import cli; "
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    for words in (["run", maker.folder()], ["run", "--cmd", "true"], ["show", "m.json"], ["verify", "b.tar"]):
        os.mkdir(agent.path("gone"))
        done = agent.run(*words, python=["-c", code])
        assert done.code == 1, done.err
        assert "working folder" in assert_one_line(done.err)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["show", "-h"], ["doctor", "-h"], ["--version"]])
def test_help_goes_to_stdout(in_process, arguments):
    code, out, err = in_process(*arguments)
    assert code == 0 and err == ""
    assert "edge-bench" in out
    out.encode("ascii")


def test_the_help_shows_the_defaults(in_process):
    out = in_process("run", "--help")[1]
    words = " ".join(out.split())  # the width of the terminal decides where lines break
    assert "default: measurement.json" in words and "seconds (default: 3)" in words


def test_an_unknown_provider_is_an_error_with_those_that_are_there(maker, agent):
    done = agent.run("run", maker.folder(), "--provider", "NoSuchProvider", *SHORT)
    assert done.code == 1
    assert "CPUExecutionProvider" in assert_one_line(done.err)


# --- progress


class FakeTerminal:
    def __init__(self, terminal):
        self.text = ""
        self._terminal = terminal

    def isatty(self):
        return self._terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_progress_for_a_log_is_a_line_per_fifth(monkeypatch):
    stream = FakeTerminal(False)
    monkeypatch.setattr(sys, "stderr", stream)
    progress = output.progress_writer()
    progress("load", 0.0)
    for step in range(101):
        progress("latency", step / 100.0)
    lines = stream.text.splitlines()
    assert lines == ["edge-bench: load 0 %"] + ["edge-bench: latency %d %%" % share for share in range(0, 101, 20)]


def test_progress_on_a_terminal_is_a_bar_that_is_drawn_over(monkeypatch):
    stream = FakeTerminal(True)
    monkeypatch.setattr(sys, "stderr", stream)
    progress = output.progress_writer()
    for step in range(1001):
        progress("latency", step / 1000.0)
    assert stream.text.count("\n") == 1 and stream.text.endswith("100 %\n")
    assert stream.text.count("\r") < 1000
    assert all(len(drawn) <= 79 for drawn in stream.text.split("\r"))


def test_a_model_that_does_not_load_leaves_a_record_with_the_reason(maker, agent):
    done = agent.run("run", maker.folder(), "--provider", "NoSuchProvider")
    assert done.code == 1
    assert "NoSuchProvider" in assert_one_line(done.err)
    record = load(agent.path("measurement.json"))
    assert record["status"] == "failed" and "NoSuchProvider" in record["invalid"][0]


def test_an_output_inside_the_bundle_is_refused_before_it_is_spoilt(maker, agent):
    folder = maker.folder()
    done = agent.run("run", folder, "--output", os.path.join(folder, "m.json"), *SHORT)
    assert done.code == 1
    assert "lies in " in assert_one_line(done.err)
    tar = maker.tar()
    with open(tar, "rb") as stream:
        before = stream.read()
    assert agent.run("run", tar, "--output", tar, *SHORT).code == 1
    with open(tar, "rb") as stream:
        assert stream.read() == before


def test_an_earlier_result_stays_until_there_is_a_new_one(maker, agent):
    assert agent.run("run", maker.folder(), *SHORT).code == 0
    first = load(agent.path("measurement.json"))["run_id"]
    broken = maker.write(maker.path("broken.onnx"), b"no model")
    done = agent.run("run", broken, *SHORT)
    assert done.code == 1 and "the earlier measurement is in measurement.json.before" in done.err
    assert load(agent.path("measurement.json.before"))["run_id"] == first
    os.unlink(agent.path("measurement.json.before"))
    assert agent.run("run", maker.folder(), *SHORT).code == 0
    again = load(agent.path("measurement.json"))["run_id"]
    assert agent.run("run", maker.folder(), *SHORT).code == 0
    assert load(agent.path("measurement.json"))["run_id"] not in (first, again)
    assert os.listdir(agent.folder) == ["measurement.json"]


@pytest.mark.parametrize("words", [["--power", "ina3221"], ["--power-cmd", "false"]])
def test_a_sensor_that_was_asked_for_and_is_not_there_is_an_error(maker, agent, words):
    done = agent.run("run", maker.folder(), *(SHORT + words + ["--root", agent.path("no-board"), "--idle-s", "0.3"]))
    record = load(agent.path("measurement.json"))
    if words[0] == "--power":
        assert done.code == 1 and "the power sensor that was asked for gives nothing" in done.err
    else:  # a program is only known when it runs
        assert any("sensor stopped answering" in entry["reason"] for entry in record["unavailable"])


@pytest.mark.parametrize("count", ["257", "100000", str(10**12)])
def test_threads_have_a_bound(maker, agent, count):
    done = agent.run("run", maker.folder(), "--threads", count)
    assert done.code == 2 and "more than 256" in done.err


def test_junit_is_a_file(in_process):
    code, _out, err = in_process("validate", "m.json", "--p99-ms", "1", "--junit", "-")
    assert code == 2 and "--junit - is no file" in err


def test_junit_is_not_written_over_a_measurement(agent, measurement):
    atomic.write_json(agent.path("m.json"), measurement)
    done = agent.run("validate", "m.json", "--p99-ms", "1", "--junit", "m.json")
    assert done.code == 1 and load(agent.path("m.json")) == measurement
