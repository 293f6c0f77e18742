"""The board's description and state, read from folders that look like /proc and /sys of real boards."""

import os

import pytest

from edge_bench.atomic import canonical_json
from edge_bench.board.describe import describe_board
from edge_bench.board.files import read_number
from edge_bench.board.load import busy_seconds
from edge_bench.board.memory import process_memory
from edge_bench.board.state import missing_state, read_state, state_changes

MEMINFO = "MemTotal:        4059268 kB\nMemFree:  100 kB\nMemAvailable:    2949120 kB\nHugePages_Total:       0\n"
JETSON_NANO = {
    "proc/device-tree/model": b"NVIDIA Jetson Nano Developer Kit\0",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\nBogoMIPS\t: 38.40\n",
    "proc/meminfo": MEMINFO,
    "proc/loadavg": "0.20 0.18 0.12 1/80 11206\n",
    "proc/stat": "cpu  100 20 30 4000 50 6 7 8 9 10\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 1\n",
    "proc/self/status": "Name:\tpython3\nVmPeak:\t  99 kB\nVmHWM:\t   60000 kB\nVmRSS:\t   50000 kB\n",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 18.04.6 LTS"\n',
    "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64\n",
    "var/lib/nvpmodel/status": "pmode:0000",
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1479000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "102000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1479000\n",
    "sys/devices/system/cpu/cpufreq/boost": "0\n",
    "sys/class/devfreq/57000000.gpu/cur_freq": "76800000\n",
    "sys/class/devfreq/57000000.gpu/min_freq": "76800000\n",
    "sys/class/devfreq/57000000.gpu/max_freq": "921600000\n",
    "sys/class/thermal/thermal_zone0/type": "AO-therm\n",
    "sys/class/thermal/thermal_zone0/temp": "41500\n",
    "sys/class/thermal/thermal_zone1/type": "GPU-therm\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/thermal/thermal_zone2/type": "PMIC-Die\n",
    "sys/class/thermal/thermal_zone2/temp": "100000\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
}
# An Orin's over-current counters; other hwmon devices lie beside them.
ORIN_THROTTLING = {
    "sys/class/hwmon/hwmon0/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon1/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon1/oc2_event_cnt": "3\n",
    "sys/class/hwmon/hwmon1/oc3_event_cnt": "27390\n",
    "sys/class/hwmon/hwmon1/oc3_throt_en": "1\n",
    "sys/class/hwmon/hwmon2/name": "pwmfan\n",
    "sys/class/hwmon/hwmon2/oc1_event_cnt": "999\n",
}


def test_description_of_a_jetson_nano(board_tree):
    described = describe_board(board_tree(JETSON_NANO))
    assert described["model"] == "NVIDIA Jetson Nano Developer Kit"
    assert described["cpu"] == "ARMv8 Processor rev 1 (v8l)"
    assert described["memory_bytes"] == 4059268 * 1024
    assert described["system"] == "Ubuntu 18.04.6 LTS"
    assert described["l4t"] == "32.7.1"
    assert described["num_cpus"] == os.cpu_count()


@pytest.mark.parametrize(
    "text, release",
    [
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64", "35.4.1"),
        ("# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64", "36.4.0"),
        ("", None),
        ("# R36", None),
        ("garbage", None),
    ],
)
def test_l4t_release(board_tree, text, release):
    assert describe_board(board_tree({"etc/nv_tegra_release": text}))["l4t"] == release


def test_the_model_is_found_where_containers_and_pcs_have_it(board_tree):
    assert describe_board(board_tree({}))["model"] is None
    root = board_tree({"sys/class/dmi/id/product_name": "Standard PC\n"})
    assert describe_board(root)["model"] == "Standard PC"
    board_tree({"sys/firmware/devicetree/base/model": b"Raspberry Pi 5 Model B Rev 1.0\0"})
    assert describe_board(root)["model"] == "Raspberry Pi 5 Model B Rev 1.0"
    board_tree({"proc/device-tree/model": b"Other\0"})
    assert describe_board(root)["model"] == "Other"


@pytest.mark.parametrize(
    "cpuinfo, name",
    [
        (
            "processor : 0\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
            "Raspberry Pi 4 Model B Rev 1.4",
        ),
        ("processor : 0\nCPU part\t: 0xd07\n", "0xd07"),
        ("model name\t: \n", None),
        ("", None),
    ],
)
def test_cpu_name(board_tree, cpuinfo, name):
    assert describe_board(board_tree({"proc/cpuinfo": cpuinfo}))["cpu"] == name


def test_state_of_a_jetson_nano(board_tree):
    state = read_state(board_tree(JETSON_NANO))
    assert state == {
        "power_mode": "pmode:0000",
        "governors": {"cpu0": "schedutil"},
        "cpu_clock_limits_hz": {"cpu0": [102000e3, 1479000e3]},
        "cpu_clocks_hz": {"cpu0": 1479000e3},
        "online_cpus": "0-3",
        "devfreq": {"57000000.gpu": {"cur_freq_hz": 76.8e6, "min_freq_hz": 76.8e6, "max_freq_hz": 921.6e6}},
        "temperatures_c": {"AO-therm": 41.5},
        "throttle_counts": {},
        "memory_available_bytes": 2949120 * 1024,
        "load_average": 0.2,
    }


def test_state_of_an_empty_root_says_unknown_and_not_zero(board_tree):
    root = board_tree({})
    state = read_state(root)
    assert set(state) == set(read_state(board_tree(JETSON_NANO)))
    assert not any(read_state(os.path.join(root, "absent")).values())
    assert [entry["what"] for entry in missing_state(read_state("/nowhere"))] == [
        "CPU clocks and governor",
        "temperatures",
    ]
    assert busy_seconds("/nowhere") is None
    assert process_memory("/nowhere") == {}


def test_nothing_is_reported_missing_on_a_board_that_has_it(board_tree):
    assert missing_state(read_state(board_tree(JETSON_NANO))) == []


@pytest.mark.parametrize("name", sorted(set(JETSON_NANO) | set(ORIN_THROTTLING)))
def test_a_missing_file_hides_only_itself(board_tree, name):
    files = dict(JETSON_NANO, **ORIN_THROTTLING)
    root = board_tree(files)
    whole, described = read_state(root), describe_board(root)
    board_tree({name: None})
    changed = [key for key, value in read_state(root).items() if value != whole[key]]
    changed += [key for key, value in describe_board(root).items() if value != described[key]]
    # meminfo feeds two figures; a zone without a type goes by its folder's name.
    assert len(changed) <= (2 if name == "proc/meminfo" else 1), changed


GARBAGE = [
    b"",
    b"\n",
    b"\0",
    b"garbage",
    b"\xff\xfe\x80",
    b"nan",
    b"inf",
    b"-inf",
    b"1e400",
    b"-1",
    b"0x10",
    "\u00b2".encode("utf-8"),  # a digit to str.isdigit, not to float
    "\u0663".encode("utf-8"),
    b"1 2 3",
    b"9" * 400,
    b"cpu a b c d e f g h i j",
    b"cpu  1 2 3 4 5 6 7 \xc2\xb2",
    b"MemTotal: x kB\nMemAvailable:\nVmRSS: -1 kB",
    b"MemTotal: %s kB\nVmRSS:\t%s kB" % (b"9" * 5000, b"9" * 5000),
    b"x" * 200000,
]


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_in_any_file_never_raises_and_can_be_stored(board_tree, content):
    files = dict(JETSON_NANO, **ORIN_THROTTLING)
    files["sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"] = "0"
    root = board_tree(dict.fromkeys(files, content))
    state = read_state(root)
    canonical_json([state, describe_board(root), process_memory(root), busy_seconds(root)])
    assert state_changes(state, state) == []
    missing_state(state)


def test_folders_in_the_place_of_files_never_raise(board_tree):
    files = dict(JETSON_NANO, **ORIN_THROTTLING)
    root = board_tree({name + "/inner": "x" for name in files})
    assert not any(value for key, value in read_state(root).items() if key not in ("devfreq",))
    assert describe_board(root)["model"] is None


def test_two_sensors_of_one_name_are_both_kept(board_tree):
    zones = {}
    for number, temperature in enumerate((40000, 95000, 41000)):
        zones["sys/class/thermal/thermal_zone%d/type" % number] = "acpitz"
        zones["sys/class/thermal/thermal_zone%d/temp" % number] = "%d" % temperature
    temperatures = read_state(board_tree(zones))["temperatures_c"]
    assert sorted(temperatures.values()) == [40.0, 41.0, 95.0]


def test_throttle_counters_come_from_their_own_device(board_tree):
    files = dict(ORIN_THROTTLING)
    files["sys/devices/system/cpu/cpu3/thermal_throttle/core_throttle_count"] = "7\n"
    assert read_state(board_tree(files))["throttle_counts"] == {
        "oc1_event_cnt": 0,
        "oc2_event_cnt": 3,
        "oc3_event_cnt": 27390,
        "cpu3.core_throttle_count": 7,
    }


def test_a_rising_throttle_counter_is_a_change(board_tree):
    root = board_tree(ORIN_THROTTLING)
    before = read_state(root)
    assert state_changes(before, read_state(root)) == []
    board_tree({"sys/class/hwmon/hwmon1/oc3_event_cnt": "27391\n"})
    assert state_changes(before, read_state(root)) == ["throttled during the run: oc3_event_cnt rose to 27391"]
    # A counter that only appeared, or vanished, or was reset, is no proof of throttling.
    board_tree({"sys/class/hwmon/hwmon1/oc3_event_cnt": "0\n"})
    assert state_changes(before, read_state(root)) == []
    board_tree({"sys/class/hwmon/hwmon1/oc3_event_cnt": None, "sys/class/hwmon/hwmon1/oc4_event_cnt": "5"})
    assert state_changes(before, read_state(root)) == []


@pytest.mark.parametrize(
    "name, text, word",
    [
        ("var/lib/nvpmodel/status", "pmode:0001", "power_mode"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave", "governors"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "918000", "cpu_clock_limits_hz"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq", "1479000", "cpu_clock_limits_hz"),
        ("sys/devices/system/cpu/online", "0-1", "online_cpus"),
        ("sys/devices/system/cpu/online", None, "online_cpus"),
    ],
)
def test_a_changed_setting_is_named_with_both_values(board_tree, name, text, word):
    root = board_tree(JETSON_NANO)
    before = read_state(root)
    board_tree({name: text})
    changes = state_changes(before, read_state(root))
    assert len(changes) == 1
    assert word in changes[0] and "->" in changes[0]


@pytest.mark.parametrize(
    "name, text",
    [
        ("sys/class/thermal/thermal_zone0/temp", "80000"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "102000"),
        ("sys/class/devfreq/57000000.gpu/cur_freq", "921600000"),
        ("proc/loadavg", "9.00 1 1 1/1 1"),
        ("proc/meminfo", "MemAvailable: 1 kB"),
    ],
)
def test_what_moves_by_itself_is_no_change(board_tree, name, text):
    root = board_tree(JETSON_NANO)
    before = read_state(root)
    board_tree({name: text})
    after = read_state(root)
    assert after != before
    assert state_changes(before, after) == []


def test_busy_time_counts_everything_but_idle_and_waiting(board_tree):
    # user 100, nice 20, system 30, irq 6, softirq 7, steal 8; guest time is already inside user time.
    expected = (100 + 20 + 30 + 6 + 7 + 8) / float(os.sysconf("SC_CLK_TCK"))
    assert busy_seconds(board_tree(JETSON_NANO)) == expected


@pytest.mark.parametrize("text", ["", "cpu0 1 2 3 4 5 6 7 8\n", "cpu 1 2 3\n", "intr 1\ncpu 1 2 3 4 5 6 7 8\n"])
def test_busy_time_of_another_format_is_unknown(board_tree, text):
    assert busy_seconds(board_tree({"proc/stat": text})) is None


def test_process_memory(board_tree):
    assert process_memory(board_tree(JETSON_NANO)) == {"VmHWM": 60000 * 1024, "VmRSS": 50000 * 1024}


@pytest.mark.parametrize(
    "content, number",
    [(b"12\n", 12.0), (b" -3.5 ", -3.5), (b"0", 0.0), (b"", None), (b"x", None), (b"nan", None), (b"inf", None)],
)
def test_read_number(board_tree, content, number):
    root = board_tree({"file": content})
    assert read_number(os.path.join(root, "file")) == number
    assert read_number(os.path.join(root, "absent")) is None


def test_this_machine_can_be_read():
    """The real /proc of whatever runs this test."""
    assert describe_board()["machine"]
    assert process_memory()["VmHWM"] >= process_memory()["VmRSS"] // 2 > 0
    assert busy_seconds() > 0
    state = read_state()
    assert state_changes(state, state) == []
