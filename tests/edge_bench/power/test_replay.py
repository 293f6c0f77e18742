"""A sensor behind files and a tegrastats, both with an energy that is known: the windows must find it within 1 %.

What the sensor's files really held, and when, is logged by the sensor itself with the same monotonic clock; what
tegrastats prints follows a curve whose integral is exact. So a slow machine moves the truth and not the verdict.
All windows of one session run at the same time.
"""

import os
import threading
import time

import pytest
from fake_power import Curve, held_energy, read_log
from fake_trees import hwmon, iio, merged, write_tree

from edge_bench.power import tegrastats
from edge_bench.power.choice import PowerChoice
from edge_bench.power.meter import find_meter
from edge_bench.power.window import Clock

MOST = 0.01
# Idle, a rise, a plateau with a dip, a fall. The second form has steps, which no trapezoid can see: a small one, since
# at 100 ms its moment is known to 50 ms.
SMOOTH = [[0.0, 2.0], [0.4, 2.0], [1.2, 9.0], [2.0, 8.0], [2.4, 6.0], [2.8, 8.5], [3.6, 8.0], [4.4, 2.0]]
STEPS = [[0.0, 6.0], [2.3, 6.0], [2.3, 8.0], [4.4, 8.0]]
# For accelerated time, in which a pause of this machine is as many times longer.
GENTLE = [[0.0, 5.0], [1.6, 9.0], [2.4, 8.0], [4.4, 5.0]]
SECONDS = 4.6
SPEED = 20.0


def slower(points, factor):
    return [[time_s * factor, watts] for time_s, watts in points]


def run_windows(windows, seconds, while_open=lambda: None):
    for window in windows:
        window.start()
    began_s = time.monotonic()
    while_open()
    time.sleep(max(0.0, seconds - (time.monotonic() - began_s)))
    return [window.stop() for window in windows]


def span(result):
    """The window's span that the sensor covers, on the clock of the curve."""
    return result["began_s"] + result["covered_from_s"], result["began_s"] + result["covered_to_s"]


class FastClock(Clock):
    """A clock that runs so many times faster; for sampling every second in a test of a few."""

    def __init__(self, speed):
        self._speed = speed

    def now(self):
        return time.monotonic() * self._speed

    def wait(self, event, seconds):
        # The start of a program takes its time on the wall.
        return event.wait(max(0.0, seconds if seconds > 2.5 else seconds / self._speed))


# --- the sensor behind files


class Board:
    """A tree of which a child process writes the currents."""

    def __init__(self, programs, name, tree, rails, **spec):
        self.root = write_tree(os.path.join(programs.scratch, name), tree)
        self.rails = [
            {"amperes": os.path.join(self.root, path), "volts": volts, "share": share} for path, volts, share in rails
        ]
        self.log = programs.sensor(rails=self.rails, **spec)

    def path(self, name):
        return os.path.join(self.root, name)

    def error(self, result, speed=1.0):
        """Relative error of a window's energy against what the files held."""
        begin_s, end_s = span(result)
        truth_j = held_energy([(moment * speed, watts) for moment, watts in read_log(self.log)], begin_s, end_s)
        return result["energy_j"] / truth_j - 1.0


# Three rails in another order than the facts', among others.
ORIN_TREE = merged(
    hwmon(7, [("VIN_SYS_5V0", (5000, 0)), ("VDD_GPU_SOC", (20000, 0)), ("NC", (20000, 7))]),
    hwmon(2, [("VDDQ_VDD2_1V8AO", (5000, 200)), ("VDD_CPU_CV", (20000, 0)), ("NC", (0, 0))]),
)
ORIN_RAILS = [
    ("sys/class/hwmon/hwmon7/curr1_input", 5.0, 0.3),
    ("sys/class/hwmon/hwmon7/curr2_input", 20.0, 0.5),
    ("sys/class/hwmon/hwmon2/curr2_input", 20.0, 0.2),
]
ORIN_TREE = {path: ("%9d\n" % int(text) if "curr" in path else text) for path, text in ORIN_TREE.items()}


# 20 times as fast as the clock: converted about every 0.4 s, read every second, for a minute and a half.
NANO_TREE = iio("6-0040", 0, [("POM_5V_IN", 0), ("POM_5V_GPU", 40), ("POM_5V_CPU", 480)])
NANO_POWER = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input"
NANO_TREE[NANO_POWER] = "%9d\n" % 0


def nano_in_fast_time(programs):
    # A file of milliwatts: one "volt" makes its milliamperes just these.
    rails = [(NANO_POWER, 1.0, 1.0)]
    return Board(
        programs, "second", NANO_TREE, rails, points=slower(GENTLE, 18.0), period_s=0.02, jitter=0.5, seconds=60,
        speed=SPEED,
    )  # fmt: skip


@pytest.fixture(scope="module")
def replayed(programs):
    """{(curve, interval): (error, result)} of windows at 10 and 100 ms, over two boards at once, and of one at 1 s over
    a third in fast time.
    """
    found = {}
    cases = []
    for name, points in (("smooth", SMOOTH), ("steps", STEPS)):
        board = Board(programs, name, ORIN_TREE, ORIN_RAILS, points=points, period_s=0.02, jitter=0.6, seconds=60)
        for interval_s in (0.01, 0.1):
            cases.append((name, interval_s, board))
    cases.append(("gentle", 1.0, nano_in_fast_time(programs)))
    windows = []
    for name, interval_s, board in cases:
        meter, problems = find_meter(PowerChoice(interval_s=interval_s), board.root)
        assert problems == []
        meter.clock = FastClock(SPEED) if name == "gentle" else meter.clock
        windows.append(meter.open_window())
    results = run_windows(windows, SECONDS)
    for (name, interval_s, board), result in zip(cases, results):
        found[name, interval_s] = (board.error(result, SPEED if name == "gentle" else 1.0), result)
    return found


@pytest.mark.parametrize("interval_s", [0.01, 0.1])
@pytest.mark.parametrize("curve", ["smooth", "steps"])
def test_a_jittering_sensor_behind_files(replayed, curve, interval_s):
    error, result = replayed[curve, interval_s]
    assert abs(error) <= MOST
    assert result["problems"] == [] or "gaps" in result["problems"][0]  # this machine itself may pause
    assert result["covered_s"] == result["duration_s"] >= SECONDS
    assert result["num_samples"] <= 1.1 * result["duration_s"] / interval_s + 3
    assert result["edges_s"][0] == 0.0


def test_reading_faster_adds_no_fresh_values(replayed):
    """The sensor converts every 20 ms, more or less: about 50 a second, however often it is read."""
    fast, slow = replayed["smooth", 0.01][1], replayed["smooth", 0.1][1]
    assert fast["num_fresh"] < 0.9 * fast["num_samples"] or fast["median_interval_s"] > 0.015
    assert fast["sensor_rate_hz"] <= 60
    assert slow["sensor_rate_hz"] <= 10.5


def test_rails_of_the_total_and_others_are_reported(replayed):
    result = replayed["steps", 0.1][1]
    rails = result["rail_power_w"]
    assert set(rails) == {"VIN_SYS_5V0", "VDD_GPU_SOC", "VDD_CPU_CV", "VDDQ_VDD2_1V8AO"}
    assert rails["VDDQ_VDD2_1V8AO"] == pytest.approx(1.0)
    three = rails["VIN_SYS_5V0"] + rails["VDD_GPU_SOC"] + rails["VDD_CPU_CV"]
    assert three == pytest.approx(result["mean_power_w"], rel=1e-6)


def test_a_second_between_samples(replayed):
    error, result = replayed["gentle", 1.0]
    assert result["duration_s"] >= 4.5 * SPEED
    assert result["num_samples"] <= 1.1 * result["duration_s"] + 3
    assert abs(error) <= MOST


def disturb(path):
    """Readings that fail now and then: empty, garbage, no number."""
    end_s = time.monotonic() + 2.8
    for number in range(1000):
        if time.monotonic() > end_s:
            break
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(("", "garbage", "nan")[number % 3])
        time.sleep(0.03)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write("5000\n")
        time.sleep(0.12)


@pytest.fixture(scope="module")
def damaged(programs):
    """(board, result) of a sensor whose readings fail, and of one that dies; both at once."""
    failing = Board(programs, "failing", ORIN_TREE, ORIN_RAILS, points=SMOOTH, period_s=0.02, jitter=0.3, seconds=60)
    dying = Board(programs, "dying", ORIN_TREE, ORIN_RAILS, points=STEPS, period_s=0.02, seconds=60)
    boards = ((failing, 0.01), (dying, 0.02))
    windows = [find_meter(PowerChoice(interval_s=each_s), board.root)[0].open_window() for board, each_s in boards]

    def while_open():
        threading.Timer(
            1.2, os.rename, [dying.path("sys/class/hwmon/hwmon7"), dying.path("sys/class/hwmon/gone")]
        ).start()
        disturb(failing.path("sys/class/hwmon/hwmon7/in1_input"))

    results = run_windows(windows, 3.0, while_open)
    return {"failing": (failing, results[0]), "dying": (dying, results[1])}


def test_readings_that_fail_now_and_then(damaged):
    """Empty, garbage or gone for a moment: no zero enters, the line is drawn between the neighbours."""
    board, result = damaged["failing"]
    assert abs(board.error(result)) <= 2 * MOST  # a fifth of the time has no reading
    assert result["num_failed_reads"] >= 10
    assert any("readings failed" in problem for problem in result["problems"])


def test_a_sensor_that_dies_is_named_and_not_silently_shorter(damaged):
    board, result = damaged["dying"]
    died_s = result["stopped_answering_s"]
    assert 1.0 <= died_s <= result["duration_s"] - 1.0
    assert result["duration_s"] >= 3.0
    assert result["covered_s"] == result["covered_to_s"] == died_s
    assert any("stopped answering" in problem for problem in result["problems"])
    assert abs(board.error(result)) <= 2 * MOST  # of the part that it covers
    assert result["mean_power_w"] == pytest.approx(result["energy_j"] / died_s)


# --- tegrastats


def tegra_window(program, interval_s, clock=None):
    """An open window of a tegrastats program, without the search for it."""
    command = [program, "--interval", "%d" % (1e3 * interval_s)]
    names = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
    meter = tegrastats.Meter(
        "tegrastats", names, "", interval_s, lambda clock: tegrastats.TegrastatsFeed(command, interval_s, clock), 0.04
    )
    meter.clock = clock or meter.clock
    return meter.open_window()


TEGRA = {
    # name: (what the program does, seconds between lines)
    "10 ms": ({"jitter": 0.5}, 0.01),
    "100 ms": ({"jitter": 0.3}, 0.1),
    "100 ms, a zero counted first": ({"zero_first": True}, 0.1),
    "lines lost": ({"drop_every": 5, "jitter": 0.2}, 0.05),
    "garbage between": ({"garbage_every": 3, "greeting": "tegrastats: not running as root, some fields missing"}, 0.05),
    "killed in the middle": ({"die_after": 40, "starts": True}, 0.05),
}


@pytest.fixture(scope="module")
def tegra_session(programs):
    windows, curve = [], Curve(SMOOTH)
    for number, (name, (behaviour, interval_s)) in enumerate(sorted(TEGRA.items())):
        values = dict(behaviour)
        if "starts" in values:
            values["starts"] = os.path.join(programs.scratch, "starts%d" % number)
        program = programs.tegrastats(board="agx-orin", points=curve.points, **values)
        windows.append((name, curve, tegra_window(program, interval_s)))
    fast = Curve(slower(GENTLE, 18.0))
    program = programs.tegrastats(board="agx-orin", points=fast.points, speed=SPEED, jitter=0.2)
    windows.append(("a second", fast, tegra_window(program, 1.0, FastClock(SPEED))))
    results = run_windows([window for _name, _curve, window in windows], SECONDS)
    found = {}
    for (name, its_curve, _window), result in zip(windows, results):
        found[name] = (result["energy_j"] / its_curve.energy(*span(result)) - 1.0, result)
    return found


@pytest.mark.parametrize("name", sorted(TEGRA))
def test_tegrastats_lines_give_the_true_energy(tegra_session, name):
    error, result = tegra_session[name]
    assert abs(error) <= MOST
    assert result["covered_s"] == pytest.approx(result["duration_s"])
    assert result["lines_lost"] is (name == "lines lost")
    assert result["rail_power_w"]["VDDQ_VDD2_1V8AO"] == pytest.approx(0.301)
    assert "NC" not in result["rail_power_w"]


def test_a_restart_in_the_middle_is_survived_and_said(tegra_session):
    result = tegra_session["killed in the middle"][1]
    assert result["num_restarts"] == 1
    assert any("signal 9" in problem and "restarted 1 times" in problem for problem in result["problems"])
    assert tegra_session["100 ms"][1]["num_restarts"] == 0


def test_the_first_figure_counts_and_not_the_running_mean(tegra_session):
    """The mean since the start differs widely from the present value along this curve."""
    result = tegra_session["100 ms"][1]
    watts = [watts for _time, watts in result["power_samples_s_w"]]
    assert max(watts) - min(watts) > 4.0


def test_tegrastats_once_a_second(tegra_session):
    error, result = tegra_session["a second"]
    assert abs(error) <= MOST
    assert 70 <= result["num_samples"] <= 1.1 * result["duration_s"] + 3
