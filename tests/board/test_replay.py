"""The replayed power and the programs that show it; no board is needed for these."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from edge_bench.logs.tegrastats import parse_line
from edge_bench.power.raspberry import parse_adc
from edge_dendrite.boards import load_board
from parts import ROOT
from scripts.virtual_board import replay
from scripts.virtual_board.errors import BoardError
from scripts.virtual_board.host import missing_parts
from scripts.virtual_board.profile import profile_names, read_profile
from scripts.virtual_board.programs.tegrastats import Means

PROGRAMS = ROOT / "scripts" / "virtual_board" / "programs"
JETSONS = [name for name in profile_names() if name.startswith("jetson")]


@pytest.mark.parametrize("milliwatts", [0, 512, 900, 998, 1750, 3014, 5251, 7104, 16321])
def test_a_power_is_a_product_of_steps_to_the_milliwatt(milliwatts):
    millivolts, milliamperes = replay.split_power(milliwatts, 5000)
    assert abs(millivolts * milliamperes / 1000 - milliwatts) <= 1
    assert abs(millivolts - 5000) <= 256


@pytest.mark.parametrize("name", JETSONS)
def test_sensor_and_tegrastats_agree_as_the_agent_reads_them(name):
    profile = read_profile(name)
    rails = profile.replay["sensor"]["rails"]
    for step in replay.read_steps(profile.replay):
        power_w = parse_line(step.texts["line"])["power_w"]
        values = list(step.numbers.values())
        for place, rail in enumerate(rails):
            if profile.replay["sensor"]["driver"] == "hwmon":
                from_sensor_w = values[2 * place] * values[2 * place + 1] / 1e6
            else:
                from_sensor_w = values[3 * place + 2] / 1e3
            assert from_sensor_w == pytest.approx(power_w[rail]["current"], abs=1e-3)
        assert step.total_w == power_w[profile.replay["total_rail"]]["current"]


def test_the_raspberry_pi_adds_up_to_the_totals_that_are_known():
    profile = read_profile("raspberry-pi-5")
    totals = [step["total_w"] for step in profile.replay["steps"]]
    for step, total_w in zip(replay.read_steps(profile.replay), totals, strict=True):
        rails = parse_adc(step.texts["pmic_read_adc"])
        assert "EXT5V" not in rails
        assert sum(rails.values()) == pytest.approx(total_w, abs=1e-6)
        assert step.total_w == pytest.approx(total_w, abs=1e-6)


@pytest.mark.parametrize("name", profile_names())
def test_a_board_says_where_each_part_of_it_is_from_and_is_a_known_one(name):
    profile, known = read_profile(name), load_board(name)
    assert all(len(source) > 20 for source in profile.sources.values())
    assert any(word in profile.sys_files["firmware/devicetree/base/model"] for word in known.match)
    # Twenty fresh values in ten seconds: what an energy needs.
    steps = replay.read_steps(profile.replay)
    assert sum(step.duration_s for step in steps) / len(steps) < 0.5
    texts = [(step.numbers, step.texts) for step in steps]
    assert all(one != other for one, other in zip(texts, [*texts[1:], texts[0]], strict=True))


def test_true_energy(tmp_path):
    log = tmp_path / "log"
    log.write_text("10.0 2.0\n11.0 4.0\n13.0 1.0\n14.0 9")  # the last line is being written
    assert replay.true_energy_j(log, 10.5, 12.0) == pytest.approx(0.5 * 2 + 1.0 * 4)
    assert replay.true_energy_j(log, 12.5, 20.0) == pytest.approx(0.5 * 4 + 7.0 * 1)
    with pytest.raises(BoardError, match="does not reach back"):
        replay.true_energy_j(log, 9.0, 12.0)


def test_a_line_that_is_not_recorded_is_refused():
    steps = {**read_profile("jetson-nano").replay, "steps": [{"line": "no such line", "duration_s": 1}]}
    with pytest.raises(BoardError, match="has 0 recorded lines"):
        replay.read_steps(steps)


def test_tegrastats_prints_the_mean_since_it_started():
    nano, means = "RAM 1/3964MB CPU@40C POM_5V_IN {}/7 POM_5V_GPU 0/0", Means()
    lines = [means.add(nano.format(power)) for power in (1000, 2000, 600)]
    assert [re.search(r"POM_5V_IN (\S+)", line).group(1) for line in lines] == ["1000/1000", "2000/1500", "600/1200"]
    assert all(line.startswith("RAM 1/3964MB CPU@40C ") for line in lines)


def test_tegrastats_prints_the_time_of_now_where_the_recorded_line_has_one(tmp_path):
    program = tmp_path / "tegrastats.py"
    program.write_text((PROGRAMS / "tegrastats.py").read_text().replace("/opt/replay", str(tmp_path)))
    (tmp_path / "line").write_text("10-08-2026 04:38:21 RAM 1/2MB VDD_IN 5251mW/8535mW\n")
    process = subprocess.Popen([sys.executable, str(program), "--interval", "50"], stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    assert re.fullmatch(r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d RAM 1/2MB VDD_IN 5251mW/5251mW\n", line)
    assert not line.startswith("10-08-2026 04:38:21")


def test_what_is_missing_is_said_without_changing_anything(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("scripts.virtual_board.host.which", lambda name: None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    found = missing_parts()
    assert any(text.startswith("mmdebstrap is missing: sudo ./scripts/virtual-board install") for text in found)
