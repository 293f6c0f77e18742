"""The set-up scripts where something is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from parts import ROOT


def make_checkout(tmp_path):
    for name in ("scripts", "pyproject.toml"):
        source = ROOT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    tools = tmp_path / "bin"
    tools.mkdir()
    for program in ("bash", "dirname", "cat", "sha256sum", "cut", "rm", "env", "flock"):
        (tools / program).symlink_to(shutil.which(program))
    return tools


def environment(tmp_path, tools):
    command = [str(tmp_path / "scripts" / "environment")]
    return subprocess.run(command, env={"PATH": str(tools)}, capture_output=True, text=True, check=False, timeout=60)


def test_without_python_it_says_which_one(tmp_path):
    result = environment(tmp_path, make_checkout(tmp_path))
    assert result.returncode == 1
    assert "Python 3.10 or newer was not found" in result.stderr


def test_a_missing_venv_is_said_with_the_command_that_installs_it(tmp_path):
    tools = make_checkout(tmp_path)
    fake = tools / "python3"
    # The real interpreter, in which ensurepip is missing as on a Debian without python3-venv.
    fake.write_text(
        "#!/bin/bash\n"
        'args=()\nfor one in "$@"; do args+=("${one//import venv, ensurepip/import no_such_module}"); done\n'
        f'exec {sys.executable} "${{args[@]}}"\n'
    )
    fake.chmod(0o755)
    result = environment(tmp_path, tools)
    assert result.returncode == 1
    assert "sudo apt-get install python3-venv" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_shell_scripts_are_executable_and_sound():
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file() and path.suffix == ""] + [
        ROOT / ".ci/run"
    ]
    assert len(scripts) >= 5
    for path in scripts:
        assert os.access(path, os.X_OK), path
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0, path
        assert "set -euo pipefail" in path.read_text(), path
