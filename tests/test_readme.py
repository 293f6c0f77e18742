"""What the README shows is run: its Python blocks, its commands' flags, its links."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from edge_dendrite.cli import app
from parts import ROOT

README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = sorted(
    path
    for path in ROOT.glob("**/*.md")
    if not any(part.startswith(".") or part in ("runs", "build") for part in path.relative_to(ROOT).parts)
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_blocks_run(number, tmp_path):
    code = blocks("python")[number]
    assert len([line for line in code.splitlines() if line.strip()]) < 20, "the promise is: under 20 lines"
    if "ed.Grower" in code:
        code += "assert plan.edits and grower.growths[0].num_dendrites and validate() > 0.9, (plan, grower.growths)\n"
    (tmp_path / "block.py").write_text(code)
    result = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "report.html").exists() == ("write_reports" in code)


def test_there_are_python_blocks():
    assert len(blocks("python")) >= 1


def test_flags_in_shell_blocks_exist():
    lines = [line for block in blocks("bash") for line in block.replace("\\\n", " ").splitlines()]
    commands = [line.split("#")[0] for line in lines if re.search(r"\bedge-dendrite \w+", line)]
    assert commands
    for line in commands:
        words = re.search(r"edge-dendrite (\w+) *([\w-]*)", line).groups()
        group = typer.main.get_command(app).commands[words[0]]
        shown = CliRunner().invoke(app, [*(words if hasattr(group, "commands") else words[:1]), "--help"])
        assert shown.exit_code == 0, line
        for flag in re.findall(r"(?<=\s)--[a-z-]+", line):
            assert flag in shown.stdout, (line, flag)


def test_the_tables_are_what_the_script_writes_from_the_results():
    spec = importlib.util.spec_from_file_location("readme_results", ROOT / "scripts" / "readme_results.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    sections = script.all_sections()
    assert script.render(README, sections) == README
    board = script.AGENT_README.read_text("utf-8")
    assert script.render(board, {"agent": script.agent()}) == board
    result = json.loads(script.RESULT.read_text("utf-8"))
    result["rows"][0]["num_parameters"] += 1
    assert script.render(README, {**sections, "results": script.section(result)}) != README


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target
