"""Programs that stand in for sensors."""

import json
import os
import shlex
import subprocess
import sys
import time

import fake_power
import pytest


@pytest.fixture
def find_program(tmp_path, monkeypatch):
    """A function that puts a program of a name and a text for the shell first on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])

    def write(name, text):
        path = folder / name
        path.write_text("#!/bin/sh\n" + text + "\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    return write


class Programs:
    """Fake sensors and fake tegrastats of one test, which end with it."""

    def __init__(self, scratch):
        self.scratch = str(scratch)
        self._started = []
        self._count = 0

    def spec(self, **values):
        self._count += 1
        path = os.path.join(self.scratch, "spec%d.json" % self._count)
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(values, stream)
        return path

    def words(self, kind, path):
        return [sys.executable, os.path.abspath(fake_power.__file__), kind, path]

    def tegrastats(self, **values):
        """The path of a `tegrastats` that behaves so."""
        folder = os.path.join(self.scratch, "tegrastats%d" % self._count)
        os.mkdir(folder)
        path = os.path.join(folder, "tegrastats")
        words = " ".join(map(shlex.quote, self.words("tegrastats", self.spec(**values))))
        with open(path, "w", encoding="utf-8") as stream:
            stream.write('#!/bin/sh\nexec %s "$@"\n' % words)
        os.chmod(path, 0o755)
        return path

    def sensor(self, **values):
        """Start a sensor; returns the path of its log when it has written its first value."""
        log = os.path.join(self.scratch, "log%d" % self._count)
        child = subprocess.Popen(self.words("sensor", self.spec(log=log, **values)))
        self._started.append(child)
        limit_s = time.monotonic() + 60
        while not (os.path.exists(log) and os.path.getsize(log)):
            assert child.poll() is None and time.monotonic() < limit_s
            time.sleep(0.01)
        return log

    def close(self):
        for child in self._started:
            child.kill()
            child.wait()


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    made = Programs(tmp_path_factory.mktemp("power"))
    yield made
    made.close()
