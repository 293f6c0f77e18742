"""Which meter a board gets, on folders that look like the boards'; what it says where it has none."""

import argparse
import time

import pytest
from fake_trees import hwmon, iio, ina238, merged

from edge_bench.commands import power_arguments
from edge_bench.errors import EdgeBenchError
from edge_bench.power.choice import SOURCES, PowerChoice
from edge_bench.power.meter import find_meter

NANO = iio("6-0040", 0, [("POM_5V_IN", 1650), ("POM_5V_GPU", 40), ("POM_5V_CPU", 480)])
TX1 = merged(
    iio("1-0040", 0, [("VDD_IN", 2532), ("VDD_CPU", 76), ("VDD_GPU", 19)]),
    iio("1-0042", 1, [("VDD_MUX", 7000), ("VDD_5V_IO_SYS", 900), ("VDD_3V3_SYS", 800)]),
)
XAVIER_NX = iio("7-0040", 0, [("VDD_IN", 4100), ("VDD_CPU_GPU_CV", 500), ("VDD_SOC", 1200)])
XAVIER_NX_JP5 = hwmon(4, [("VDD_IN", (5000, 820)), ("VDD_CPU_GPU_CV", (5000, 100)), ("VDD_SOC", (5000, 240))])
TX2 = merged(
    iio("0-0040", 0, [("VDD_SYS_GPU", 152), ("VDD_SYS_SOC", 687), ("VDD_4V0_WIFI", 19)]),
    iio("0-0041", 1, [("VDD_IN", 3056), ("VDD_SYS_CPU", 305), ("VDD_SYS_DDR", 1204)]),
)
AGX_XAVIER = merged(
    hwmon(2, [("GPU", (12000, 100)), ("CPU", (12000, 50)), ("SOC", (12000, 25))]),
    hwmon(3, [("CV", (12000, 10)), ("VDDRQ", (12000, 20)), ("SYS5V", (5000, 300))]),
)
AGX_XAVIER_JP4 = merged(
    iio("1-0040", 0, [("GPU", 0), ("CPU", 216), ("SOC", 864)]),
    iio("1-0041", 1, [("CV", 0), ("VDDRQ", 144), ("SYS5V", 1889)]),
)
ORIN_NANO = hwmon(1, [("VDD_IN", (5000, 1000)), ("VDD_CPU_GPU_CV", (5000, 200)), ("VDD_SOC", (5000, 300))])
AGX_ORIN = merged(
    hwmon(3, [("VDD_GPU_SOC", (20000, 100)), ("VDD_CPU_CV", (20000, 20)), ("VIN_SYS_5V0", (5000, 600))]),
    hwmon(4, [("NC", (0, 0)), ("VDDQ_VDD2_1V8AO", (5000, 200)), ("NC", (0, 0))]),
)
THOR = merged(
    hwmon(1, [("VDD_GPU", (12000, 100)), ("VDD_CPU_SOC_MSS", (12000, 200)), ("VIN_SYS_5V0", (5000, 300))]),
    ina238(5, 19780),
)
SIX = ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")
ORIN_THREE = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
BOARDS = [
    # tree, source, rails of the total, scope, watts by hand, rails beside it
    pytest.param(NANO, "ina3221", ("POM_5V_IN",), "module input", 1.65, {"POM_5V_CPU": 0.48}, id="nano"),
    pytest.param(TX1, "ina3221", ("VDD_IN",), "module input", 2.532, {"VDD_MUX": 7.0, "VDD_GPU": 0.019}, id="tx1"),
    pytest.param(TX2, "ina3221", ("VDD_IN",), "module input", 3.056, {"VDD_SYS_DDR": 1.204}, id="tx2"),
    pytest.param(XAVIER_NX, "ina3221", ("VDD_IN",), "module input", 4.1, {"VDD_SOC": 1.2}, id="xavier-nx"),
    pytest.param(XAVIER_NX_JP5, "ina3221", ("VDD_IN",), "module input", 4.1, {"VDD_SOC": 1.2}, id="xavier-nx-jp5"),
    pytest.param(ORIN_NANO, "ina3221", ("VDD_IN",), "module input", 5.0, {"VDD_SOC": 1.5}, id="orin-nano"),
    pytest.param(AGX_XAVIER, "ina3221", SIX, "sum of rails", 1.2 + 0.6 + 0.3 + 0.12 + 0.24 + 1.5, {}, id="agx-xavier"),
    pytest.param(AGX_XAVIER_JP4, "ina3221", SIX, "sum of rails", 3.113, {}, id="agx-xavier-jp4"),
    # 2 W + 0.4 W + 3 W; the 1 W of VDDQ is already inside VIN_SYS_5V0.
    pytest.param(AGX_ORIN, "ina3221", ORIN_THREE, "sum of rails", 5.4, {"VDDQ_VDD2_1V8AO": 1.0}, id="agx-orin"),
    pytest.param(THOR, "ina238", ("VIN",), "system input", 19.78, {"VDD_CPU_SOC_MSS": 2.4}, id="agx-thor"),
]  # fmt: skip
each_board = pytest.mark.parametrize("tree, source, rails, scope, watts, others", BOARDS)


@pytest.fixture(autouse=True)
def no_programs(monkeypatch, tmp_path):
    """What this machine has of tegrastats and vcgencmd stays out of it."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def measured(meter):
    """A window's result of a meter whose sensor stands still."""
    window = meter.open_window()
    window.start()
    time.sleep(0.06)
    return window.stop()


@each_board
def test_total_power_of_a_board(board_tree, tree, source, rails, scope, watts, others):
    meter, problems = find_meter(root=board_tree(tree))
    assert problems == []
    assert (meter.source, meter.rails, meter.scope) == (source, rails, scope)
    result = measured(meter)
    assert result["mean_power_w"] == pytest.approx(watts, rel=1e-9)
    for name, power_w in others.items():
        assert result["rail_power_w"][name] == pytest.approx(power_w, rel=1e-9)
    assert set(result["rail_power_w"]) == set(rails) | set(meter.details["other_rails"])
    assert "NC" not in result["rail_power_w"]


@each_board
def test_extra_rails_and_other_chips_change_nothing(board_tree, tree, source, rails, scope, watts, others):
    root = board_tree(tree)
    board_tree(hwmon(0, [("VDD_5V0_IO", (5000, 9999)), ("NC", (5000, 9999))]))
    board_tree(hwmon(20, [(rails[0], (5000, 77777))], chip="ina219"))
    board_tree({"sys/class/hwmon/hwmon21/name": "nvme\n", "sys/class/hwmon/hwmon22/in1_label": rails[0]})
    board_tree({"sys/class/powercap/intel-rapl:0/energy_uj": "5", "sys/class/hwmon/hwmon9": "no folder"})
    meter, _problems = find_meter(root=root)
    assert meter.rails == rails
    assert measured(meter)["mean_power_w"] == pytest.approx(watts, rel=1e-9)


@each_board
def test_the_order_of_rails_and_chips_does_not_matter(board_tree, tree, source, rails, scope, watts, others):
    """Channels swapped within a chip and the chips renumbered: rails go by name."""
    turned = {}
    for path, text in tree.items():
        folder, name = path.rsplit("/", 1)
        swap = {"0": "2", "2": "0"} if "iio" in folder else {"1": "3", "3": "1"}
        if tree.get(folder + "/name") != "ina238\n" and name != "name" and not name.startswith("in7"):
            name = "".join(swap.get(letter, letter) for letter in name)
        turned[folder.replace("hwmon3", "hwmon11").replace("device0", "device8") + "/" + name] = text
    assert len(turned) == len(tree)
    meter, _problems = find_meter(root=board_tree(turned))
    assert meter.rails == rails
    assert measured(meter)["mean_power_w"] == pytest.approx(watts, rel=1e-9)


def test_the_other_name_of_the_iio_folder(board_tree):
    tree = {path.replace("iio:device0", "iio_device"): text for path, text in NANO.items()}
    assert find_meter(root=board_tree(tree))[0].rails == ("POM_5V_IN",)


@each_board
def test_a_missing_total_rail_gives_no_figure_of_that_scope(board_tree, tree, source, rails, scope, watts, others):
    """Rails are never added by guess: without one of the documented total there is no such number."""
    if source == "ina238":
        changed = {path: text for path, text in tree.items() if "hwmon5" not in path}
        meter, _problems = find_meter(root=board_tree(changed))
        assert meter.rails == ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")
        assert meter.scope != scope and "estimate" in meter.scope
        return
    label = [path for path, text in tree.items() if text.strip() == rails[-1]][0]
    meter, problems = find_meter(root=board_tree(dict(tree, **{label: "RENAMED\n"})))
    assert meter is None
    assert len(problems) == 1 and problems[0]["what"] == "energy"
    assert "RENAMED" in problems[0]["reason"] and "none is known" in problems[0]["reason"]


@pytest.mark.parametrize("content", ["", "garbage", "nan", "inf", "-", "\0", None])
@each_board
def test_an_unreadable_rail_gives_no_figure(board_tree, tree, source, rails, scope, watts, others, content):
    if source == "ina238":
        value = "sys/class/hwmon/hwmon5/" + ("curr1_input" if content is None else "power1_input")
        tree = dict(tree)
        if content is None:  # without a figure of power it is voltage times current
            del tree["sys/class/hwmon/hwmon5/power1_input"]
    else:
        label = [path for path, text in tree.items() if text.strip() == rails[-1]][0]
        value = label.replace("_label", "_input").replace("rail_name_", "in_power")
        value += "" if value.endswith("_input") else "_input"
    root = board_tree(tree)
    board_tree({value: content})
    meter, problems = find_meter(root=root)
    assert meter is None
    assert "cannot be read" in problems[0]["reason"] and "sudo" in problems[0]["fix"]
    assert value in problems[0]["reason"]


@pytest.mark.parametrize("tree", [{}, {"sys/class/hwmon/hwmon0/name": "cpu_thermal"}])
def test_a_board_without_a_sensor_says_so(board_tree, tree):
    meter, problems = find_meter(root=board_tree(tree))
    assert meter is None
    assert "no power sensor" in problems[0]["reason"] and "--power-cmd" in problems[0]["fix"]


@pytest.mark.parametrize("path", ["proc/device-tree/model", "sys/firmware/devicetree/base/model"])
def test_the_nano_2gb_has_no_sensor_and_is_named(board_tree, path):
    meter, problems = find_meter(root=board_tree({path: "NVIDIA Jetson Nano 2GB Developer Kit\0"}))
    assert meter is None
    assert problems[0]["reason"] == "NVIDIA Jetson Nano 2GB Developer Kit has no power sensor (no INA3221)"
    assert "--power-cmd" in problems[0]["fix"]


def test_the_step_is_eight_milliamperes_at_the_bus_voltage(board_tree):
    """NVIDIA's figure for the chip: 40 uV over 5 milliohms; at 5 V 40 mW. Steps of added rails add up."""
    assert find_meter(root=board_tree(NANO))[0].step_w == pytest.approx(0.04)
    board_tree(dict.fromkeys(NANO))
    board_tree(AGX_ORIN)
    meter = find_meter(root=board_tree({"sys/class/hwmon/hwmon3/shunt1_resistor": "2000\n"}))[0]
    assert meter.step_w == pytest.approx(0.020 * 20 + 0.008 * 20 + 0.008 * 5)


def test_what_a_chip_says_of_its_averaging_is_recorded(board_tree):
    root = board_tree(ORIN_NANO)
    board_tree({"sys/class/hwmon/hwmon1/samples": "64\n", "sys/class/hwmon/hwmon1/update_interval": "141\n"})
    described = find_meter(root=root)[0].describe()
    assert described["details"]["chips"] == {"hwmon1": {"samples": 64.0, "update_interval_s": 0.141}}
    assert (
        find_meter(root=board_tree({"sys/class/hwmon/hwmon1/samples": None}))[0].details["chips"]["hwmon1"]["samples"]
        is None
    )


# --- the choice


def test_none_is_not_asked_for(board_tree):
    meter, problems = find_meter(PowerChoice("none"), board_tree(NANO))
    assert meter is None and "not asked for" in problems[0]["reason"]


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "ina3221"])
def test_a_source_that_is_not_here_is_not_replaced_by_another(board_tree, source):
    root = board_tree(dict(NANO))
    meter, problems = find_meter(PowerChoice(source), root)
    assert meter is None
    assert problems[0]["what"] == "energy" and problems[0]["fix"]


@pytest.mark.parametrize("source", ["", "ina", "AUTO", "rapl:x", "command", "hwmon2"])
def test_a_source_that_does_not_exist_is_an_error_that_names_all(board_tree, source):
    with pytest.raises(EdgeBenchError) as caught:
        find_meter(PowerChoice(source), board_tree({}))
    assert "tegrastats" in str(caught.value) or "--power-cmd" in str(caught.value)


@pytest.mark.parametrize("interval_s", [0.0, 1e-4, -1.0, float("nan"), float("inf")])
def test_an_interval_has_to_be_one(board_tree, interval_s):
    with pytest.raises(EdgeBenchError):
        find_meter(PowerChoice(interval_s=interval_s), board_tree(NANO))


def test_the_interval_that_was_asked_for_is_the_meters(board_tree):
    assert find_meter(PowerChoice(interval_s=0.013), board_tree(NANO))[0].describe()["interval_s"] == 0.013


def test_a_board_sensor_is_preferred_to_rapl(board_tree):
    board_tree({"sys/class/powercap/intel-rapl:0/name": "package-0\n"})
    assert find_meter(root=board_tree(NANO))[0].source == "ina3221"


@pytest.mark.parametrize(
    "words, choice",
    [
        ([], PowerChoice()),
        (["--power", "hwmon:ina226/power1", "--power-interval", "0.5"], PowerChoice("hwmon:ina226/power1", None, 0.5)),
        (["--power-cmd", "meter --watts"], PowerChoice("auto", "meter --watts")),
        (["--power", "nonsense"], None),
        (["--power", "command"], None),
        (["--power-interval", "0"], None),
        (["--power-interval", "0.0001"], None),
    ],
)
def test_the_arguments_of_commands(words, choice):
    parser = argparse.ArgumentParser()
    power_arguments.add_power(parser)
    if choice is None:
        with pytest.raises(SystemExit):
            parser.parse_args(words)
    else:
        assert power_arguments.power_choice(parser.parse_args(words)) == choice
