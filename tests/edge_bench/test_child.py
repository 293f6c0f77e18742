"""Children that crash, hang, flood or leave children of their own."""

import io
import os
import signal
import subprocess
import sys
import zipfile

import pytest

from edge_bench import child
from waiting import has_ended, wait_until

LIMIT_S = 120.0


def python(text):
    return [sys.executable, "-c", text]


def run(text, max_bytes=1 << 20, timeout_s=LIMIT_S):
    log, lines = io.BytesIO(), []
    ended = child.run_logged(python(text), log, max_bytes, timeout_s, lines.append)
    return ended, log.getvalue(), lines


def test_a_function_is_called_in_a_child_and_answers():
    answer, reason = child.ask(child.python_call("edge_bench.engine.onnx_nodes:node_at", "", ""), "x", LIMIT_S)
    assert answer is None and "memoryview" in reason  # it ran, with texts
    answer, reason = child.ask(python("print('noise'); print('{\"a\": 1}')"), "x", LIMIT_S)
    assert (answer, reason) == ({"a": 1}, "")


def test_functions_are_found_inside_of_the_one_file_too(tmp_path):
    folder = os.path.dirname(os.path.abspath(child.__file__))
    with zipfile.ZipFile(str(tmp_path / "agent.pyz"), "w") as archive:
        for place, _folders, names in os.walk(folder):
            for name in names:
                if name.endswith(".py"):
                    path = os.path.join(place, name)
                    archive.write(path, os.path.join("edge_bench", os.path.relpath(path, folder)))
    program = (
        "from edge_bench import child; from edge_bench.cuda import driver; "
        "print(child.__file__); print(driver.probe_driver()['reason'])"
    )
    environment = dict(os.environ, PYTHONPATH=str(tmp_path / "agent.pyz"), LD_LIBRARY_PATH=str(tmp_path))
    (tmp_path / "libcuda.so.1").write_bytes(b"no library")
    lines = subprocess.check_output(python(program), env=environment, cwd=str(tmp_path)).decode().splitlines()
    assert "agent.pyz" in lines[0]
    assert lines[1].startswith("no NVIDIA driver here")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("import os; os.abort()", "x crashed Python (signal 6)"),
        ("raise ValueError('why')", "ValueError: why"),
        ("import os; os._exit(7)", "exit code 7"),
        ("pass", "x ended Python without an answer"),
        ("print([1])", "x ended Python without an answer"),
        ("print('x' * (2 << 20))", "x ended Python without an answer"),
    ],
)
def test_no_answer_is_a_reason(text, reason):
    assert child.ask(python(text), "x", LIMIT_S) == (None, reason)


def test_a_question_has_a_time_limit_and_a_program():
    assert child.ask(python("import time; time.sleep(600)"), "x", 2.0) == (None, "x took more than 2 s")
    answer, reason = child.ask(["/no/such/program"], "x", LIMIT_S)
    assert answer is None and reason.startswith("no child process:")


def test_both_streams_reach_the_log_and_the_lines():
    text = "import sys; print('out', flush=True); sys.stderr.write('a\\rb\\nlast without end')"
    ended, log, lines = run(text)
    assert ended.returncode == 0
    assert log == b"out\na\rb\nlast without end"
    assert lines == ended.tail == ["out", "a", "b", "last without end"]


def test_a_flood_is_cut_in_the_log_and_in_memory():
    ended, log, lines = run("for n in range(3000): print('%05d' % n + 'x' * 10000)", max_bytes=1000)
    assert len(log) == 1000
    assert len(ended.tail) == 200 and ended.tail[-1].startswith("02999")
    assert len(lines) == 3000 and max(len(line) for line in lines) <= 4000


def test_characters_cut_by_a_read_stay_whole():
    ended, _, lines = run(
        "import os, time\nfor b in 'gr\\u00fc\\u00df'.encode(): os.write(1, bytes([b])); time.sleep(0.02)"
    )
    assert lines == ["gr\u00fc\u00df"]


@pytest.mark.parametrize("ignores", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"])
def test_the_time_limit_ends_the_whole_group(tmp_path, ignores, monkeypatch):
    monkeypatch.setattr(child, "_GRACE_S", 0.5)
    note = str(tmp_path / "numbers")
    text = (
        ignores + "import os, subprocess, sys, time; sub = subprocess.Popen([sys.executable, '-c', "
        "'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)']);"
        "open(%r, 'w').write('%%d %%d' %% (os.getpid(), sub.pid)); time.sleep(600)" % note
    )
    ended, _, _ = run(text, timeout_s=5.0)
    assert ended.returncode is None
    with open(note) as stream:
        numbers = [int(word) for word in stream.read().split()]
    assert len(numbers) == 2
    wait_until(lambda: all(has_ended(number) for number in numbers))


PARENT = """
import io, sys, time
from edge_bench import child
command = [sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(600)']
command = child.tied(command) if sys.argv[1:] == ["tied"] else command
try:
    child.run_logged(command, io.BytesIO(), 100, 300.0, lambda line: print(line, flush=True))
except KeyboardInterrupt:
    print('interrupted', flush=True)
"""


def start_parent(agent, *arguments):
    """(a program that waits for a child of its own, the child's number); the agent's way undoes an ignored SIGINT."""
    parent = agent.start(*arguments, python=["-c", PARENT])
    return parent, int(parent.stdout.readline())


@pytest.mark.parametrize("arguments", [[], ["tied"]])
def test_an_interrupt_ends_the_group_and_goes_on_upwards(agent, arguments):
    parent, number = start_parent(agent, *arguments)
    parent.send_signal(signal.SIGINT)
    done = agent.finish(parent)
    assert done.out == "interrupted\n" and done.code == 0
    wait_until(lambda: has_ended(number))


def test_what_is_tied_ends_when_its_parent_is_killed(agent):
    parent, number = start_parent(agent, "tied")
    assert os.getpgid(number) == number  # still a group of its own
    parent.kill()
    parent.wait()
    try:
        wait_until(lambda: has_ended(number))
    finally:
        if not has_ended(number):
            os.kill(number, signal.SIGKILL)
        agent.finish(parent)


def test_what_is_tied_answers_like_itself():
    log = io.BytesIO()
    text = "import os, sys; print(sys.argv[1:], os.getpid() == os.getsid(0)); sys.exit(3)"
    ended = child.run_logged(child.tied(python(text) + ["a b", "'"]), log, 1000, LIMIT_S, lambda line: None)
    assert (ended.returncode, log.getvalue().decode()) == (3, "['a b', \"'\"] True\n")
    ended = child.run_logged(child.tied(["/no/such/program"]), log, 1000, LIMIT_S, lambda line: None)
    assert ended.returncode == 1 and ended.tail == ["/no/such/program cannot be started: No such file or directory"]


def test_what_is_tied_to_one_that_is_gone_already_does_not_start():
    command = child.tied(python("print('started')"))
    command[command.index(str(os.getpid()))] = "1" if os.getppid() != 1 and os.getpid() != 1 else "2"
    ended = child.run_logged(command, io.BytesIO(), 1000, LIMIT_S, lambda line: None)
    assert ended.returncode == 1 and ended.tail == ["the program that started this one is gone"]


def test_it_runs_where_it_is_told(tmp_path):
    for place in (str(tmp_path), os.path.abspath(os.sep)):
        log = io.BytesIO()
        options = {} if place == os.sep else {"cwd": place}
        child.run_logged(python("import os; print(os.getcwd())"), log, 1000, LIMIT_S, lambda line: None, **options)
        assert os.path.realpath(log.getvalue().decode().strip()) == os.path.realpath(place)


def test_a_silent_child_is_waited_for_aloud(tmp_path):
    """It goes on when it was waited for twice, however long that takes here."""
    waited, lines, flag = [], [], tmp_path / "go on"

    def wait():
        waited.append(1)
        if len(waited) == 2:
            flag.write_text("")

    code = "import os, time\nwhile not os.path.exists(%r): time.sleep(0.05)\nprint('done')" % str(flag)
    ended = child.run_logged(python(code), io.BytesIO(), 1000, LIMIT_S, lines.append, wait)
    assert ended.returncode == 0 and lines == ["done"] and len(waited) >= 2


# --- lines as they come


def followed(script, should_stop=lambda: False, max_silence_s=30.0):
    lines = []
    why = child.follow(["sh", "-c", script], lambda line, _waiting: lines.append(line), should_stop, max_silence_s)
    return lines, why


def test_lines_of_a_program_and_how_it_ended():
    assert followed("echo one; echo two >&2; exit 4") == (["one", "two"], "ended (exit code 4)")
    assert followed("kill -9 $$")[1] == "ended (signal 9)"
    assert followed("printf 'no end of line'")[0] == []


def test_a_program_that_is_silent_is_ended():
    assert followed("echo one; sleep 300", max_silence_s=0.3) == (["one"], "wrote nothing for 0.3 s")


def test_a_program_that_never_ends_its_lines_fills_no_memory():
    lines, _why = followed("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo after")
    assert lines[-1] == "after" and max(map(len, lines)) <= 4000


def test_following_ends_when_it_should_stop():
    lines, why = followed("while :; do echo x; sleep 0.01; done", iter([False, False, True]).__next__)
    assert why == ""


def test_a_program_that_is_not_there_is_a_reason():
    assert child.follow(["/nonexistent"], print, lambda: False, 1.0).startswith("cannot be started")
