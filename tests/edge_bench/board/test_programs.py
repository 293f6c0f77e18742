"""What nvpmodel and vcgencmd say, by programs that behave like them on the PATH; and what happens when they do not."""

import os

import pytest

from edge_bench.board import power_mode, programs, throttle
from edge_bench.board.state import state_changes
from waiting import has_ended, wait_until

NVPMODEL = """#!/bin/sh
echo "NVPM WARN: fan mode is not set!"
echo "NVPM ERROR: some node of sysfs is missing: /sys/x"
echo "NV Power Mode: MODE_30W_ALL"
echo 2
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A function that puts a program on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])

    def write(name, text):
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)

    return write


def test_warnings_come_before_the_mode(program):
    program("nvpmodel", NVPMODEL)
    assert power_mode.read_power_mode("/")["power_mode"] == "MODE_30W_ALL"


@pytest.mark.parametrize(
    "text, mode",
    [
        ("NV Power Mode: MAXN\n0\n", "MAXN"),
        ("NV Fan Mode:quiet\nNV Power Mode: MODE_15W_6CORE\n2\n", "MODE_15W_6CORE"),
        ("NVPM WARN: \nNV Power Mode: 15W\r\n1", "15W"),
        ("NVPM VERB: Current mode: NV Power Mode: MAXN_SUPER\n2\n", "MAXN_SUPER"),
        ("NV Power Mode:\n", None),
        ("NVPM ERROR: failed to read\n", None),
        ("", None),
    ],
)
def test_the_answer_of_nvpmodel(text, mode):
    assert power_mode.parse_query(text) == mode


def test_a_program_of_the_workstation_says_nothing_of_another_root(program, board_tree):
    program("nvpmodel", NVPMODEL)
    program("vcgencmd", "#!/bin/sh\necho throttled=0x50005\n")
    root = board_tree({"var/lib/nvpmodel/status": "pmode:0003"})
    assert power_mode.read_power_mode(root)["power_mode"] == "pmode:0003"
    assert throttle.throttled_bits(root) is None


@pytest.mark.parametrize("text", ["/bin/sh\nexit 1\n", "/bin/sh\nkill -9 $$\n", "/nowhere/at/all\n", "/bin/sh\n"])
def test_a_program_that_fails_is_no_answer(program, text):
    program("nvpmodel", "#!" + text)
    assert power_mode.read_power_mode("/")["power_mode"] is None


def test_a_program_that_hangs_is_ended(program, tmp_path):
    note = tmp_path / "number"
    program("vcgencmd", "#!/bin/sh\nsleep 600 & echo $! > '%s'; sleep 600\n" % note)
    answer, reason = programs.ask_program("vcgencmd", ["get_throttled"], 0.3)
    assert answer is None and "more than 0.3 s" in reason
    if note.exists() and note.read_text():  # a busy machine may not have come to it
        wait_until(lambda: has_ended(int(note.read_text())))


def test_a_program_that_floods_is_cut(program):
    program("vcgencmd", "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\\\0' x\n")
    answer, _reason = programs.ask_program("vcgencmd", [])
    assert len(answer) <= 65536


def test_the_flags_of_a_raspberry_pi(program):
    program("vcgencmd", '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50005\n')
    bits = throttle.throttled_bits("/")
    assert throttle.throttled_words(bits) == (["under-voltage", "throttled"], ["under-voltage", "throttled"])


@pytest.mark.parametrize(
    "text, bits",
    [
        ("throttled=0x0\n", 0),
        ("throttled=0xe0000", 0xE0000),
        ("VCHI initialization failed\n", None),
        ("throttled=0x\n", None),
        ("throttled=0x123456789\n", None),
        ("throttled=50005", None),
    ],
)
def test_the_answer_of_vcgencmd(text, bits):
    assert throttle.parse_throttled(text) == bits


@pytest.mark.parametrize(
    "before, after, words",
    [
        (0, 0x50005, ["throttled", "under-voltage"]),
        (0x50000, 0x50005, ["throttled", "under-voltage"]),  # it had been before, and is again
        (0, 0x20000, ["clock capped"]),  # came and went during the run
        (0x50005, 0x50005, []),
        (0x50005, 0x50000, []),
        (None, 0x50005, []),
        (0, None, []),
    ],
)
def test_flags_that_were_set_during_a_run(before, after, words):
    changes = state_changes({"throttled_bits": before}, {"throttled_bits": after})
    assert [change.split(";")[0] for change in changes] == [
        "throttled during the run: the Raspberry Pi reports %s" % word for word in words
    ]
    assert all("power supply" in change for change in changes)


CONF = "< PARAM TYPE=FILE NAME=CPU_ONLINE >\n< POWER_MODEL ID=0 NAME=15W >\nx\n< POWER_MODEL NAME=MAXN_SUPER ID=2 >\n"


@pytest.mark.parametrize(
    "text, modes",
    [
        (CONF, {"0": "15W", "2": "MAXN_SUPER"}),
        ("", {}),
        ("< POWER_MODEL ID=x NAME=y >\n< POWER_MODEL ID=1 >", {}),
        ("# < POWER_MODEL ID=1 NAME=5W >", {}),
    ],
)
def test_the_modes_of_a_board(board_tree, text, modes):
    assert power_mode.power_modes(board_tree({"etc/nvpmodel.conf": text})) == modes


def mode(name, status):
    return {"power_mode": name, "power_mode_status": status}


@pytest.mark.parametrize(
    "before, after, change",
    [
        (mode("MAXN", "pmode:0000"), mode("5W", "pmode:0001"), "MAXN -> 5W"),
        (mode("MAXN", None), mode("5W", None), "MAXN -> 5W"),
        (mode("pmode:0000", "pmode:0000"), mode("pmode:0001", "pmode:0001"), "pmode:0000 -> pmode:0001"),
        (mode("MAXN", "pmode:0000"), mode("MAXN", "pmode:0000"), None),
        # nvpmodel did not answer the second time, and the file says that nothing changed.
        (mode("MAXN", "pmode:0000"), mode("pmode:0000", "pmode:0000"), None),
        (mode("MAXN", None), mode(None, None), "MAXN -> not readable"),
        (mode(None, None), mode(None, None), None),
    ],
)
def test_a_change_of_the_power_mode(before, after, change):
    assert power_mode.mode_change(before, after) == change
