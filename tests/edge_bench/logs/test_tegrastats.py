"""Lines of all releases. What is expected was written down from the lines and NVIDIA's description, by hand."""

import json
import re

import pytest

from edge_bench.logs.tegrastats import MAX_CHARACTERS, parse_line


def engine(load=None, *clocks):
    return {"is_on": True, "load_percent": load, "clocks_mhz": list(clocks)}


OFF = {"is_on": False, "load_percent": None, "clocks_mhz": []}
EMC_WITHOUT_ROOT = dict(engine(), note="prints 0% without root")


def core(load, clock):
    return {"load_percent": load, "clock_mhz": clock}


def rail(current, average, maximum=None):
    return {"current": current, "average": average, "maximum": maximum}


def memory(used, total, **more):
    return dict({"used_mb": used, "total_mb": total}, **more)


def free_blocks(num, size):
    return {"num_largest_free_blocks": num, "largest_free_block_mb": size}


def pmic(degrees):
    return {"temperature_c": degrees, "temperature_max_c": None}


# By a text that only this line has; what a case does not name is empty or null.
EXPECTED = {
    # TK1, R21: one clock for all cores, -1 where it cannot be read; EDP
    "RAM 601/1892MB": {
        "ram": memory(601, 1892, **free_blocks(207, 4)),
        "cpu": [core(0, None)] * 4,
        "engines": {"VDE": engine(None, 0)},
        "other": {"EDP": {"limit": 0}},
    },
    # TX1, R28.1: lower-case cpu with one clock for all cores; no _FREQ
    "RAM 3468/3983MB": {
        "ram": memory(3468, 3983, **free_blocks(48, 4)),
        "swap": memory(873, 8192, cached_mb=295),
        "cpu": [core(17, 408), core(13, 408), core(29, 408), core(5, 408)],
        "engines": {"EMC": engine(1, 408), "APE": engine(None, 25), "GR3D": engine(3, 76)},
    },
    # TX2, R28.2 to R32: milliwatts without a unit, MTS, PMIC
    "RAM 2632/7850MB": {
        "ram": memory(2632, 7850, **free_blocks(3, 4)),
        "cpu": [core(16, 1997), core(0, 2035), core(8, 2035), core(7, 1995), core(32, 1998), core(10, 1996)],
        "engines": {"EMC_FREQ": engine(7, 1600), "GR3D_FREQ": engine(16, 1134), "APE": engine(None, 150)},
        "temperature_c": {
            "BCPU": 38,
            "MCPU": 38,
            "GPU": 44,
            "PLL": 38,
            "AO": 35,
            "Tboard": 32,
            "Tdiode": 34.25,
            "thermal": 36.5,
        },
        "power_w": {
            "VDD_IN": rail(3.629, 3.668),
            "VDD_CPU": rail(0.697, 0.702),
            "VDD_GPU": rail(0.371, 0.370),
            "VDD_SOC": rail(0.650, 0.650),
            "VDD_WIFI": rail(0, 0.015),
            "VDD_DDR": rail(0.881, 0.882),
        },
        "other": {"MTS": {"fg_percent": 0, "bg_percent": 0}, "PMIC": pmic(100)},
    },
    # Nano, JetPack 4.6.1: IRAM in kB, without a blank before its bracket
    "RAM 1923/3964MB": {
        "ram": memory(1923, 3964, **free_blocks(2, 2)),
        "swap": memory(191, 1982, cached_mb=6),
        "iram": memory(0, 252 / 1024, **free_blocks(None, 252 / 1024)),
        "cpu": [core(5, 1224), core(4, 1224), core(3, 1224), core(6, 1224)],
        "engines": {"EMC_FREQ": engine(0, 1600), "GR3D_FREQ": engine(0, 76), "APE": engine(None, 25)},
        "temperature_c": {"PLL": 37, "CPU": 40, "GPU": 40, "AO": 45, "thermal": 40},
        "power_w": {
            "POM_5V_IN": rail(1.750, 1.628),
            "POM_5V_GPU": rail(0, 0),
            "POM_5V_CPU": rail(0.366, 0.406),
        },
        "other": {"PMIC": pmic(50)},
    },
    # Nano 2GB without root: no rails at all, a false zero for EMC, free blocks in kB
    "RAM 1889/1980MB": {
        "ram": memory(1889, 1980, **free_blocks(16, 0.25)),
        "swap": memory(683, 8192, cached_mb=58),
        "cpu": [core(6, 102), core(5, 102), core(15, 102), core(12, 102)],
        "engines": {"EMC_FREQ": EMC_WITHOUT_ROOT, "GR3D_FREQ": engine(0)},
        "temperature_c": {"PLL": 27, "CPU": 28, "GPU": 29, "AO": 36.5, "thermal": 28.5},
        "other": {"PMIC": pmic(50)},
    },
    # AGX Xavier: rails named as zones are; half of the cores are off line
    "RAM 721/31927MB": {
        "ram": memory(721, 31927, **free_blocks(7291, 4)),
        "swap": memory(0, 15963, cached_mb=0),
        "cpu": [core(2, 1190), core(0, 1190), core(0, 1190), core(0, 1190), None, None, None, None],
        "engines": {"EMC_FREQ": engine(0, 665), "GR3D_FREQ": engine(0, 318), "APE": engine(None, 150)},
        "temperature_c": {
            "AO": 37.5,
            "GPU": 37.5,
            "Tdiode": 40,
            "AUX": 36,
            "CPU": 37.5,
            "thermal": 36.9,
            "Tboard": 37,
        },
        "power_w": {
            "GPU": rail(0, 0),
            "CPU": rail(0.311, 0.311),
            "SOC": rail(0.932, 0.932),
            "CV": rail(0, 0),
            "VDDRQ": rail(0.621, 0.621),
            "SYS5V": rail(1.482, 1.482),
        },
        "other": {"MTS": {"fg_percent": 0, "bg_percent": 0}, "PMIC": pmic(100)},
    },
    # AGX Orin, R35: a stamp, units, zones that are powered off, rails that are not connected
    "RAM 1205/30623MB": {
        "timestamp": "10-16-2023 10:59:22",
        "ram": memory(1205, 30623, **free_blocks(6429, 4)),
        "swap": memory(0, 15311, cached_mb=0),
        "cpu": [core(0, 729)] * 2 + [core(1, 729)] + [core(0, 729)] * 2 + [core(0, 730)] * 2 + [core(0, 729)] * 5,
        "engines": {
            "EMC_FREQ": engine(0, 204),
            "GR3D_FREQ": engine(0, 114),
            "GR3D2_FREQ": engine(0, 114),
            "NVJPG1": engine(None, 729),
            "VIC_FREQ": engine(None, 729),
            "APE": engine(None, 233),
        },
        "temperature_c": {
            "CV0": None,
            "CPU": 43.5,
            "Tdiode": 32.5,
            "SOC2": 40.062,
            "SOC0": 40.5,
            "CV1": None,
            "GPU": 38.156,
            "SOC1": 39.125,
            "CV2": None,
        },
        "power_w": {
            "VDD_GPU_SOC": rail(4.788, 4.788),
            "VDD_CPU_CV": rail(0.798, 0.798),
            "VIN_SYS_5V0": rail(3.842, 3.842),
            "VDDQ_VDD2_1V8AO": rail(0.707, 0.707),
        },
        "other": {"NC": [{"power_w": rail(0, 0)}] * 2},
    },
    # AGX Orin, R36: runs of blanks, engines that are off, a clock for each cluster
    "RAM 29114/30697MB": {
        "ram": memory(29114, 30697, **free_blocks(3, 4)),
        "swap": memory(4915, 15348, cached_mb=1),
        "cpu": [core(3, 729), core(4, 729), core(0, 729), core(1, 729)]
        + [core(0, 2201), core(100, 2201), core(1, 2201), core(0, 2201), core(100, 2201)]
        + [core(0, 2201)] * 3,
        "engines": dict(
            dict.fromkeys(["NVENC", "NVDEC", "NVJPG", "NVJPG1", "VIC", "OFA", "NVDLA0", "NVDLA1", "PVA0_FREQ"], OFF),
            EMC_FREQ=engine(1, 2133),
            GR3D_FREQ=engine(0, 305, 305),
            APE=engine(None, 174),
        ),
        "temperature_c": {"cpu": 53.062, "soc2": 48.25, "soc0": 48.843, "gpu": 47.812, "tj": 53.062, "soc1": 48.968},
        "power_w": {
            "VDD_GPU_SOC": rail(3.205, 3.205),
            "VDD_CPU_CV": rail(4.405, 4.405),
            "VIN_SYS_5V0": rail(4.767, 4.767),
        },
    },
    # AGX Thor, R38: clocks without a load, which is then not known
    "RAM 105265/125772MB": {
        "timestamp": "04-21-2026 15:50:52",
        "ram": memory(105265, 125772, **free_blocks(34, 4)),
        "cpu": [core(0, 972)] * 6 + [core(1, 972)] + [core(0, 972)] * 4 + [core(8, 972)] + [core(0, 972)] * 2,
        "engines": dict(
            {name + "_FREQ": engine(None, 314) for name in ("NVENC0", "NVENC1", "NVDEC0", "NVDEC1", "NVJPG0")},
            EMC_FREQ=engine(0, 2750),
            GR3D_FREQ=engine(None, 314, 314, 314),
            VIC=OFF,
            OFA_FREQ=engine(None, 315),
            PVA0_FREQ=OFF,
            APE=engine(None, 300),
        ),
        "temperature_c": {"cpu": 37.343, "tj": 38.875, "soc012": 37.468, "gpu": 38.875, "soc345": 37.406},
        "power_w": {
            "VDD_GPU": rail(1.962, 1.962),
            "VDD_CPU_SOC_MSS": rail(5.887, 5.887),
            "VIN_SYS_5V0": rail(5.635, 5.635),
            "VIN": rail(19.780, 19.780),
        },
    },
    # AGX Thor, R39 without root: neither GR3D nor EMC; three power figures; a mean that began with a zero
    "RAM 36529/125749MB": {
        "timestamp": "07-02-2026 13:45:44",
        "ram": memory(36529, 125749, **free_blocks(12, 4)),
        "swap": memory(11, 4096, cached_mb=9),
        "cpu": [core(2, 972), core(1, 972)] + [core(0, 972)] * 11 + [core(2, 972)],
        "temperature_c": {"cpu": 60.406, "tj": 63.281, "soc012": 58.468, "gpu": 62.906, "soc345": 63.281},
        "power_w": {
            "VDD_GPU": rail(37.528, 37.528, 37.528),
            "VDD_CPU_SOC_MSS": rail(18.961, 18.961, 18.961),
            "VIN_SYS_5V0": rail(18.331, 18.331, 18.331),
            "VIN": rail(87.426, 43.713, 87.426),
        },
    },
    # AGX Orin, R39: temperatures with their maximum
    "RAM 999/62841MB": {
        "timestamp": "09-15-2026 12:19:33",
        "ram": memory(999, 62841),
        "cpu": [core(0, 729), None],
        "engines": {"GR3D_FREQ": engine(0)},
        "temperature_c": {"cpu": 43.093, "soc2": 39.625, "soc0": 40.031, "tj": 42.906, "soc1": 40.125},
        "temperature_max_c": {"cpu": 43.093, "soc2": 39.687, "soc0": 40.093, "tj": 42.968, "soc1": 40.156},
        "power_w": {
            "VDD_GPU_SOC": rail(2.792, 2.792, 2.792),
            "VDD_CPU_CV": rail(0, 0, 0),
            "VIN_SYS_5V0": rail(3.918, 3.952, 4.019),
        },
    },
    # Tegra 2 under Android: the oldest form, in a log of Android
    "E/TegraStats( 3627)": {
        "ram": memory(250, 490, **free_blocks(17, 1)),
        "iram": memory(36 / 1024, 0.25, **free_blocks(None, 0.125)),
        "cpu": [core(61, 835), core(45, 835)],
        "engines": {"avp": engine(17, 100), "vde": engine(34, 216), "emc": engine(25, 333)},
        "other": {
            "prefix": "E/TegraStats( 3627):",
            "Carveout": memory(12, 12, **free_blocks(None, 0)),
            "GART": memory(28, 32, **free_blocks(None, 4)),
            "tokens": ["|", "DFS(%@MHz):"],
        },
    },
}
EMPTY = {
    "timestamp": None,
    "ram": None,
    "swap": None,
    "iram": None,
    "cpu": [],
    "engines": {},
    "temperature_c": {},
    "temperature_max_c": {},
    "power_w": {},
    "other": {},
}


@pytest.mark.parametrize("text", sorted(EXPECTED))
def test_lines_of_every_release(line_of, text):
    assert parse_line(line_of(text)) == dict(EMPTY, **EXPECTED[text])


def test_engines_in_the_middle_of_the_rails_and_swap_behind_the_cores(line_of):
    found = parse_line(line_of("NVENC 716 NVDEC 716"))
    assert found["engines"]["NVENC"] == found["engines"]["NVDEC"] == engine(None, 716)
    assert found["power_w"]["VDD_WIFI"] == rail(0.019, 0.019) and found["power_w"]["VDD_DDR"] == rail(2.702, 2.702)
    assert found["swap"] == memory(149, 1024, cached_mb=7)
    assert found["ram"] == memory(4722, 7844, **free_blocks(1, 0.5))
    assert found["temperature_c"]["GPU"] == -51


def test_what_a_wrapper_put_before_a_line(line_of):
    found = parse_line(line_of("[2018-08-23 16:30:36] :"))
    assert found["timestamp"] == "2018-08-23 16:30:36"
    assert found["other"]["prefix"] == "[2018-08-23 16:30:36] :"
    assert found["power_w"]["VDD_IN"] == rail(9.273, 9.056)


@pytest.mark.parametrize(
    "prefix, timestamp",
    [
        ("2024-05-01T12:00:00.123456789Z", "2024-05-01T12:00:00.123456789Z"),
        ("[2024-05-01 12:00:00+02:00] stdout F", "2024-05-01 12:00:00+02:00"),
        ("May 01 12:00:00 nano tegrastats[123]:", None),
        ("nano | 05-01-2024 12:00:00", "05-01-2024 12:00:00"),
        ("2024-05-01T12:00:00Z 04-30-2024 23:59:59", "04-30-2024 23:59:59"),
    ],
)
def test_wrappers_change_nothing_but_prefix_and_stamp(line_of, prefix, timestamp):
    line = line_of("RAM 2632/7850MB")
    expected = parse_line(line)
    expected["timestamp"] = timestamp
    expected["other"]["prefix"] = prefix
    assert parse_line(prefix + " " + line) == expected


def test_a_name_that_nobody_knew_is_kept(line_of):
    line = line_of("RAM 2632/7850MB")
    more = " NPU0 37%@[900,901] FUTURE_TOKEN value COUNTER 12 NEW_RAIL 5mW/6mW/7mW newzone@12.5C/13C VRAM 1/2GB"
    found, known = parse_line(line + more), parse_line(line)
    assert found["engines"].pop("NPU0") == engine(37, 900, 901)
    assert found["power_w"].pop("NEW_RAIL") == rail(0.005, 0.006, 0.007)
    assert found["temperature_c"].pop("newzone") == 12.5 and found["temperature_max_c"].pop("newzone") == 13
    assert found["other"].pop("tokens") == ["FUTURE_TOKEN", "value"]
    assert found["other"].pop("COUNTER") == 12
    assert found["other"].pop("VRAM") == memory(1024, 2048)
    assert found == known


def test_a_name_that_comes_twice_keeps_its_first_value_and_the_second_is_not_lost(line_of):
    line = line_of("RAM 2632/7850MB")
    found = parse_line(line + " VDD_IN 1/2 GPU@1C GR3D_FREQ 99% RAM 1/2MB CPU [1%@2] MTS fg 9% bg 9%")
    words = found["other"].pop("tokens")
    assert words == ["VDD_IN 1/2", "GPU@1C", "GR3D_FREQ 99%", "RAM 1/2MB", "CPU [1%@2]", "MTS fg 9% bg 9%"]
    assert found == parse_line(line)


@pytest.mark.parametrize("name", ["tokens", "prefix", "is_cut", "NC", "PMIC", "MTS", "EDP"])
def test_names_that_other_has_already_break_nothing(line_of, name):
    line = line_of("NVENC 716 NVDEC 716")
    found = parse_line("%s 5 %s %s 1/2MB unknown" % (name, line, name))
    assert found["other"]["prefix"] == "%s 5" % name
    assert found["other"]["tokens"] == ["%s 1/2MB" % name, "unknown"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "   \t ",
        "tegrastats: not running as root, some fields missing",
        "Error: NVML shared library not found",
        "[12/340] Linking CXX executable 5%",
        "loaded 12/34MB of weights",
        "gpu@90C is too hot",
        "RAM",
        "RAM 26",
        "\x00\x01\x02",
    ],
)
def test_what_is_no_sample(line):
    assert parse_line(line) is None


def test_noise_of_the_corpus_is_none_and_all_else_is_a_sample(corpus):
    assert len(corpus) == 68
    for row in corpus:
        assert (parse_line(row["line"]) is None) == (row["kind"] == "noise"), row["line"]


def real_lines(corpus):
    lines = [row["line"] for row in corpus if row["kind"] in ("real", "emulator", "fixture", "shortened")]
    assert len(lines) > 60
    return lines


def test_no_word_of_a_recorded_line_is_without_effect(corpus):
    """Nothing is dropped: a line that lacks any one word is read as something else."""
    for line in real_lines(corpus):
        words, whole = line.split(), parse_line(line)
        for number, word in enumerate(words):
            rest = " ".join(words[:number] + words[number + 1 :])
            assert parse_line(rest) != whole, (word, line)


def test_no_number_and_no_name_of_a_recorded_line_is_without_effect(corpus):
    for line in real_lines(corpus):
        whole = parse_line(line)
        for found in re.finditer(r"-?[0-9]+|[A-Za-z_]+", line):
            other = "7" if found.group() != "7" else "8"
            if found.group()[0].isalpha():
                other = "Q" + found.group()
            changed = line[: found.start()] + other + line[found.end() :]
            assert parse_line(changed) != whole, (found.group(), line)


def test_no_reading_of_a_recorded_line_is_left_among_the_words_without_a_meaning(corpus):
    """But what was never tegrastats' own: a wrapper's words, Android's, and a word that a test had made up."""
    words = [word for line in real_lines(corpus) for word in parse_line(line)["other"].get("tokens", [])]
    assert sorted(words) == ["DFS(%@MHz):", "FUTURE_TOKEN", "value", "|"]


def test_blanks_line_ends_and_order_do_not_matter(line_of):
    line = line_of("RAM 2632/7850MB")
    expected = parse_line(line)
    assert parse_line("  " + line.replace(" ", "   ") + " \r\n") == expected
    assert parse_line(line.replace(" ", "\t")) == expected
    head, _, rest = line.partition(" EMC_FREQ")
    assert parse_line("EMC_FREQ" + rest + " " + head) == expected


def test_a_line_that_was_cut_in_a_number_does_not_become_another_rail(line_of):
    line = line_of("RAM 721/31927MB")
    for length in range(len(line)):
        found = parse_line(line[:length])
        if found is not None:
            assert set(found["power_w"]) <= {"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}
            assert set(found["engines"]) <= {"EMC_FREQ", "GR3D_FREQ", "APE"}


def test_a_line_that_is_too_long_is_cut_and_says_so(line_of):
    line = line_of("RAM 2632/7850MB")
    found = parse_line(line + " X" * MAX_CHARACTERS)
    assert found["other"].pop("is_cut") is True
    assert len(found["other"].pop("tokens")) < MAX_CHARACTERS
    assert found == parse_line(line)


@pytest.mark.parametrize("digits", ["9" * 10, "9" * 5000])
def test_numbers_that_nothing_counts_are_words(line_of, digits):
    line = line_of("RAM 2632/7850MB").replace("3629", digits)
    found = parse_line(line)
    assert found["other"]["tokens"] == ["VDD_IN", digits + "/3668"]
    json.dumps(found, allow_nan=False)
