"""What a board answers is data: bounded, checked, never run, and one clear line says what was wrong with it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from edge_bench.doctor.diagnose import diagnose
from edge_dendrite.errors import DeployError
from edge_dendrite.ship.ask import parse_diagnosis
from edge_dendrite.ship.deploy import deploy

pytestmark = pytest.mark.needs("sshd")


def hostile_python(folder: Path, *, store: str = "", doctor: str = "", run: str = "") -> str:
    """A program in the place of the board's Python. `store` speaks for our own programs there, the others for the
    agent; what is not given is done as it should be, the agent's doctor from a record.
    """
    good = folder / "doctor.json"
    if not good.exists():
        good.write_text(json.dumps(diagnose()))
    program = folder / "hostile-python"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys, time\n"
        "args = sys.argv[1:]\n"
        "if args[0] == '-c':\n"
        "    token = args[2]\n"
        f"    {store or 'pass'}\n"
        f"    os.execv({sys.executable!r}, [{sys.executable!r}, *args])\n"
        f"good = open({str(good)!r}).read()\n"
        f"if args[1] == 'doctor':\n    {doctor or 'print(good)'}\n    sys.exit()\n"
        f"output = args[args.index('--output') + 1]\n{run}\n"
    )
    program.chmod(0o755)
    return str(program)


def refusal(board, bundle, tmp_path, python: str) -> str:
    """The one line that the user gets; nothing else was shown that could steer a terminal, nothing was written."""
    lines: list[str] = []
    with pytest.raises(DeployError) as caught:
        deploy(bundle.path, board.target, tmp_path / "m.json", ssh=board.options(python=python), log=lines.append)
    assert not (tmp_path / "m.json").exists()
    assert all(line.isprintable() and len(line) <= 4096 for line in [*lines, str(caught.value)])
    assert len(str(caught.value)) < 1500
    return str(caught.value)


def answers(text: str) -> str:
    """A store that reads nothing and answers so, again and again."""
    line = f"'\\n' + (token + ' ' + {text!r} + '\\n') * 9"
    return f"sys.stdout.write({line}); sys.stdout.flush(); time.sleep(0.2); sys.exit()"


@pytest.mark.parametrize(
    ("store", "message"),
    [
        (answers("no json"), "its answer is no JSON"),
        (answers("[1, 2]"), "its answer is no object"),
        (answers("[" * 100_000), "its answer is no JSON"),
        (answers('{"folder": 1' + "0" * 5000 + "}"), "more than 64 bits"),
        (answers('{"folder": "relative"}'), "impossible folder"),
        (answers('{"folder": "/tmp/\\u001b[2J"}'), "impossible folder"),
        (answers("{}"), "impossible folder"),
        (answers('{"error": "\\u001b]0;owned\\u0007 no\\nway"}'), r"\?\]0;owned\? no way"),
        (answers('{"folder": "/tmp"}'), "is_there is missing"),
        ("[sys.stdout.write('x' * 65536) for _ in iter(int, 1)]", "answered more than|talks without being asked"),
        ("[sys.stdout.write('no token\\n' * 999) for _ in iter(int, 1)]", "before an answer|talks without being asked"),
        ("[sys.stderr.write('x' * 65536) for _ in range(1000)]; sys.exit(7)", "not read further"),
        ("sys.exit(97)", "no Python 3.6 or newer"),
        ("sys.exit(98)", "the one there is older"),
        ("pass; sys.exit(0)", "exit code 0"),
    ],
)
def test_a_store_that_answers_nonsense(board, bundle13, tmp_path, store, message):
    assert re.search(message, refusal(board, bundle13, tmp_path, hostile_python(board.folder, store=store)))


@pytest.mark.parametrize(
    ("doctor", "message"),
    [
        ("print('{}')", "not what edge-bench doctor says"),
        ("print('[' * 100000)", "no JSON"),
        ("print('x' * 10_000_000)", "answered more than"),
        ("[print('x' * 65536) for _ in iter(int, 1)]", "answered more than"),
        ('print(good.replace(\'"works": true\', \'"works": "yes"\'))', "runtimes.works"),
        ("print(good.replace('\"version\": 1', '\"version\": 2'))", "schema"),
        ("sys.stderr.write('\\x1b[2Jbroken\\n'); sys.exit(1)", r"asking the board what it is failed"),
        ('print(good.replace(\'"works": true\', \'"works": false, "reason": "\\\\u001b[2J gone"\'))', "gone"),
    ],
)
def test_a_doctor_that_answers_nonsense(board, bundle13, tmp_path, doctor, message):
    assert message in refusal(board, bundle13, tmp_path, hostile_python(board.folder, doctor=doctor))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("open(output, 'w').write('{}')", "no measurement"),
        ("open(output, 'w').write('[' * 100000)", "no measurement"),
        ("open(output, 'wb').write(bytes(range(256)))", "no measurement"),
        (r"sys.stderr.write('\x1b]0;owned\x07\x1b[2J\n'); sys.exit(1)", "run failed"),
        ("sys.stderr.write('x' * 10_000_000); sys.exit(1)", "run failed"),
        ("[sys.stderr.write('x' * 65536) for _ in iter(int, 1)]", "not read further"),
        ("[sys.stdout.write('x' * 65536) for _ in range(1000)]; sys.exit(1)", "run failed"),
        ("pass", "run failed"),
        ("os.symlink('/etc/hostname', output)", "run failed"),
        ("os.mkfifo(output)", "run failed"),
        ("os.mkdir(output)", "run failed"),
        ("open(output, 'wb').truncate(1 << 40)", "run failed"),
    ],
)
def test_a_run_that_leaves_nonsense(board, bundle13, tmp_path, run, message):
    assert message in refusal(board, bundle13, tmp_path, hostile_python(board.folder, run=run))


def test_folders_that_became_links_are_not_followed(board, bundle13, tmp_path):
    there, elsewhere = tmp_path / "there", tmp_path / "elsewhere"
    there.mkdir()
    elsewhere.mkdir()
    (there / "objects").symlink_to(elsewhere)
    options = board.options(remote_dir=str(there))
    with pytest.raises(DeployError, match="objects is not a folder; remove it"):
        deploy(bundle13.path, board.target, tmp_path / "m.json", ssh=options)
    assert not list(elsewhere.iterdir())


def test_what_a_doctor_says_is_cut_and_printable():
    record = diagnose()
    record["board"]["model"] = "\x1b[2J" + "x" * 10_000
    facts = parse_diagnosis(json.dumps(record).encode(), "board")
    assert facts.line().isprintable()
    assert len(facts.line()) < 1000


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()] + [path.name for path in folder.glob("runs/*")]


@pytest.mark.parametrize("clean", [False, True])
def test_a_board_that_cannot_say_what_it_is_keeps_nothing_of_the_deploy(board, bundle13, tmp_path, clean):
    there = tmp_path / "there"
    ssh = board.options(python=hostile_python(board.folder, doctor="sys.exit(1)"), remote_dir=str(there))
    with pytest.raises(DeployError, match="asking the board what it is"):
        deploy(bundle13.path, board.target, tmp_path / "m.json", ssh=ssh, clean=clean)
    assert [name.partition("-")[0] for name in left_in(there)] == ([] if clean else ["edge"])


def test_what_could_not_be_tidied_up_is_said(board, bundle13, tmp_path):
    there, lines = tmp_path / "there", []
    spoil = f"import shutil; shutil.rmtree({str(there / 'runs')!r}); open({str(there / 'runs')!r}, 'w')"
    ssh = board.options(python=hostile_python(board.folder, doctor=f"{spoil}; sys.exit(1)"), remote_dir=str(there))
    with pytest.raises(DeployError, match="asking the board what it is"):
        deploy(bundle13.path, board.target, tmp_path / "m.json", ssh=ssh, log=lines.append, clean=True)
    assert f"tidying up: {there / 'runs'}: Not a directory; all of this deploy may be left in {there}" in lines[-1]
