"""Power sensors on folders that look like the boards', and energy from sensors whose power is known."""

import time
import types

import pytest

from edge_bench.power import meter as power


def hwmon(number, rails, chip="ina3221"):
    """An INA3221 as the mainline driver shows it (JetPack 5 and newer): {label: (millivolts, milliamperes)}."""
    folder = "sys/class/hwmon/hwmon%d/" % number
    files = {folder + "name": chip + "\n", folder + "in7_label": "sum of shunt voltages\n", folder + "in7_input": "9\n"}
    for channel, (label, (millivolts, milliamperes)) in enumerate(rails, 1):
        files[folder + "in%d_label" % channel] = label + "\n"
        files[folder + "in%d_input" % channel] = "%d\n" % millivolts
        files[folder + "curr%d_input" % channel] = "%d\n" % milliamperes
    return files


def iio(address, number, rails):
    """An INA3221 as NVIDIA's driver shows it (JetPack 4): {name: milliwatts}."""
    folder = "sys/bus/i2c/drivers/ina3221x/%s/iio:device%d/" % (address, number)
    files = {}
    for channel, (name, milliwatts) in enumerate(rails):
        files[folder + "rail_name_%d" % channel] = name + "\n"
        files[folder + "in_power%d_input" % channel] = "%d\n" % milliwatts
        files[folder + "in_voltage%d_input" % channel] = "5000\n"
        files[folder + "in_current%d_input" % channel] = "%d\n" % (milliwatts / 5)
    return files


def merged(*trees):
    files = {}
    for tree in trees:
        files.update(tree)
    return files


NANO = iio("6-0040", 0, [("POM_5V_IN", 1650), ("POM_5V_GPU", 40), ("POM_5V_CPU", 480)])
XAVIER_NX = iio("7-0040", 0, [("VDD_IN", 4100), ("VDD_CPU_GPU_CV", 500), ("VDD_SOC", 1200)])
TX2 = merged(
    iio("0-0040", 0, [("VDD_SYS_GPU", 152), ("VDD_SYS_SOC", 687), ("VDD_4V0_WIFI", 19)]),
    iio("0-0041", 1, [("VDD_IN", 3056), ("VDD_SYS_CPU", 305), ("VDD_SYS_DDR", 1204)]),
)
AGX_XAVIER = merged(
    hwmon(2, [("GPU", (12000, 100)), ("CPU", (12000, 50)), ("SOC", (12000, 25))]),
    hwmon(3, [("CV", (12000, 10)), ("VDDRQ", (12000, 20)), ("SYS5V", (5000, 300))]),
)
ORIN_NANO = hwmon(1, [("VDD_IN", (5000, 1000)), ("VDD_CPU_GPU_CV", (5000, 200)), ("VDD_SOC", (5000, 300))])
AGX_ORIN = merged(
    hwmon(3, [("VDD_GPU_SOC", (20000, 100)), ("VDD_CPU_CV", (20000, 20)), ("VIN_SYS_5V0", (5000, 600))]),
    hwmon(4, [("NC", (0, 0)), ("VDDQ_VDD2_1V8AO", (5000, 200)), ("NC", (0, 0))]),
)
ALL_BOARDS = [
    # tree, rails of the total, scope, watts by hand
    pytest.param(NANO, ("POM_5V_IN",), "module input", 1.65, id="nano"),
    pytest.param(XAVIER_NX, ("VDD_IN",), "module input", 4.1, id="xavier-nx"),
    pytest.param(TX2, ("VDD_IN",), "module input", 3.056, id="tx2"),
    pytest.param(ORIN_NANO, ("VDD_IN",), "module input", 5.0, id="orin-nano"),
    pytest.param(
        AGX_XAVIER,
        ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
        "sum of rails",
        1.2 + 0.6 + 0.3 + 0.12 + 0.24 + 1.5,
        id="agx-xavier",
    ),
    # 2 W + 0.4 W + 3 W; the 1 W of VDDQ is already inside VIN_SYS_5V0.
    pytest.param(
        AGX_ORIN, ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "sum of rails", 5.4, id="agx-orin-without-vddq"
    ),
]


def sampled(meter):
    """What the meter's sensor reads, through the window that a run would use."""
    window = meter.open_window()
    window.start()
    while len(window._samples) < 2:
        time.sleep(0.001)
    return window.stop()["mean_power_w"]


@pytest.mark.parametrize("tree, rails, scope, watts", ALL_BOARDS)
def test_total_power_of_a_board(board_tree, tree, rails, scope, watts):
    meter, problems = power.find_meter(board_tree(tree))
    assert problems == []
    assert (meter.source, meter.rails, meter.scope) == ("ina3221", rails, scope)
    assert sampled(meter) == pytest.approx(watts, rel=1e-12)


@pytest.mark.parametrize("tree, rails, scope, watts", ALL_BOARDS)
def test_extra_rails_and_other_chips_change_nothing(board_tree, tree, rails, scope, watts):
    root = board_tree(tree)
    board_tree(hwmon(0, [("VDD_5V0_IO", (5000, 9999)), ("NC", (5000, 9999))]))
    board_tree(hwmon(20, [(rails[0], (5000, 77777))], chip="ina219"))
    board_tree({"sys/class/hwmon/hwmon21/name": "nvme\n", "sys/class/hwmon/hwmon22/in1_label": rails[0]})
    board_tree({"sys/class/powercap/intel-rapl:0/energy_uj": "5", "sys/class/hwmon/hwmon9": "no folder"})
    meter, _problems = power.find_meter(root)
    assert meter.rails == rails
    assert sampled(meter) == pytest.approx(watts, rel=1e-12)


@pytest.mark.parametrize("tree, rails, scope, watts", ALL_BOARDS)
def test_the_order_of_rails_and_chips_does_not_matter(board_tree, tree, rails, scope, watts):
    """Channels swapped within a chip and the chips renumbered: rails go by name."""
    swap = {"0": "2", "2": "0"} if any("iio" in path for path in tree) else {"1": "3", "3": "1"}
    turned = {}
    for path, text in tree.items():
        folder, name = path.rsplit("/", 1)
        for digit, other in swap.items():
            if digit in name and name != "name" and not name.startswith("in7"):
                name = name.replace(digit, other)
                break
        turned[folder.replace("hwmon3", "hwmon11").replace("device0", "device8") + "/" + name] = text
    assert len(turned) == len(tree)
    meter, _problems = power.find_meter(board_tree(turned))
    assert meter.rails == rails
    assert sampled(meter) == pytest.approx(watts, rel=1e-12)


def test_the_other_name_of_the_iio_folder(board_tree):
    tree = {path.replace("iio:device0", "iio_device"): text for path, text in NANO.items()}
    assert power.find_meter(board_tree(tree))[0].rails == ("POM_5V_IN",)


@pytest.mark.parametrize("tree, rails, scope, watts", ALL_BOARDS)
def test_a_missing_total_rail_gives_no_figure_and_a_reason(board_tree, tree, rails, scope, watts):
    """Rails are never added by guess: without one of the documented total there is no number."""
    label = [path for path, text in tree.items() if text.strip() == rails[-1]][0]
    meter, problems = power.find_meter(board_tree(dict(tree, **{label: "RENAMED\n"})))
    assert meter is None
    assert len(problems) == 1 and problems[0]["what"] == "energy"
    assert "RENAMED" in problems[0]["reason"] and "none is known" in problems[0]["reason"]


@pytest.mark.parametrize("content", ["", "garbage", "nan", "inf", "-", "\0", None])
@pytest.mark.parametrize("tree, rails, scope, watts", ALL_BOARDS)
def test_an_unreadable_rail_gives_no_figure(board_tree, tree, rails, scope, watts, content):
    label = [path for path, text in tree.items() if text.strip() == rails[-1]][0]
    value = label.replace("_label", "_input").replace("rail_name_", "in_power")
    value += "" if value.endswith("_input") else "_input"
    root = board_tree(tree)
    board_tree({value: content})
    meter, problems = power.find_meter(root)
    assert meter is None
    assert "cannot be read" in problems[0]["reason"] and "sudo" in problems[0]["fix"]


def test_a_thor_without_its_input_rail_gives_no_figure(board_tree):
    """VIN is behind another chip; the three rails of the INA3221 are not the whole board."""
    rails = [("VDD_GPU", (12000, 1)), ("VDD_CPU_SOC_MSS", (12000, 1)), ("VIN_SYS_5V0", (5000, 1))]
    meter, problems = power.find_meter(board_tree(hwmon(1, rails)))
    assert meter is None
    assert "VDD_CPU_SOC_MSS, VDD_GPU, VIN_SYS_5V0" in problems[0]["reason"]


@pytest.mark.parametrize("tree", [{}, {"sys/class/hwmon/hwmon0/name": "cpu_thermal"}, hwmon(0, [("NC", (1, 1))])])
def test_a_board_without_a_sensor_says_so(board_tree, tree):
    """A Jetson Nano 2GB or a Raspberry Pi."""
    meter, problems = power.find_meter(board_tree(tree))
    assert meter is None
    assert "no power sensor" in problems[0]["reason"]


def test_a_sensor_that_stops_answering_leaves_no_partial_sum(board_tree):
    root = board_tree(AGX_ORIN)
    rails = power.read_rails(root)
    names = ("VDD_GPU_SOC", "VDD_CPU_CV")
    sensor = power.PowerSensor("ina3221", names, "sum of rails", [rails[name] for name in names])
    assert sensor.read() == pytest.approx(2.4)
    board_tree({"sys/class/hwmon/hwmon3/curr2_input": None})
    assert sensor.read() is None


def test_a_value_that_changes_is_seen(board_tree):
    root = board_tree(NANO)
    reader = power.read_rails(root)["POM_5V_IN"]
    assert reader() == 1.65
    board_tree({"sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "9000\n"})
    assert reader() == 9.0


# --- RAPL


def rapl(zones):
    files = {}
    for name, (label, energy_uj, range_uj) in zones.items():
        folder = "sys/class/powercap/%s/" % name
        files.update(
            {
                folder + "name": label + "\n",
                folder + "energy_uj": "%d\n" % energy_uj,
                folder + "max_energy_range_uj": "%d\n" % range_uj,
            }
        )
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


@pytest.fixture
def clock(monkeypatch):
    """The clock of the power module, standing still until a test moves it."""
    fake = types.SimpleNamespace(now=1000.0, perf_counter=lambda: fake.now)
    monkeypatch.setattr(power, "time", fake)
    return fake


def test_rapl_adds_the_packages_and_not_their_parts(board_tree, clock):
    root = board_tree(PC)
    meter, problems = power.find_meter(root)
    assert problems == []
    assert (meter.source, meter.rails, meter.scope) == ("rapl", ("package-0", "package-1"), "processor packages")
    window = meter.open_window()
    window.start()
    clock.now += 4.0
    board_tree(
        {
            "sys/class/powercap/intel-rapl:0/energy_uj": "41000000",
            "sys/class/powercap/intel-rapl:1/energy_uj": "25000000",
            "sys/class/powercap/intel-rapl:0:0/energy_uj": "30000000",
            "sys/class/powercap/intel-rapl-mmio:0/energy_uj": "41000000",
        }
    )
    assert window.stop() == {"mean_power_w": (40.0 + 20.0) / 4.0, "duration_s": 4.0}


def test_rapl_does_not_add_the_platform_that_holds_the_package(board_tree):
    """Laptops have a zone `psys` beside the package; it already holds the package's energy."""
    tree = rapl({"intel-rapl:0": ("package-0", 1, 9), "intel-rapl:1": ("psys", 1, 9)})
    assert power.find_meter(board_tree(tree))[0].rails == ("package-0",)


def test_rapl_wraps_around(board_tree, clock):
    root = board_tree(rapl({"intel-rapl:0": ("package-0", 99000000, 100000000)}))
    window = power.find_meter(root)[0].open_window()
    window.start()
    clock.now += 2.0
    board_tree({"sys/class/powercap/intel-rapl:0/energy_uj": "3000000"})
    assert window.stop()["mean_power_w"] == pytest.approx((1.0 + 3.0) / 2.0)


@pytest.mark.parametrize("name", ["energy_uj", "max_energy_range_uj"])
@pytest.mark.parametrize("content", [None, "", "garbage", "nan"])
def test_an_unreadable_rapl_counter_gives_no_figure(board_tree, name, content):
    """Since 2020 the counter is readable by root alone."""
    root = board_tree(PC)
    board_tree({"sys/class/powercap/intel-rapl:1/" + name: content})
    meter, problems = power.find_meter(root)
    assert meter is None
    assert "intel-rapl:1" in problems[0]["reason"] and "sudo" in problems[0]["fix"]


def test_a_rapl_counter_that_vanishes_gives_no_figure(board_tree, clock):
    root = board_tree(PC)
    window = power.find_meter(root)[0].open_window()
    window.start()
    clock.now += 1.0
    board_tree({"sys/class/powercap/intel-rapl:1": None})
    assert window.stop() is None


def test_a_board_sensor_is_preferred_to_rapl(board_tree):
    board_tree(PC)
    assert power.find_meter(board_tree(NANO))[0].source == "ina3221"


# --- energy from samples


class ScriptedSensor:
    """Gives one scripted power after the other, a second of the fake clock apart."""

    def __init__(self, clock, watts):
        self.clock = clock
        self.watts = list(watts)
        self.exhausted = False

    def read(self):
        self.clock.now += 1.0
        if len(self.watts) == 1:
            self.exhausted = True
        return self.watts.pop(0) if self.watts else None


def integrate(clock, monkeypatch, watts):
    monkeypatch.setattr(power, "SAMPLE_INTERVAL_S", 0.0)
    sensor = ScriptedSensor(clock, watts)
    window = power.SampledWindow(sensor)
    window.start()
    while not sensor.exhausted:
        time.sleep(0.001)
    return window.stop()


def test_energy_of_a_constant_power(clock, monkeypatch):
    window = integrate(clock, monkeypatch, [7.0] * 5)
    assert window["mean_power_w"] == 7.0
    assert window["duration_s"] == 4.0
    assert window["power_samples_s_w"] == [[0.0, 7.0], [1.0, 7.0], [2.0, 7.0], [3.0, 7.0], [4.0, 7.0]]


def test_energy_of_a_ramp_is_exact_by_the_trapezoidal_rule(clock, monkeypatch):
    window = integrate(clock, monkeypatch, [2.0, 4.0, 6.0, 8.0, 10.0])
    assert window["mean_power_w"] * window["duration_s"] == pytest.approx(24.0)


def test_energy_over_a_gap_in_the_samples(clock, monkeypatch):
    """A reading that failed is not a zero: the line is drawn between its neighbours."""
    window = integrate(clock, monkeypatch, [4.0, None, None, 10.0])
    assert window["duration_s"] == 3.0
    assert window["mean_power_w"] == 7.0


@pytest.mark.parametrize("watts", [[None], [None, None, None], [5.0], [5.0, None, None]])
def test_fewer_than_two_samples_are_no_energy(clock, monkeypatch, watts):
    assert integrate(clock, monkeypatch, watts) is None


def real_window(read):
    sensor = power.PowerSensor("fake", ("RAIL",), "module input", [read])
    window = power.SampledWindow(sensor)
    window.start()
    while len(window._samples) < 8:
        time.sleep(0.001)
    return window.stop()


def test_a_constant_power_in_real_time():
    window = real_window(lambda: 3.5)
    assert window["mean_power_w"] == pytest.approx(3.5, rel=1e-9)
    assert len(window["power_samples_s_w"]) >= 8


def test_a_linear_ramp_in_real_time():
    """Power follows the real clock; its mean must be that of the span's two ends, whatever the sampling did."""
    began = time.perf_counter()
    window = real_window(lambda: 50.0 + (time.perf_counter() - began))
    samples = window["power_samples_s_w"]
    assert window["mean_power_w"] == pytest.approx((samples[0][1] + samples[-1][1]) / 2.0, rel=0.02)
    moments = [moment for moment, _watts in samples]
    assert moments == sorted(moments) and moments[0] == 0.0 and moments[-1] == window["duration_s"]
