from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile

import pytest

from edge_dendrite.ship.agent import agent_bytes, bare, build_agent
from parts import AGENT_PYTHONS, ROOT, find_part


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)


def test_the_build_script_gives_the_same_bytes_twice(tmp_path):
    for name in ("a.pyz", "b.pyz"):
        assert run(ROOT / "scripts" / "build-agent", tmp_path / name, cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.pyz").read_bytes() == (tmp_path / "b.pyz").read_bytes() == agent_bytes()


def test_the_file_holds_the_agent_and_nothing_else(tmp_path):
    build_agent(tmp_path / "edge-bench.pyz")
    assert (tmp_path / "edge-bench.pyz").stat().st_size < 300_000
    with zipfile.ZipFile(tmp_path / "edge-bench.pyz") as archive:
        names = archive.namelist()
        sources = {path.relative_to(ROOT / "deploy").as_posix() for path in (ROOT / "deploy").rglob("*.py")}
        assert set(names) == {"__main__.py"} | sources
        assert names == sorted(names)


@pytest.mark.parametrize(
    "version", [pytest.param(version, marks=pytest.mark.needs(f"python{version}")) for version in AGENT_PYTHONS]
)
def test_the_file_runs_under_many_pythons(tmp_path, version, bundle13):
    """Doctor, and a run up to the missing runtime, under interpreters that have nothing installed."""
    build_agent(tmp_path / "edge-bench.pyz")
    python = find_part(f"python{version}")
    # -S -I: no site-packages, so that it is the bare interpreter of a board.
    doctor = run(python, "-S", "-I", tmp_path / "edge-bench.pyz", "doctor", "--json")
    assert doctor.returncode == 0, doctor.stderr
    assert json.loads(doctor.stdout)["board"]["python"].startswith(version)
    measured = run(
        python, "-S", "-I", tmp_path / "edge-bench.pyz", "run", bundle13.path, "--output", tmp_path / "m.json"
    )
    assert measured.returncode == 1
    assert "onnxruntime cannot be imported" in measured.stderr
    assert "Traceback" not in measured.stderr


def test_the_file_measures_with_the_installed_runtime(tmp_path, bundle13):
    build_agent(tmp_path / "edge-bench.pyz")
    output = tmp_path / "m.json"
    result = run(
        sys.executable,
        tmp_path / "edge-bench.pyz",
        "run",
        bundle13.path,
        "--output",
        output,
        "--runs",
        100,
        "--json",
        "--max-other-load",
        1000,
    )
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    assert record == json.loads(output.read_text())
    assert record["status"] == "complete"
    assert record["check"]["passed"] is True
    assert len(record["latency"]["samples_s"]) == 100
    assert record["latency"]["summary"]["p99_s"] is None
    assert record["bundle"]["id"] == bundle13.id


def statements(content: bytes) -> list[str]:
    """Every statement with its place; docstrings, and the `...` in the place of one, are left out."""
    found = []
    for node in ast.walk(ast.parse(content)):
        for statement in getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []:
            if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                place = f"{statement.lineno}:{statement.col_offset}"
                found.append(place if hasattr(statement, "body") else f"{place} {ast.dump(statement)}")
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "deploy" / "edge_bench").rglob("*.py")), ids=lambda path: path.stem)
def test_what_is_shipped_is_the_source_line_by_line(path):
    content = path.read_bytes()
    shipped = bare(content)
    assert statements(shipped) == statements(content)
    assert not [line for line in shipped.decode().splitlines() if line.strip().startswith("#")]


def test_only_comments_and_docstrings_go():
    source = b'"""About\nit."""\nx = "# no comment"  # a comment\ndef f():  # why\n    """Only this."""\n'
    source += b'def g():\n    """First."""\n    return """# kept\n    too"""\n'
    assert bare(source).decode().splitlines() == [
        "", "", 'x = "# no comment"', "def f():", "    ...", "def g():", "", '    return """# kept', '    too"""'
    ]  # fmt: skip
