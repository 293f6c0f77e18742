"""Sources beside the boards' INA3221: counters, other chips, batteries, programs. And what they say when they fail."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from fake_trees import hwmon, iio, write_tree

import edge_bench
from edge_bench.errors import EdgeBenchError
from edge_bench.power import command, jtop, lines, raspberry
from edge_bench.power.choice import PowerChoice
from edge_bench.power.counter import Counter, Zone
from edge_bench.power.energy import energy_record
from edge_bench.power.meter import find_meter
from edge_bench.power.window import Clock

PYTHON = sys.executable


def measure(meter, seconds, while_open=lambda: None):
    window = meter.open_window()
    window.start()
    while_open()
    time.sleep(seconds)
    return window.stop(), window


# --- RAPL


def rapl(zones):
    files = {}
    for name, (label, energy_uj, range_uj) in zones.items():
        folder = "sys/class/powercap/%s/" % name
        files[folder + "name"] = label + "\n"
        files[folder + "energy_uj"] = "%d\n" % energy_uj
        files[folder + "max_energy_range_uj"] = "%d\n" % range_uj
    return files


PC = rapl(
    {
        "intel-rapl:0": ("package-0", 1000000, 262143328850),
        "intel-rapl:0:0": ("core", 700000, 262143328850),
        "intel-rapl:0:2": ("dram", 200000, 65712999613),
        "intel-rapl:1": ("package-1", 5000000, 262143328850),
        "intel-rapl-mmio:0": ("package-0", 1000000, 262143328850),
    }
)


class Counting:
    """Counts the energy of a steady power into files, and remembers what it wrote when."""

    def __init__(self, root, files, start_uj=0, wrap_uj=None):
        self._paths = [(os.path.join(root, path), watts) for path, watts in files]
        self._start_uj, self._wrap_uj = start_uj, wrap_uj
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.began_s = time.monotonic()

    def _run(self):
        streams = [os.open(path, os.O_WRONLY) for path, _watts in self._paths]
        while not self._stop.wait(0.002):
            for stream, (_path, watts) in zip(streams, self._paths):
                value = self._start_uj + int(1e6 * watts * (time.monotonic() - self.began_s))
                os.pwrite(stream, b"%015d\n" % (value % self._wrap_uj if self._wrap_uj else value), 0)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._stop.set()
        self._thread.join()


def test_rapl_adds_the_packages_and_not_their_parts(board_tree):
    root = board_tree(PC)
    folder = "sys/class/powercap/"
    counted = [("intel-rapl:0", 40.0), ("intel-rapl:1", 20.0), ("intel-rapl:0:0", 30.0), ("intel-rapl-mmio:0", 40.0)]
    with Counting(root, [(folder + name + "/energy_uj", watts) for name, watts in counted]):
        time.sleep(0.05)
        meter, problems = find_meter(root=root)
        assert problems == []
        assert (meter.source, meter.rails, meter.scope) == ("rapl", ("package-0", "package-1"), "processor packages")
        result, _window = measure(meter, 1.0)
    assert result["mean_power_w"] == pytest.approx(60.0, rel=0.01)
    assert result["rail_power_w"]["core-0"] == pytest.approx(30.0, rel=0.02)
    assert result["rail_power_w"]["dram-0"] == 0.0
    assert len(result["energy_samples_s_j"]) >= 8 and result["problems"] == []


def test_rapl_does_not_add_the_platform_that_holds_the_package(board_tree):
    """Laptops have a zone `psys` beside the package; it already holds the package's energy."""
    tree = rapl({"intel-rapl:0": ("package-0", 1, 9), "intel-rapl:1": ("psys", 1, 9)})
    assert find_meter(root=board_tree(tree))[0].rails == ("package-0",)


def test_rapl_wraps_around_again_and_again(board_tree):
    """50 W over a counter of 10 J: five wraps in a second."""
    root = board_tree(rapl({"intel-rapl:0": ("package-0", 9900000, 10000000)}))
    with Counting(root, [("sys/class/powercap/intel-rapl:0/energy_uj", 50.0)], 9900000, 10000000):
        time.sleep(0.05)
        result, _window = measure(find_meter(PowerChoice(interval_s=0.02), root)[0], 1.0)
    assert result["mean_power_w"] == pytest.approx(50.0, rel=0.01)


def test_energy_per_inference_from_a_counter(board_tree):
    root = board_tree(rapl({"intel-rapl:0": ("package-0", 0, 262143328850)}))
    path = "sys/class/powercap/intel-rapl:0/energy_uj"
    with Counting(root, [(path, 8.0)]):
        time.sleep(0.05)
        meter = find_meter(PowerChoice(interval_s=0.02), root)[0]
        idle, _window = measure(meter, 1.6)
    with Counting(root, [(path, 20.0)]) as counting:
        time.sleep(0.05)
        load, _window = measure(meter, 2.4)
    marks = [(counting.began_s + 0.1 * i, 10 * i) for i in range(60)]
    record = energy_record(meter, idle, load, marks)
    assert record["gross_energy_j"] == pytest.approx(0.2, rel=0.01)
    assert record["net_energy_j"] == pytest.approx(0.12, rel=0.02)
    low_j, high_j = record["net_interval_j"]
    assert 0.05 < low_j < 0.12 < high_j < 0.19  # wider where this machine is busy


@pytest.mark.parametrize("name", ["energy_uj", "max_energy_range_uj"])
@pytest.mark.parametrize("content", [None, "", "garbage", "nan"])
def test_an_unreadable_rapl_counter_gives_no_figure(board_tree, name, content):
    root = board_tree(PC)
    board_tree({"sys/class/powercap/intel-rapl:1/" + name: content})
    meter, problems = find_meter(root=root)
    assert meter is None
    assert "intel-rapl:1/" + name in problems[0]["reason"] and "sudo" in problems[0]["fix"]


def test_a_rapl_counter_that_vanishes_is_named(board_tree):
    root = board_tree(PC)
    meter = find_meter(PowerChoice(interval_s=0.02), root)[0]
    result, _window = measure(
        meter, 0.8, lambda: (time.sleep(0.3), board_tree({"sys/class/powercap/intel-rapl:1": None}))
    )
    assert any("stopped answering" in problem for problem in result["problems"])
    assert result["covered_s"] < 0.6 < 1.0 < result["duration_s"]


def test_a_counter_that_is_set_back_is_not_a_wrap(tmp_path):
    path = str(tmp_path / "energy_uj")
    readings, counter = [], Counter(Zone("package-0", path, 262143328850.0))
    for second, value in enumerate((100000000, 160000000, 5000000, 65000000)):
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(str(value))
        readings.append(counter.read(float(second)))
    assert readings == [0.0, 60.0, 60.0, 120.0] and counter.num_resets == 1


# --- other chips


def test_the_only_hwmon_sensor_is_taken_and_its_chip_named(board_tree):
    tree = {"name": "ina226\n", "power1_input": "3500000\n", "in1_input": "5000\n", "curr1_input": "700\n"}
    tree.update({"update_interval": "36\n", "samples": "16\n"})
    meter, problems = find_meter(
        root=board_tree({"sys/class/hwmon/hwmon4/" + name: text for name, text in tree.items()})
    )
    assert problems == []
    assert (meter.source, meter.rails, meter.scope) == ("hwmon", ("ina226/power1",), "what ina226/power1 feeds")
    assert meter.details["chips"] == {"hwmon4": {"samples": 16.0, "update_interval_s": 0.036}}
    assert measure(meter, 0.2)[0]["mean_power_w"] == pytest.approx(3.5)


def test_voltage_and_current_of_one_chip_are_a_power(board_tree):
    folder = "sys/class/hwmon/hwmon1/"
    files = {"name": "ltc2945\n", "in1_input": "12000\n", "in2_input": "9000\n", "curr1_input": "500\n"}
    files["in1_label"] = "VIN\n"
    meter, _problems = find_meter(root=board_tree({folder + name: text for name, text in files.items()}))
    assert meter.rails == ("ltc2945/VIN",)
    assert measure(meter, 0.2)[0]["mean_power_w"] == pytest.approx(6.0)


def test_several_hwmon_sensors_are_not_added_and_one_can_be_chosen(board_tree):
    files = {"sys/class/hwmon/hwmon0/name": "a", "sys/class/hwmon/hwmon0/power1_input": "1000000"}
    files.update({"sys/class/hwmon/hwmon1/name": "b", "sys/class/hwmon/hwmon1/power2_input": "2000000"})
    files["sys/class/hwmon/hwmon1/power2_label"] = "SoC"
    root = board_tree(files)
    meter, problems = find_meter(root=root)
    assert meter is None
    assert "a/power1, b/SoC" in problems[0]["reason"] and "--power hwmon:CHIP/LABEL" in problems[0]["fix"]
    meter, _problems = find_meter(PowerChoice("hwmon:b/SoC"), root)
    assert measure(meter, 0.2)[0]["mean_power_w"] == pytest.approx(2.0)
    meter, problems = find_meter(PowerChoice("hwmon:c"), root)
    assert meter is None and "a/power1, b/SoC" in problems[0]["reason"]


def test_an_energy_counter_of_hwmon_counts(board_tree):
    root = board_tree({"sys/class/hwmon/hwmon2/name": "xgene", "sys/class/hwmon/hwmon2/energy1_input": "%015d\n" % 7})
    near_the_end = (1 << 32) - 2000000
    with Counting(root, [("sys/class/hwmon/hwmon2/energy1_input", 12.0)], near_the_end, 1 << 32):
        time.sleep(0.05)
        meter, _problems = find_meter(PowerChoice(interval_s=0.02), root)
        result, _window = measure(meter, 0.8)
    assert meter.rails == ("xgene/energy1",)
    assert result["mean_power_w"] == pytest.approx(12.0, rel=0.01)


# --- batteries


def supply(name, **files):
    return {"sys/class/power_supply/%s/%s" % (name, key): text for key, text in files.items()}


BATTERY = supply("BAT0", type="Battery\n", status="Discharging\n", power_now="7250000\n")


@pytest.mark.parametrize(
    "tree, rail, watts",
    [
        (BATTERY, "BAT0", 7.25),
        (supply("b", type="Battery", status="Discharging", current_now="-500000", voltage_now="11500000"), "b", 5.75),
        (supply("usb", type="USB", online="1", current_now="900000", voltage_now="5100000"), "usb", 4.59),
        (dict(BATTERY, **supply("AC", type="Mains", online="0")), "BAT0", 7.25),
        (dict(BATTERY, **supply("mouse", type="Battery", scope="Device", power_now="1")), "BAT0", 7.25),
    ],
)  # fmt: skip
def test_a_supply_that_feeds_the_system(board_tree, tree, rail, watts):
    meter, problems = find_meter(root=board_tree(tree))
    assert problems == []
    assert meter.rails == (rail,) and meter.scope.startswith("system input")
    assert measure(meter, 0.1)[0]["mean_power_w"] == pytest.approx(watts)


def test_a_battery_that_is_charging_measures_nothing_of_the_system(board_tree):
    meter, problems = find_meter(root=board_tree(dict(BATTERY, **supply("BAT0", status="Charging\n"))))
    assert meter is None
    assert "not discharging (Charging)" in problems[0]["reason"] and "unplug" in problems[0]["fix"]


def test_two_supplies_are_not_one(board_tree):
    tree = dict(BATTERY, **supply("BAT1", type="Battery", status="Discharging", power_now="5"))
    meter, problems = find_meter(root=board_tree(tree))
    assert meter is None and "BAT0, BAT1" in problems[0]["reason"]


# --- Raspberry Pi

PI5 = """  3V7_WL_SW_A current(0)=0.09759030A
   3V3_SYS_A current(1)=0.06295500A
   VDD_CORE_A current(7)=0.69900000A
  3V7_WL_SW_V volt(8)=3.68710000V
   VDD_CORE_V volt(15)=0.72120000V
   3V3_SYS_V volt(9)=3.30811200V
     EXT5V_V volt(24)=5.14500000V
      BATT_V volt(25)=0.00000000V
"""
PI5_W = 0.09759030 * 3.6871 + 0.062955 * 3.308112 + 0.699 * 0.7212


def test_the_onboard_rails_of_a_pi_5(find_program, tmp_path):
    (tmp_path / "adc").write_text(PI5, encoding="utf-8")
    find_program("vcgencmd", '[ "$1" = pmic_read_adc ] && cat %s' % (tmp_path / "adc"))
    meter, problems = find_meter(PowerChoice("vcgencmd", interval_s=0.001))
    assert problems == []
    assert meter.rails == ("3V3_SYS", "3V7_WL_SW", "VDD_CORE")
    assert meter.scope == "onboard rails, not the input"
    assert meter.interval_s == 0.2  # never faster: each reading is a process
    result, _window = measure(meter, 1.0)
    assert result["mean_power_w"] == pytest.approx(PI5_W, rel=1e-9)
    assert result["num_samples"] <= result["duration_s"] / 0.2 + 3


def test_of_another_root_this_machines_vcgencmd_is_not_asked(find_program, board_tree, tmp_path):
    asked = tmp_path / "asked"
    find_program("vcgencmd", "touch %s; echo 'X_A current(1)=1.0A'; echo 'X_V volt(1)=1.0V'" % asked)
    root = board_tree({"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"})
    for choice in (PowerChoice("vcgencmd"), PowerChoice("auto")):
        meter, problems = find_meter(choice, root)
        assert meter is None and len(problems) == 1
    assert not asked.exists()
    assert find_meter(PowerChoice("vcgencmd"))[0] is not None and asked.exists()


@pytest.mark.parametrize(
    "text",
    ["echo 'Command not registered'; exit 255", "exit 1", "echo VDD_A current=1", "head -c 9999999 /dev/zero"],
)
def test_a_pi_without_the_converter_is_named(find_program, monkeypatch, text):
    find_program("vcgencmd", text)
    monkeypatch.setattr(raspberry, "device_tree", lambda _root, _name: "Raspberry Pi 4 Model B Rev 1.4")
    meter, problems = find_meter(PowerChoice("vcgencmd"))
    assert meter is None
    assert "Raspberry Pi 4 Model B" in problems[0]["reason"] and "--power-cmd" in problems[0]["fix"]


def test_pairs_are_matched_by_name_whatever_their_order():
    assert sum(raspberry.parse_adc(PI5).values()) == pytest.approx(PI5_W)
    turned = "\n".join(reversed(PI5.splitlines()))
    assert raspberry.parse_adc(turned) == raspberry.parse_adc(PI5)
    assert raspberry.parse_adc("garbage\n=A\nX_A current(1)=1e99A\n") == {}


# --- a program that prints watts


def test_a_program_that_prints_watts():
    code = "import time\nwhile 1: print(4.5, flush=True); print(); time.sleep(0.02)"
    meter, problems = find_meter(PowerChoice(command="%s -uc '%s'" % (PYTHON, code)))
    assert problems == [] and meter.source == "command"
    result, _window = measure(meter, 0.5)
    assert result["mean_power_w"] == pytest.approx(4.5)
    assert result["num_samples"] >= 5


def test_lines_that_are_no_number_are_counted_and_the_first_is_named():
    """It gives values all the same: nobody would see that half of its lines are lost."""
    code = 'import time\nwhile 1: print(4.5, flush=True); print("4.5 W\\x1b[2J", flush=True); time.sleep(0.02)'
    meter, _problems = find_meter(PowerChoice(command="%s -uc '%s'" % (PYTHON, code)))
    result, _window = measure(meter, 0.5)
    assert result["mean_power_w"] == pytest.approx(4.5)
    (problem,) = [text for text in result["problems"] if "no number of watts" in text]
    assert int(problem.split()[0]) >= 5 and "the first: 4.5 W" in problem
    record = energy_record(meter, result, result, [(result["began_s"] + 0.1 * i, 10 * i) for i in range(6)])
    found = [entry["message"] for entry in record["warnings"] if entry["code"] == "power-sensor"]
    assert len([text for text in found if "no number of watts, the first: 4.5 W" in text]) == 2


def test_a_program_that_prints_only_numbers_has_no_problems():
    meter, _problems = find_meter(PowerChoice(command="sh -c 'while :; do echo 4.5; echo; sleep 0.02; done'"))
    result, _window = measure(meter, 0.4)
    assert not [text for text in result["problems"] if "watts" in text]


def test_a_command_never_meets_a_shell(tmp_path):
    """What a shell would do with it does not happen; the words arrive as they are."""
    target = tmp_path / "made by a shell"
    text = (
        "%s -c 'import sys; print(len(sys.argv)); sys.stdout.flush(); import time; time.sleep(9)' $(touch '%s') ; x"
        % (
            PYTHON,
            target,
        )
    )
    meter, _problems = find_meter(PowerChoice(command=text))
    window = meter.open_window()
    window.start()
    assert window.stop() is None  # one value is no energy
    assert not target.exists()


@pytest.mark.parametrize("text", ["", "   ", "'"])
def test_a_text_that_is_no_command_is_an_error(text):
    with pytest.raises(EdgeBenchError):
        find_meter(PowerChoice(command=text))


@pytest.mark.parametrize(
    "text, seen",
    [
        ("/nonexistent/meter", "cannot be started"),
        ("sh -c 'echo no meter on /dev/ttyUSB0; exit 3'", "no meter on /dev/ttyUSB0"),
        ("sh -c 'exit 3'", "exit code 3"),
    ],
)
def test_a_program_that_fails_says_why(text, seen):
    meter, _problems = find_meter(PowerChoice(command=text))
    result, window = measure(meter, 0.0)
    assert result is None and seen in window.problem


def test_lines_that_are_no_watts():
    for line in ("", "watts", "1 2", "nan", "inf", "-inf", "0x10", "5W", "1,5"):
        assert command.parse_watts(line) is None
    assert command.parse_watts(" 1.5e0\r") == {"command": 1.5}


def test_a_program_is_restarted_only_so_often():
    meter, _problems = find_meter(PowerChoice(command="echo 5", interval_s=0.01))
    window = meter.open_window()
    window.start()
    began_s = time.monotonic()
    window._thread.join(60)  # as long as starting it six times takes here, and as long again without an answer
    time.sleep(time.monotonic() - began_s + 0.5)
    result = window.stop()
    assert result["num_restarts"] == lines.MAX_RESTARTS
    assert any("restarted 5 times" in problem for problem in result["problems"])
    assert any("stopped answering" in problem for problem in result["problems"])


def runs(pid):
    """Whether such a process is there and not just waiting for its parent to notice its end."""
    try:
        with open("/proc/%s/stat" % pid, encoding="utf-8") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_floods_its_output_fills_no_memory():
    meter, _problems = find_meter(PowerChoice(command="yes 5"))
    result, _window = measure(meter, 0.5)
    assert result["mean_power_w"] == pytest.approx(5.0)
    assert result["num_samples"] <= 1000 * result["duration_s"] + 2


def test_the_program_and_its_children_end_with_the_window(tmp_path):
    pids = tmp_path / "pids"
    script = "sleep 300 & echo $! $$ > %s; while :; do echo 5; sleep 0.05; done" % pids
    meter, _problems = find_meter(PowerChoice(command='sh -c "%s"' % script.replace("$", "\\$")))
    measure(meter, 0.2)
    for pid in pids.read_text(encoding="utf-8").split():
        assert not runs(pid)


INTERRUPTED = """
import sys, time
from edge_bench.power.choice import PowerChoice
from edge_bench.power.meter import find_meter
window = find_meter(PowerChoice(command="sh -c 'echo $$ > %s; echo 5; exec sleep 300'"))[0].open_window()
window.start()
raise KeyboardInterrupt
"""


def test_a_run_that_is_interrupted_leaves_no_program_behind(tmp_path):
    """Nobody calls stop(), and this program never writes to the broken pipe: it is ended with the main thread."""
    pid_file = tmp_path / "pid"
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(edge_bench.__file__)))
    code = INTERRUPTED % pid_file
    child = subprocess.Popen([PYTHON, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    child.wait(60)
    assert not runs(pid_file.read_text(encoding="utf-8").strip())


# --- tegrastats and jtop as they are found


def test_tegrastats_is_found_and_asked_for_a_first_line(find_program, programs, board_tree):
    program = programs.tegrastats(board="nano", points=[[0.0, 4.0], [1.0, 4.0]])
    find_program("tegrastats", 'exec %s "$@"' % program)
    meter, problems = find_meter(root=board_tree({}))
    assert problems == []
    assert (meter.source, meter.rails, meter.scope) == ("tegrastats", ("POM_5V_IN",), "module input")
    assert meter.details["other_rails"] == ["POM_5V_CPU", "POM_5V_GPU"]
    result, _window = measure(meter, 0.5)
    assert result["mean_power_w"] == pytest.approx(4.0)
    assert (result["step_w"], result["step_source"]) == (0.04, "assumed")


# As recorded without root.
NO_RAILS = "while :; do echo 'RAM 1889/1980MB (lfb 16x256kB) CPU [6%@102,5%@102] PLL@27C CPU@28C'; sleep 0.1; done"


@pytest.mark.parametrize(
    "text, reason",
    [
        (NO_RAILS, "no power rails"),
        ("echo 'tegrastats: cannot open something'; exit 1", "cannot open something"),
        ("exit 2", "exit code 2"),
        ("while :; do echo 'RAM 1/2MB (lfb 1x1MB) CPU [1%@1] VDD_NEW 100/100'; sleep 0.1; done", "VDD_NEW"),
    ],
)  # fmt: skip
def test_a_tegrastats_without_a_total_says_what_it_saw(find_program, board_tree, monkeypatch, text, reason):
    monkeypatch.setattr("edge_bench.power.tegrastats.FIRST_VALUE_S", 0.4)
    find_program("tegrastats", text)
    meter, problems = find_meter(root=board_tree({}))
    assert meter is None
    assert reason in problems[0]["reason"] and "sudo" in problems[0]["fix"]


def test_tegrastats_reads_the_rails_that_the_driver_does_not_give(find_program, programs, board_tree):
    program = programs.tegrastats(board="nano", points=[[0.0, 4.0], [1.0, 4.0]])
    find_program("tegrastats", 'exec %s "$@"' % program)
    root = board_tree(iio("6-0040", 0, [("POM_5V_IN", 1650)]))
    assert find_meter(root=root)[0].source == "ina3221"
    board_tree({"sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": ""})
    meter, problems = find_meter(root=root)
    assert meter.source == "tegrastats" and problems == []
    meter, problems = find_meter(PowerChoice("ina3221"), root)
    assert meter is None and "in_power0_input" in problems[0]["reason"]


def test_a_nano_2gb_is_not_asked_for_rails_by_tegrastats(find_program, board_tree, tmp_path):
    find_program("tegrastats", "touch %s; exec sleep 300" % (tmp_path / "was run"))
    meter, problems = find_meter(root=board_tree({"proc/device-tree/model": "NVIDIA Jetson Nano 2GB Developer Kit"}))
    assert meter is None and "no INA3221" in problems[0]["reason"]
    assert not (tmp_path / "was run").exists()


FAKE_JTOP = """
import time

class jtop:
    def __init__(self, interval=1): self._interval = interval
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def ok(self):
        time.sleep(self._interval)
        return True
    @property
    def power(self):
        rails = {"VDD_GPU_SOC": 2000, "VDD_CPU_CV": 400, "VIN_SYS_5V0": 3000, "VDDQ_VDD2_1V8AO": 1000, "NC": 5}
        figures = {name: {"volt": 5000, "curr": 1, "power": mw, "avg": 9999} for name, mw in rails.items()}
        return {"rail": figures, "tot": {"volt": 5000, "curr": 1, "power": 6400, "avg": 6400}}
"""


def test_jtop_when_asked_for_counts_vddq_once(tmp_path, monkeypatch, board_tree):
    """Its own total has VDDQ_VDD2_1V8AO twice on an AGX Orin."""
    (tmp_path / "jtop.py").write_text(FAKE_JTOP, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    meter, problems = find_meter(PowerChoice("jtop", interval_s=0.05), board_tree({}))
    assert problems == []
    assert (meter.source, meter.scope) == ("jtop", "sum of rails")
    assert measure(meter, 0.5)[0]["mean_power_w"] == pytest.approx(5.4)
    assert "jtop" not in sys.modules


@pytest.mark.parametrize("text, seen", [(None, "jtop"), ("import os; os.abort()", "signal 6")])
def test_a_jtop_that_does_not_work_is_named(tmp_path, monkeypatch, board_tree, text, seen):
    if text:
        (tmp_path / "jtop.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    meter, problems = find_meter(PowerChoice("jtop"), board_tree({}))
    assert meter is None
    assert seen in problems[0]["reason"] and "jetson-stats" in problems[0]["fix"]


def test_what_a_jtop_line_may_hold():
    assert jtop.rails_of({"rail": {"A": {"power": 5}, "B": {}, "NC": {"power": 1}, "C": 7}}) == {"A": 0.005}
    for power in (None, {}, {"rail": None}, []):
        assert jtop.rails_of(power) == {}
    for line in ("", "{", "[]", "5", '{"A": NaN}'):
        assert jtop.parse_rails(line) is None


# --- a user who may not read


AS_NOBODY = """
import json, os, sys
from edge_bench.power.meter import find_meter
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
meter, problems = find_meter(root=sys.argv[1])
print(json.dumps([meter is None, problems]))
"""


@pytest.mark.parametrize(
    "path, tree",
    [
        ("sys/class/powercap/intel-rapl:1/energy_uj", PC),
        ("sys/class/hwmon/hwmon1/curr1_input", hwmon(1, [("VDD_IN", (5000, 9))])),
    ],
)
def test_a_file_that_this_user_may_not_read_is_named_with_the_fix(path, tree):
    root = tempfile.mkdtemp()  # unlike pytest's folders one that another user can be let into
    try:
        write_tree(root, tree)
        os.chmod(root, 0o755)
        os.chmod(os.path.join(root, path), 0o000)
        environment = dict(
            os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(edge_bench.__file__)), PATH="/nowhere"
        )
        child = subprocess.Popen(
            [PYTHON, "-c", AS_NOBODY, root], env=environment, stdout=subprocess.PIPE, universal_newlines=True
        )
        answer = child.communicate(timeout=60)[0]
    finally:
        shutil.rmtree(root)
    assert answer.startswith("[true")
    assert "Permission denied" in answer and path in answer and "sudo" in answer


def test_the_clock_is_the_monotonic_one():
    assert time.monotonic() <= Clock().now() <= time.monotonic()
