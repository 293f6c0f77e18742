"""A runtime that is missing, fails or crashes is a row of the diagnosis; it never ends it."""

import json
import random
import types

import pytest

import fake_boards
from edge_bench.doctor import diagnose as doctor
from edge_bench.doctor import problems
from edge_bench.doctor.text import render_diagnosis
from edge_bench.monitor import screen
from edge_bench.monitor.history import History
from edge_bench.monitor.live import Live


def probe(tmp_path, monkeypatch, text):
    (tmp_path / "strange_runtime.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return doctor.probe_runtime("strange_runtime", "purpose", "install it")


def test_a_module_that_works(tmp_path, monkeypatch):
    row = probe(tmp_path, monkeypatch, "__version__ = '1.2'\ndef get_available_providers(): return ['A', 'B']")
    assert row == {
        "name": "strange_runtime",
        "purpose": "purpose",
        "install": "install it",
        "works": True,
        "version": "1.2",
        "providers": ["A", "B"],
    }


def test_a_module_that_talks_while_it_is_imported(tmp_path, monkeypatch):
    assert probe(tmp_path, monkeypatch, "print('hello', end='')")["works"] is True


def test_a_module_that_is_not_there():
    row = doctor.probe_runtime("no_such_module_anywhere", "purpose", "install it")
    assert row["works"] is False
    assert "no_such_module_anywhere" in row["reason"] and "\n" not in row["reason"]


def test_a_file_in_the_current_folder_is_not_taken_for_the_runtime(tmp_path, monkeypatch):
    (tmp_path / "strange_runtime.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert doctor.probe_runtime("strange_runtime", "purpose", "install it")["works"] is False


@pytest.mark.parametrize(
    "text, reason",
    [
        ("raise RuntimeError('compiled against another version')", "compiled against another version"),
        ("import os; os.abort()", "signal 6"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "signal 4"),
        ("import os; os._exit(7)", "7"),
        ("import os; os._exit(0)", "without"),
        ("import atexit; atexit.register(print, 'goodbye')", "without"),
        ("import sys; sys.exit(3)", "3"),
        ("raise ValueError('x' * 10000)", "ValueError"),
    ],
)
def test_a_module_that_fails_is_a_row_with_a_reason(tmp_path, monkeypatch, text, reason):
    row = probe(tmp_path, monkeypatch, text)
    assert row["works"] is False
    assert reason in row["reason"] and len(row["reason"]) <= 300


def test_a_module_that_hangs_is_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_PROBE_TIMEOUT_S", 1)
    row = probe(tmp_path, monkeypatch, "import time; time.sleep(600)")
    assert row["works"] is False and "more than" in row["reason"]


def test_no_child_process_is_a_row(monkeypatch):
    monkeypatch.setattr(doctor.sys, "executable", "/nowhere/python")
    row = doctor.probe_runtime("json", "purpose", "install it")
    assert row["works"] is False and "no child process" in row["reason"]


def test_a_module_under_a_later_name_is_found(tmp_path, monkeypatch):
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "__init__.py").write_text("__version__ = '12.8'")
    (tmp_path / "strange" / "inner.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    row = doctor.probe_runtime("strange.bindings.driver", "p", "i", ("strange.inner",))
    assert row["works"] and row["version"] == "12.8"
    (tmp_path / "strange" / "inner.py").write_text("import os; os.abort()")
    assert "signal 6" in doctor.probe_runtime("strange.bindings.driver", "p", "i", ("strange.inner",))["reason"]


@pytest.mark.parametrize(
    "name, reason, absent",
    [
        ("tensorrt", "ModuleNotFoundError: No module named 'tensorrt'", True),
        ("cuda-python", "ModuleNotFoundError: No module named 'cuda'", True),
        ("cuda-python", "ModuleNotFoundError: No module named 'cuda.cuda'", True),
        ("jetson-stats", "ModuleNotFoundError: No module named 'jtop'", True),
        # It is there, and a part that it needs is not.
        ("onnxruntime", "ModuleNotFoundError: No module named 'numpy'", False),
        ("onnxruntime", "ImportError: libcudart.so.10.2: cannot open shared object file", False),
        ("tensorrt", "importing it crashed Python (signal 11)", False),
    ],
)
def test_what_is_not_installed_is_told_from_what_is_broken(name, reason, absent):
    assert problems.is_absent({"name": name, "works": False, "reason": reason}) is absent


NO_DRIVER = {
    "cuda_version": None,
    "devices": [],
    "reason": "no NVIDIA driver here: libcuda.so.1: cannot open shared object file",
    "runtime_version": None,
    "runtime_reason": None,
}
ORIN_GPU = {"index": 0, "name": "Orin", "compute_capability": "8.7", "memory_bytes": 16 << 30}
DRIVER = dict(NO_DRIVER, reason=None, cuda_version="12.6", devices=[ORIN_GPU])
HEALTHY = {
    "disk_free_bytes": 20 << 30,
    "disk_total_bytes": 60 << 30,
    "busiest": [],
    "year": 2026,
    "locale": "C.UTF-8",
    "locale_works": True,
    "devices_denied": [],
}


@pytest.fixture
def pretend(monkeypatch, board_tree):
    """A diagnosis of a board whose parts a test names; its runtimes are made up, its files are read."""

    def make(
        board="orin-nx",
        works=("onnxruntime",),
        meter=None,
        files=(),
        machine="aarch64",
        reasons=(),
        driver=True,
        **health,
    ):
        root = board_tree(fake_boards.BOARDS[board])
        board_tree(dict(files))

        def probe(module, purpose, install, others=()):
            row = {"name": module, "purpose": purpose, "install": install, "works": module in works}
            missing = "ModuleNotFoundError: No module named '%s'" % module
            row.update({"version": "1.0"} if row["works"] else {"reason": dict(reasons).get(module, missing)})
            return row

        described = doctor.describe_board(root)
        described.update(machine="aarch64", kind="pc" if board == "x86" else described["kind"])
        monkeypatch.setattr(doctor, "describe_board", lambda root: described)
        monkeypatch.setattr(doctor, "probe_runtime", probe)
        monkeypatch.setattr(doctor, "probe_driver", lambda: DRIVER if driver else NO_DRIVER)
        monkeypatch.setattr(doctor, "find_trtexec", lambda: (None, "trtexec is not on the PATH"))
        no_energy = {"what": "energy", "reason": "this machine shows no power sensor", "fix": "a meter"}
        monkeypatch.setattr(doctor.power, "find_meter", lambda root: (meter, [] if meter else [no_energy]))
        monkeypatch.setattr(doctor, "read_health", lambda root: dict(HEALTHY, **health))
        return doctor.diagnose(root)

    return make


def fixes(diagnosis):
    return {row["what"]: row["fix"] for row in diagnosis["problems"]}


PIP_21 = "python3 -m pip install 'pip==21.3.1' && "
METER = types.SimpleNamespace(source="ina3221", rails=("GPU", "CPU"), scope="sum of rails")


def test_without_any_runtime_inference_is_a_problem_with_a_fix(pretend):
    diagnosis = pretend(works=("numpy",))
    assert diagnosis["problems"][0]["what"] == "inference"
    assert "pip install onnxruntime" in diagnosis["problems"][0]["fix"]


@pytest.mark.parametrize("works", [("onnxruntime",), ("tensorrt",), ("onnxruntime", "tensorrt")])
def test_one_runtime_is_enough(pretend, works):
    assert "inference" not in fixes(pretend(works=works))


def test_a_runtime_that_crashes_is_a_problem_even_when_another_works(pretend):
    reason = {"numpy": "importing it crashed Python (signal 4)"}
    assert "OPENBLAS_CORETYPE=ARMV8" in fixes(pretend(reasons=reason))["numpy"]
    assert "inference" not in fixes(pretend(reasons=reason))


@pytest.mark.parametrize(
    "board, what, fix",
    [
        ("nano", "clocks", "sudo jetson_clocks"),
        ("thor", "clocks", "sudo jetson_clocks"),
        ("pi4", "clocks", "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"),
        ("x86", "clocks", "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"),
        ("orin-nx", "clocks", None),
        ("pi5", "clocks", None),
        ("container", "clocks", None),
    ],
)
def test_moving_clocks_are_a_problem_with_the_command_of_that_board(pretend, board, what, fix):
    assert fixes(pretend(board)).get(what) == fix


@pytest.mark.parametrize(
    "board, is_problem",
    [("nano", True), ("thor", True), ("pi5", False), ("x86", False), ("container", False)],
)
def test_no_power_sensor_is_a_problem_only_where_there_should_be_one(pretend, board, is_problem):
    diagnosis = pretend(board)
    assert ("energy" in fixes(diagnosis)) is is_problem
    assert ("energy" in [row["what"] for row in diagnosis["notes"]]) is not is_problem


def test_a_nano_of_2_gb_has_no_sensor_and_that_is_no_fault(pretend):
    files = {"proc/device-tree/model": b"NVIDIA Jetson Nano 2GB Developer Kit\0"}
    assert "energy" not in fixes(pretend("nano", files=files))


@pytest.mark.parametrize(
    "files, words",
    [
        ({"sys/class/thermal/cooling_device0/cur_state": "4\n"}, "cpufreq-cpu0 (cooling_device0) is at 4"),
        ({"sys/class/hwmon/hwmon1/curr1_max_alarm": "1\n"}, "alarm ina3221 VDD_IN max_alarm"),
        ({"sys/class/thermal/thermal_zone4/temp": "97000\n"}, "tj-thermal is at 97.0 C, its limit is 95.0 C"),
    ],
)
def test_a_board_that_is_throttled_now_says_by_what(pretend, files, words):
    found = [row["reason"] for row in pretend(files=files)["problems"] if row["what"] == "throttling"]
    assert len(found) == 1 and words in found[0]


@pytest.mark.parametrize(
    "health, what, fix",
    [
        ({"disk_free_bytes": 100 << 20}, "disk", "apt-get clean"),
        ({"disk_free_bytes": 2 << 30}, "disk", "apt-get clean"),
        ({"year": 1970}, "time", "sudo timedatectl set-ntp true"),
        ({"locale": "de_DE.UTF-8", "locale_works": False}, "locale", "sudo locale-gen de_DE.UTF-8"),
        ({"devices_denied": ["nvmap"]}, "permission", "sudo usermod -aG video $USER"),
        ({"busiest": [{"pid": 12, "name": "cc1plus", "cpu_share": 0.9}]}, "other load", "kill 12"),
        ({"busiest": [{"pid": 12, "name": "Xorg", "cpu_share": 0.4}]}, "other load", "isolate multi-user.target"),
    ],
)
def test_other_things_that_spoil_a_measurement(pretend, health, what, fix):
    assert fix in fixes(pretend(**health))[what]
    assert what not in fixes(pretend())


@pytest.mark.parametrize(
    "meminfo, what",
    [
        ("MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\nSwapTotal: 200000 kB\nSwapFree: 100000 kB", "swap"),
        ("MemTotal: 4000000 kB\nMemAvailable: 300000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB", "memory"),
    ],
)
def test_memory_that_is_short(pretend, meminfo, what):
    assert what in fixes(pretend(files={"proc/meminfo": meminfo}))


def test_a_jetson_without_its_driver_is_a_problem_and_a_pc_is_not(pretend):
    assert "--runtime nvidia" in fixes(pretend(driver=False))["GPU"]
    assert "GPU" not in fixes(pretend("x86", driver=False))
    assert "GPU" not in fixes(pretend())


def test_a_slower_power_mode_is_worth_a_note(pretend):
    slow = {"var/lib/nvpmodel/status": "pmode:0001"}
    notes = [row for row in pretend("nano", files=slow)["notes"] if row["what"] == "power mode"]
    assert notes == [{"what": "power mode", "reason": notes[0]["reason"], "fix": "sudo nvpmodel -m 0"}]
    assert "power mode" not in [row["what"] for row in pretend("nano")["notes"]]


@pytest.mark.parametrize(
    "python, machine, glibc, command",
    [
        (
            "3.6.9",
            "aarch64",
            "2.27",
            PIP_21 + "python3 -m pip install onnxruntime==1.10.0",
        ),
        ("3.8.10", "aarch64", "2.31", "python3 -m pip install onnxruntime==1.19.2"),
        ("3.10.12", "aarch64", "2.35", "python3 -m pip install onnxruntime==1.23.2"),
        ("3.11.2", "aarch64", "2.27", "python3 -m pip install onnxruntime==1.28.0"),
        ("3.12.3", "aarch64", "2.39", "python3 -m pip install onnxruntime==1.31.1"),
        ("3.12.3", "x86_64", "2.39", "python3 -m pip install onnxruntime"),
        ("3.99.0", "aarch64", None, "python3 -m pip install onnxruntime"),
    ],
)
def test_the_wheel_for_each_python(python, machine, glibc, command):
    board = {"python": python, "machine": machine, "glibc": glibc, "kind": "other"}
    assert problems.install_command("onnxruntime", board) == command


def test_tensorrt_of_a_jetson_comes_from_its_packages():
    board = {"python": "3.10.12", "machine": "aarch64", "glibc": "2.35", "kind": "jetson"}
    assert problems.install_command("tensorrt", board).startswith("sudo apt-get install python3-libnvinfer")


@pytest.mark.parametrize("board", sorted(fake_boards.BOARDS))
@pytest.mark.parametrize("works", [(), ("onnxruntime", "tensorrt")], ids=["no runtime", "runtimes"])
def test_every_board_reads_well(pretend, board, works):
    diagnosis = pretend(board, works=works, meter=METER if board == "orin-nx" else None)
    json.loads(json.dumps(diagnosis))
    text = render_diagnosis(diagnosis)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert all(" " <= char <= "~" or char == "\n" for char in text)
    assert "None" not in text and "null" not in text and "{" not in text
    assert all(row["fix"] and row["reason"] for row in diagnosis["problems"] + diagnosis["notes"])
    assert ("No problems found." in text) is (not diagnosis["problems"])


def test_the_text_names_what_was_found(pretend):
    text = render_diagnosis(pretend(meter=METER))
    assert "  L4T             36.4.0 (JetPack 6.1)" in text
    assert "Orin NX Engineering Reference Developer Kit (tegra234)" in text
    assert "  power           ina3221: GPU + CPU (sum of rails)" in text
    assert "  clocks pinned   yes" in text
    assert "  throttling now  no" in text
    assert "oc3_event_cnt 27390" in text
    assert "  NVIDIA driver   CUDA 12.6  Orin, compute capability 8.7, 16.0 GiB" in text
    assert "No problems found." in text


@pytest.mark.parametrize("board", [name for name in sorted(fake_boards.BOARDS) if name.startswith("pi")])
def test_a_raspberry_pi_without_its_program_does_not_say_that_it_is_well(pretend, board):
    diagnosis = pretend(board)
    diagnosis["state"]["throttled_bits"] = None
    text = " ".join(render_diagnosis(diagnosis).split())
    assert "throttling now unknown: vcgencmd does not answer" in text


def test_an_unknown_l4t_is_no_problem(pretend):
    files = {"etc/nv_tegra_release": "# R47 (release), REVISION: 1.2, GCID: 1, BOARD: generic, EABI: aarch64\n"}
    diagnosis = pretend(files=files, meter=METER)
    assert diagnosis["board"]["l4t"] == "47.1.2" and diagnosis["board"]["jetpack"] is None
    assert diagnosis["problems"] == [] and "47.1.2 (newer than" in render_diagnosis(diagnosis)


def test_names_from_files_cannot_steer_the_terminal(pretend):
    text = render_diagnosis(pretend(files={"proc/device-tree/model": b"\x1b[2JJetson\nno problems\0"}, meter=METER))
    assert "\x1b" not in text and "\nno problems" not in text


def test_a_diagnosis_can_be_printed_as_json(pretend):
    diagnosis = json.loads(json.dumps(pretend(meter=METER)))
    assert diagnosis["energy"] == {"source": "ina3221", "rails": ["GPU", "CPU"], "scope": "sum of rails"}
    assert diagnosis["schema"] == "edge-dendrite.doctor"


def test_the_command_takes_a_root_and_ends_with_3_under_strict(agent, board_tree):
    root = board_tree(fake_boards.NANO)
    assert agent.run("doctor", "--root", root).code == 0
    done = agent.run("doctor", "--root", root, "--strict", "--json", environment={"LC_ALL": "C"})
    assert done.code == 3
    diagnosis = json.loads(done.out)
    assert diagnosis["board"]["jetpack"] == "4.6.1"
    assert fixes(diagnosis)["clocks"] == "sudo jetson_clocks"


CRASHES = {
    "onnxruntime": "import os; os.kill(os.getpid(), 11)",
    "numpy": "import os; os.kill(os.getpid(), 4)",
    "tensorrt": "raise ImportError('libnvinfer.so.8: cannot open shared object file')",
    "jtop": "print('hello from jtop'); __version__ = '4.3.2'",
    "pycuda/driver": "import sys; sys.stderr.write('x' * 3000000); sys.exit('no device')",
    "pycuda/__init__": "VERSION_TEXT = '2022.1'",
}


def test_libraries_that_crash_are_rows_of_the_command(agent, board_tree, tmp_path):
    """Real modules on the path of the children: a segmentation fault, an illegal instruction, a missing library."""
    (tmp_path / "broken" / "pycuda").mkdir(parents=True)
    for name, text in CRASHES.items():
        (tmp_path / "broken" / (name + ".py")).write_text(text)
    path = [str(tmp_path / "broken")]
    root = board_tree(fake_boards.NANO)
    done = agent.run("doctor", "--root", root, "--json", path=path)
    assert done.code == 0, done.err
    rows = {row["name"]: row for row in json.loads(done.out)["runtimes"]}
    assert "signal 11" in rows["onnxruntime"]["reason"] and "signal 4" in rows["numpy"]["reason"]
    assert "libnvinfer.so.8" in rows["tensorrt"]["reason"] and rows["jetson-stats"]["version"] == "4.3.2"
    assert not rows["pycuda"]["works"] and len(rows["pycuda"]["reason"]) <= 300
    found = fixes(json.loads(done.out))
    assert set(found) >= {"inference", "onnxruntime", "numpy", "tensorrt"}
    text = agent.run("doctor", "--root", root, path=path).out
    assert "BROKEN: importing it crashed Python (signal 11)" in text
    assert max(len(line) for line in text.splitlines()) <= 100


VALUES = [b"", b"garbage", b"-1", b"nan", b"1e300", b"9" * 30, b"\xff\xfe", b"0", b"a b c\n" * 200, b"\x1b[2J", None]


@pytest.mark.parametrize("seed", range(12))
def test_damaged_boards_never_raise(board_tree, seed):
    """Files of a board with other contents or gone: a diagnosis and a picture still come."""
    chosen = random.Random(seed)
    names = sorted(fake_boards.BOARDS)
    files = dict(fake_boards.BOARDS[chosen.choice(names)], **fake_boards.BOARDS[chosen.choice(names)])
    root = board_tree(files)
    for _round in range(6):
        board_tree({name: chosen.choice(VALUES[:-1]) for name in chosen.sample(sorted(files), 8)})
        state = doctor.read_state(root)
        diagnosis = {
            "board": doctor.describe_board(root),
            "state": state,
            "runtimes": [],
            "driver": NO_DRIVER,
            "programs": [],
            "energy": None,
            "health": HEALTHY,
            "power_modes": doctor.power_modes(root),
        }
        rows = [{"name": name, "works": False, "reason": "none", "install": "?"} for name in problems.RUNS_NETWORKS]
        diagnosis["runtimes"] = rows
        diagnosis["problems"], diagnosis["notes"] = problems.find_problems(diagnosis, doctor.missing_state(state))
        text = render_diagnosis(diagnosis)
        assert "\x1b" not in text and max(len(line) for line in text.splitlines()) <= 100
        with Live(root) as live:
            sample = live.sample()
        assert all(len(line) < 80 for line in screen.draw(sample, "board", History(), (80, 24), "q"))
        assert "\x1b" not in screen.one_line(sample)
