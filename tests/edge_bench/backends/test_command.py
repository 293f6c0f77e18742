"""Real programs as backends."""

import os
import signal
import subprocess
import sys

import pytest

from edge_bench.backends import command
from edge_bench.errors import BackendError
from waiting import has_ended, wait_until


def python(code):
    return [sys.executable, "-c", code]


def test_one_inference_is_one_run_to_its_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "count").write_text("")
    backend = command.CommandBackend(python("open('count', 'a').write('x')"))  # where we are, not at the root
    samples = []
    backend.time_slice(samples, 3, 60.0)
    assert (tmp_path / "count").read_text() == "xxx" and len(samples) == 3 and min(samples) > 0
    assert (backend.name, backend.providers) == ("command", [sys.executable])
    assert backend.inputs == backend.outputs == backend.read_outputs() == []
    backend.close()


def test_words_go_to_the_program_as_they_are(tmp_path):
    target = tmp_path / "words"
    backend = command.CommandBackend(
        python("import sys; open(sys.argv[1], 'w').write(repr(sys.argv[2:]))") + [str(target), "$HOME; rm *", "a b", ""]
    )
    backend.infer()
    assert target.read_text() == repr(["$HOME; rm *", "a b", ""])
    backend.close()


@pytest.mark.parametrize(
    "words, message",
    [
        (python("import sys; sys.exit('no such model')"), "ended with exit code 1: no such model"),
        (python("import os; os.kill(os.getpid(), 11)"), "ended with signal 11"),
        (["/no/such/program"], "/no/such/program cannot be started"),
        (["zero\0byte"], "cannot be started"),
    ],
)
def test_a_run_that_fails_is_an_error(words, message):
    backend = command.CommandBackend(words)
    with pytest.raises(BackendError, match=message):
        backend.infer()
    backend.close()


def test_no_words():
    with pytest.raises(BackendError, match="no command was given"):
        command.CommandBackend([])


def test_the_time_limit_ends_it():
    backend = command.CommandBackend(python("import time; time.sleep(600)"), timeout_s=1.0)
    with pytest.raises(BackendError, match="took more than 1 s and was ended"):
        backend.infer()
    backend.close()


def test_the_log_has_the_latest_run_and_is_bounded(tmp_path):
    log = tmp_path / "log"
    script = tmp_path / "script.py"
    script.write_text("print('first ' * 1000000)")
    backend = command.CommandBackend([sys.executable, str(script)], log_path=str(log))
    backend.infer()
    assert log.stat().st_size == 1 << 20
    script.write_text("print('second')")
    backend.infer()
    assert log.read_text() == "second\n"
    backend.close()
    with pytest.raises(BackendError, match="cannot be written"):
        command.CommandBackend(["true"], log_path=str(tmp_path / "none" / "log"))


def test_an_interrupt_ends_the_whole_group(tmp_path):
    note = tmp_path / "note"
    inner = "import os, time; open(%r, 'w').write(str(os.getpid())); time.sleep(600)" % str(note)
    shell = "import subprocess, sys; subprocess.call([sys.executable, '-c', %r])" % inner
    code = (
        "import signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored below a shell's background job
        "from edge_bench.backends.command import CommandBackend\n"
        "CommandBackend([sys.executable, '-c', sys.argv[2]]).infer()\n"
    )
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(command.__file__))))
    parent = subprocess.Popen([sys.executable, "-c", code, package, shell], stderr=subprocess.PIPE)
    wait_until(lambda: note.exists() and note.read_text())
    parent.send_signal(signal.SIGINT)
    _, errors = parent.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    wait_until(lambda: has_ended(int(note.read_text())), "the end of the program's own child")


def test_a_program_that_leaves_something_behind_ends_when_it_ends(tmp_path):
    note = tmp_path / "number"
    backend = command.CommandBackend(["sh", "-c", "setsid sleep 60 & echo $! > %s; exit 0" % note])
    backend.infer()
    backend.close()
    os.kill(int(note.read_text()), signal.SIGKILL)  # it was still there, so nobody waited for it
