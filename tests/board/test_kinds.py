"""The agent on each kind of board: what it is, what it can measure, and what it says where it may not."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from virtual_boards import MOST_ENERGY_ERROR, relative_error

pytestmark = [pytest.mark.board, pytest.mark.needs("ARM emulator")]

KINDS = {
    "jetson-orin-nano": ("NVIDIA Jetson Orin Nano Developer Kit", "jetson", "tegra234", "36.4.0", "6.1"),
    "jetson-nano": ("NVIDIA Jetson Nano Developer Kit", "jetson", "tegra210", "32.7.1", "4.6.1"),
    "raspberry-pi-5": ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi", "bcm2712", None, None),
}
ENERGY = {"jetson-orin-nano": "ina3221", "jetson-nano": None, "raspberry-pi-5": "vcgencmd"}


@pytest.fixture(scope="module")
def diagnoses(boards, agent):
    """What the doctor says on a board of each kind, all at once."""
    for profile in KINDS:
        boards[profile].scp(agent, f"{boards[profile].name}:")
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda profile: boards[profile].ssh(f"python3 {agent.name} doctor --json").stdout, KINDS)
        return {profile: json.loads(answer) for profile, answer in zip(KINDS, answers, strict=True)}


@pytest.mark.parametrize("profile", KINDS)
def test_the_doctor_names_the_board_and_its_sensor(diagnoses, profile):
    found = diagnoses[profile]
    about = found["board"]
    assert tuple(about[key] for key in ("model", "kind", "soc", "l4t", "jetpack")) == KINDS[profile]
    assert about["emulated"] == "qemu-user"
    assert (found["energy"] or {}).get("source") == ENERGY[profile]
    working = {row["name"]: row["version"] for row in found["runtimes"] if row["works"]}
    assert working["onnxruntime"] == "1.20.1"


def test_a_sensor_for_root_only_is_named_with_reason_and_fix(diagnoses):
    problems = [row for row in diagnoses["jetson-nano"]["problems"] if row["what"] == "energy"]
    assert len(problems) == 1
    assert "iio:device0/in_power0_input cannot be read by this user (Permission denied)" in problems[0]["reason"]
    assert "root" in problems[0]["fix"]


@pytest.mark.parametrize(
    "profile, user, source, rails",
    [("jetson-nano", "root", "ina3221", ["POM_5V_IN"]), ("raspberry-pi-5", "bench", "vcgencmd", None)],
)
def test_energy_of_the_other_sensors(boards, agent, bundles, tmp_path, profile, user, source, rails):
    """On the Nano by the fix that the doctor names: as root."""
    board = boards[profile]
    board.scp(agent, bundles / "small.tar", f"{user}@{board.name}:")
    board.ssh(f"python3 {agent.name} run small.tar --runs 60 --max-other-load 1000", user=user)
    board.scp(f"{user}@{board.name}:measurement.json", tmp_path)
    record = json.loads((tmp_path / "measurement.json").read_text())
    assert (record["status"], record["invalid"], record["check"]["passed"]) == ("complete", [], True)
    energy = record["energy"]
    assert energy["source"] == source
    assert rails is None or energy["rails"] == rails
    assert abs(relative_error(energy, board.power_log)) < MOST_ENERGY_ERROR
