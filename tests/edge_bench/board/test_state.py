"""The board's description and state, read from folders that look like /proc and /sys of real boards."""

import os

import pytest

import fake_boards
from edge_bench.atomic import canonical_json
from edge_bench.board.clocks import is_gpu
from edge_bench.board.describe import describe_board
from edge_bench.board.files import read_number
from edge_bench.board.load import busy_seconds
from edge_bench.board.memory import process_memory
from edge_bench.board.power_mode import power_modes
from edge_bench.board.state import missing_state, read_state, state_changes, throttling_now


def test_description_of_a_jetson_nano(board_tree):
    described = describe_board(board_tree(fake_boards.NANO))
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
    state = read_state(board_tree(fake_boards.NANO))
    assert state["power_mode"] == state["power_mode_status"] == "pmode:0000"
    assert state["governors"] == {"cpu%d" % number: "schedutil" for number in range(4)}
    assert state["cpu_clock_limits_hz"]["cpu3"] == [102000e3, 1479000e3]
    assert state["cpu_clocks_hz"]["cpu0"] == 1479000e3
    assert state["online_cpus"] == "0-3"
    assert state["devfreq"] == {
        "57000000.gpu": {
            "cur_freq_hz": 76.8e6,
            "min_freq_hz": 76.8e6,
            "max_freq_hz": 921.6e6,
            "governor": "nvhost_podgov",
        }
    }
    # A PMIC's zone is a constant.
    assert state["temperatures_c"] == {
        "AO-therm": 41.5,
        "CPU-therm": 36.5,
        "GPU-therm": 35.0,
        "PLL-therm": 34.5,
        "thermal-fan-est": 35.9,
    }
    assert state["trip_points_c"] == {"CPU-therm": {"active": 51.0, "passive": 97.0, "critical": 102.5}}
    assert state["cooling_states"] == {
        "tegra-heavy (cooling_device0)": 0,
        "gpu-balanced (cooling_device2)": 0,
        "cpu-balanced (cooling_device3)": 0,
    }
    assert state["fans"] == {"pwm-fan": {"pwm": 80.0, "rpm": None}}
    assert state["throttle_counts"] == {} and state["alarms"] == {} and state["throttled_bits"] is None
    assert state["memory_available_bytes"] == 2949120 * 1024
    assert state["swap_total_bytes"] == 2029628 * 1024 and state["swap_used_bytes"] == 0
    assert state["load_average"] == 0.2
    assert state["clocks_pinned"]["answer"] == "no"


def test_state_of_an_orin_with_pinned_clocks(board_tree):
    state = read_state(board_tree(fake_boards.ORIN_NX))
    assert state["clocks_pinned"]["answer"] == "yes"
    assert state["throttle_counts"] == {"oc1_event_cnt": 0, "oc2_event_cnt": 3, "oc3_event_cnt": 27390}
    assert state["alarms"] == {
        "ina3221 VDD_IN max_alarm": 0,
        "ina3221 VDD_IN crit_alarm": 0,
        "ina3221 VDD_CPU_GPU_CV max_alarm": 0,
    }
    assert state["fans"] == {"pwmfan": {"pwm": 120.0, "rpm": None}, "pwm_tach": {"pwm": None, "rpm": 2310.0}}
    assert "cv0-thermal" not in state["temperatures_c"]  # powered off
    assert state["swap_used_bytes"] == 20000 * 1024


def test_what_a_pc_has(board_tree):
    state = read_state(board_tree(fake_boards.X86))
    assert state["throttle_counts"] == {"cpu%d.core_throttle_count" % number: 7 for number in range(8)}
    # The powerclamp's -1 means inactive; a fan slows nothing down.
    assert set(state["cooling_states"].values()) == {0} and len(state["cooling_states"]) == 3
    assert state["temperatures_c"] == {"acpitz": 27.8, "x86_pkg_temp": 45.0}


def test_without_thermal_zones_the_sensors_of_hwmon_count(board_tree):
    files = {name: text for name, text in fake_boards.X86.items() if "class/thermal" not in name}
    assert read_state(board_tree(files))["temperatures_c"] == {"coretemp Package id 0": 45.0, "coretemp Core 0": 44.0}


@pytest.mark.parametrize(
    "name, gpu",
    [
        ("nano", "57000000.gpu"),
        ("xavier-nx", "17000000.gv11b"),
        ("orin-nx", "17000000.gpu"),
        ("thor", "gpu-gpc-0"),
    ],
)
def test_the_gpu_of_each_jetson_is_known(board_tree, name, gpu):
    devices = read_state(board_tree(fake_boards.BOARDS[name]))["devfreq"]
    assert [device for device in devices if is_gpu(device)] == [gpu]


@pytest.mark.parametrize("device", ["17000000.gp10b", "17000000.ga10b", "ff9a0000.gpu", "fb000000.gpu", "mali"])
def test_names_of_gpus(device):
    assert is_gpu(device)


@pytest.mark.parametrize("device", ["15340000.vic", "dmc", "gpu-nvd-0", "gpu_bus", "15380000.nvjpg", "154c0000.nvenc"])
def test_names_of_what_is_no_gpu(device):
    assert not is_gpu(device)


@pytest.mark.parametrize("name", sorted(fake_boards.BOARDS))
def test_any_board_can_be_read_and_stored(board_tree, name):
    root = board_tree(fake_boards.BOARDS[name])
    state = read_state(root)
    canonical_json([state, describe_board(root)])
    assert state_changes(state, state) == []
    assert throttling_now(state) == []
    assert state["load_average"] == 0.2


def test_state_of_an_empty_root_says_unknown_and_not_zero(board_tree):
    root = board_tree({})
    state = read_state(root)
    assert set(state) == set(read_state(board_tree(fake_boards.NANO)))
    state = read_state(os.path.join(root, "absent"))
    assert state.pop("clocks_pinned")["answer"] == "unknown"
    assert not any(state.values())
    assert [entry["what"] for entry in missing_state(read_state("/nowhere"))] == [
        "CPU clocks and governor",
        "temperatures",
    ]
    assert busy_seconds("/nowhere") is None
    assert process_memory("/nowhere") == {}


def test_nothing_is_reported_missing_on_a_board_that_has_it(board_tree):
    assert missing_state(read_state(board_tree(fake_boards.NANO))) == []


EVERYTHING = dict(fake_boards.NANO, **fake_boards.ORIN_NX)
# What is derived of several files.
DERIVED = ("clocks_pinned", "kind", "soc", "jetpack", "power_mode")


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_a_missing_file_hides_only_itself(board_tree, name):
    root = board_tree(EVERYTHING)
    whole, described = read_state(root), describe_board(root)
    board_tree({name: None})
    changed = [key for key, value in read_state(root).items() if value != whole[key]]
    changed += [key for key, value in describe_board(root).items() if value != described[key]]
    changed = [key for key in changed if key not in DERIVED]
    # A zone without a type goes by its folder's name, with its trip points; meminfo feeds five figures.
    assert len(changed) <= {"proc/meminfo": 4}.get(name, 2), changed


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
    files = dict(EVERYTHING)
    files["sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"] = "0"
    root = board_tree(dict.fromkeys(files, content))
    state = read_state(root)
    canonical_json([state, describe_board(root), process_memory(root), busy_seconds(root), power_modes(root)])
    throttling_now(state)
    assert state_changes(state, state) == []
    missing_state(state)


def test_folders_in_the_place_of_files_never_raise(board_tree):
    files = dict(EVERYTHING)
    root = board_tree({name + "/inner": "x" for name in files})
    state = read_state(root)
    # Folders have names, whatever is in them.
    assert [key for key, value in state.items() if value] == ["devfreq", "clocks_pinned"]
    assert state["clocks_pinned"]["answer"] == "unknown"
    assert describe_board(root)["model"] is None


def test_two_sensors_of_one_name_are_both_kept(board_tree):
    zones = {}
    for number, temperature in enumerate((40000, 95000, 41000)):
        zones["sys/class/thermal/thermal_zone%d/type" % number] = "acpitz"
        zones["sys/class/thermal/thermal_zone%d/temp" % number] = "%d" % temperature
    temperatures = read_state(board_tree(zones))["temperatures_c"]
    assert sorted(temperatures.values()) == [40.0, 41.0, 95.0]


def test_throttle_counters_come_from_their_own_device(board_tree):
    files = dict(fake_boards.ORIN_NX)
    files["sys/devices/system/cpu/cpu3/thermal_throttle/core_throttle_count"] = "7\n"
    assert read_state(board_tree(files))["throttle_counts"] == {
        "oc1_event_cnt": 0,
        "oc2_event_cnt": 3,
        "oc3_event_cnt": 27390,
        "cpu3.core_throttle_count": 7,
    }


def test_a_rising_throttle_counter_is_a_change(board_tree):
    root = board_tree(fake_boards.ORIN_NX)
    before = read_state(root)
    assert state_changes(before, read_state(root)) == []
    board_tree({"sys/class/hwmon/hwmon0/oc3_event_cnt": "27391\n"})
    assert state_changes(before, read_state(root))[0].startswith(
        "throttled during the run: oc3_event_cnt rose from 27390 to 27391; "
    )
    # A counter that only appeared, or vanished, or was reset, is no proof of throttling.
    board_tree({"sys/class/hwmon/hwmon0/oc3_event_cnt": "0\n"})
    assert state_changes(before, read_state(root)) == []
    board_tree({"sys/class/hwmon/hwmon0/oc3_event_cnt": None, "sys/class/hwmon/hwmon0/oc4_event_cnt": "5"})
    assert state_changes(before, read_state(root)) == []


@pytest.mark.parametrize(
    "name, text, word",
    [
        ("var/lib/nvpmodel/status", "pmode:0001", "power mode"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave", "CPU governors"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "918000", "CPU clock limits"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq", "1479000", "CPU clock limits"),
        ("sys/devices/system/cpu/online", "0-1", "online cores"),
        ("sys/devices/system/cpu/online", None, "online cores"),
    ],
)
def test_a_changed_setting_is_named_with_both_values(board_tree, name, text, word):
    root = board_tree(fake_boards.NANO)
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
        ("sys/devices/57000000.gpu/devfreq/57000000.gpu/cur_freq", "921600000"),
        ("proc/loadavg", "9.00 1 1 1/1 1"),
        ("proc/meminfo", "MemAvailable: 1 kB"),
    ],
)
def test_what_moves_by_itself_is_no_change(board_tree, name, text):
    root = board_tree(fake_boards.NANO)
    before = read_state(root)
    board_tree({name: text})
    after = read_state(root)
    assert after != before
    assert state_changes(before, after) == []


def test_busy_time_counts_everything_but_idle_and_waiting(board_tree):
    # user 100, nice 20, system 30, irq 6, softirq 7, steal 8; guest time is already inside user time.
    expected = (400 + 80 + 120 + 6 + 7 + 8) / float(os.sysconf("SC_CLK_TCK"))
    assert busy_seconds(board_tree(fake_boards.NANO)) == expected


@pytest.mark.parametrize("text", ["", "cpu0 1 2 3 4 5 6 7 8\n", "cpu 1 2 3\n", "intr 1\ncpu 1 2 3 4 5 6 7 8\n"])
def test_busy_time_of_another_format_is_unknown(board_tree, text):
    assert busy_seconds(board_tree({"proc/stat": text})) is None


def test_process_memory(board_tree):
    assert process_memory(board_tree(fake_boards.NANO)) == {"VmHWM": 60000 * 1024, "VmRSS": 50000 * 1024}


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
