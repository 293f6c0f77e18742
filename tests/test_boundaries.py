"""Who may import what (the house rules of edge_dendrite/README.md), checked on the code and in real interpreters."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = ROOT / "edge_dendrite"
AGENT = ROOT / "deploy" / "edge_bench"
TORCH_FREE = [
    HOST / name
    for name in (
        "__init__.py",
        "roles.py",
        "lock.py",
        "notebook.py",
        "paired.py",
        "importing.py",
        "errors.py",
        *(f"config/{path.name}" for path in (HOST / "config").glob("*.py")),
        "boards.py",
        "progress.py",
        "terminal.py",
        "export/bundle_files.py",
        "export/signing.py",
    )
]


def imports_of(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Full names of the modules that a file imports; those under TYPE_CHECKING do not count."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize("path", sorted(AGENT.rglob("*.py")), ids=lambda path: path.name)
def test_agent_imports_only_the_standard_library_at_import_time(path):
    allowed = set(sys.stdlib_module_names) | {"edge_bench"}
    assert roots(imports_of(path, top_level_only=True)) <= allowed


@pytest.mark.parametrize("path", sorted(AGENT.rglob("*.py")), ids=lambda path: path.name)
def test_agent_never_imports_the_host(path):
    assert not roots(imports_of(path)) & {"edge_dendrite", "edge_profiles"}


@pytest.mark.parametrize("path", sorted(HOST.rglob("*.py")), ids=lambda path: str(path.relative_to(HOST)))
def test_host_uses_only_the_shared_parts_of_the_agent(path):
    shared = {"edge_bench", "edge_bench.atomic", "edge_bench.bundle", "edge_bench.errors", "edge_bench.schema"}
    shared |= {"edge_bench.stats", "edge_bench.render", "edge_bench.doctor.diagnose"}
    shared |= {"edge_bench.manifest", "edge_bench.signature"}  # one format of bundles
    if path == HOST / "export" / "tensorrt.py":  # one builder of engines for both sides
        shared |= {"edge_bench.engine", "edge_bench.engine.recipe", "edge_bench.engine.sidecar"}
    if path == HOST / "ship" / "plan.py":  # where an engine loads, and what a recipe needs, is said in one way
        shared |= {"edge_bench.engine", "edge_bench.engine.recipe", "edge_bench.engine.sidecar"}
    if path in (HOST / "report" / "pool.py", HOST / "history" / "facts.py"):  # one meaning of a figure everywhere
        shared |= {"edge_bench.verdict", "edge_bench.verdict.figures"}
    if path.is_relative_to(HOST / "report" / "comparison"):  # one comparison, and one JUnit writer, for both programs
        shared |= {"edge_bench.verdict", "edge_bench.verdict.figures", "edge_bench.verdict.junit"}
    used = {name for name in imports_of(path) if name.partition(".")[0] == "edge_bench"}
    assert used <= shared


@pytest.mark.parametrize("path", sorted(HOST.rglob("*.py")), ids=lambda path: str(path.relative_to(HOST)))
def test_onnx_stays_in_export_and_heavy_runtimes_stay_out(path):
    names = roots(imports_of(path))
    if path.parent.name != "export":
        assert not names & {"onnx", "onnxruntime"}
    assert not names & {"tensorrt", "pycuda", "cuda", "jtop", "torchvision", "timm", "pickle", "perforatedbp"}


@pytest.mark.parametrize(
    "path",
    [*TORCH_FREE, *(path for room in ("ship", "report", "history") for path in sorted((HOST / room).rglob("*.py")))],
    ids=lambda path: str(path.relative_to(HOST)),
)
def test_what_works_without_torch_does_not_name_it(path):
    assert not roots(imports_of(path)) & {"torch", "onnx", "onnxruntime"}


@pytest.mark.parametrize(
    "statement",
    [
        "import edge_dendrite",
        "import edge_dendrite; edge_dendrite.deploy",
        "import edge_dendrite; edge_dendrite.build_report",
        "import edge_dendrite; edge_dendrite.compare",
        "import edge_dendrite; edge_dendrite.Bundle.verify",
        "import edge_dendrite.cli, edge_dendrite.boards, edge_dendrite.ship.doctor, edge_dendrite.report.files",
        "import edge_dendrite.history.gather, edge_dendrite.history.page, edge_dendrite.history.export",
    ],
)
def test_no_torch_and_no_onnx_is_loaded(statement):
    assert not modules_after(statement) & {"torch", "onnx", "onnxruntime"}


def test_a_command_line_that_draws_nothing_loads_nothing_to_draw_with():
    assert not modules_after("import edge_dendrite.cli, edge_dendrite.ship.deploy") & {"matplotlib", "jinja2"}


def test_public_names_all_exist():
    import edge_dendrite as ed

    assert sorted(ed.__all__) == ed.__all__
    assert all(callable(getattr(ed, name)) for name in ed.__all__)
    # Subpackages that are loaded along the way must not hide a public function.
    assert all(callable(getattr(ed, name)) for name in ed.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(ed, "no_such_" + "name")


def test_only_the_command_line_and_renderers_print():
    printers = set()
    for path in HOST.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "typer.echo", "sys.stdout.write"):
                printers.add(path.relative_to(HOST).as_posix())
    commands = {f"commands/{path.name}" for path in (HOST / "commands").glob("*.py")}
    assert printers <= {"cli.py", "ship/agent.py", "ship/one_board.py", *commands}


def test_torchvision_and_timm_are_not_installed():
    from importlib.util import find_spec

    assert find_spec("torchvision") is None
    assert find_spec("timm") is None


def test_agent_has_python36_syntax_and_library():
    result = subprocess.run(
        [Path(sys.executable).parent / "vermin", "-q", "-t=3.6-", "--eval-annotations", "--violations", str(AGENT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_the_floors_only_look_down():
    floors = ["models", "data", "train", "compress", "export", "ship", "report", "history"]
    for path in HOST.rglob("*.py"):
        room = path.relative_to(HOST).parts[0]
        if room in floors:
            above = {f"edge_dendrite.{name}" for name in floors[floors.index(room) + 1 :]}
            names = imports_of(path)
            if room == "models":
                # Networks are made of layers, which know of no other room (below): nothing comes full circle.
                names = {name for name in names if not name.startswith("edge_dendrite.compress.layers.")}
            assert not {name for name in names if ".".join(name.split(".")[:2]) in above}, path


def test_the_rooms_of_compressing():
    may_enter = {
        "coupling": set(),
        "layers": set(),
        "connections": {"layers"},
        "dendrites": {"layers", "connections"},
        "scores": {"coupling"},
        "neurons": {"coupling", "scores", "layers"},
    }
    for room, doors in may_enter.items():
        closed = {f"edge_dendrite.compress.{name}" for name in may_enter.keys() - doors - {room}}
        for path in (HOST / "compress" / room).glob("*.py"):
            assert not {name for name in imports_of(path) if ".".join(name.split(".")[:3]) in closed}, path


def test_the_layers_know_only_themselves():
    """Networks in `models` are made of them, and `compress` knows `models`."""
    for path in (HOST / "compress" / "layers").glob("*.py"):
        inside = {name for name in imports_of(path) if name.startswith("edge_dendrite.")}
        others = {name for name in inside if not name.startswith("edge_dendrite.compress.layers.")}
        assert others <= {"edge_dendrite.errors"}, path


def test_every_folder_of_the_host_is_packaged():
    tomllib = pytest.importorskip("tomllib")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in HOST.rglob("__init__.py")}
    folders |= {".".join(path.parent.relative_to(AGENT.parent).parts) for path in AGENT.rglob("__init__.py")}
    packaged = {name for name in settings["tool"]["setuptools"]["packages"] if name != "edge_profiles"}
    assert folders == packaged


# Who may enter which room of the agent. What lies beside the rooms (bundles, the schema, child processes, texts) is
# open to all; `commands` may enter each of them, and nobody enters `commands` but the command line.
AGENT_ROOMS = {
    "stats": set(),
    "board": set(),
    "cuda": set(),
    "logs": set(),
    "engine": {"cuda", "logs"},
    "power": {"board", "logs", "stats"},
    "backends": {"cuda", "engine", "logs"},
    "verdict": {"stats"},
    "doctor": {"board", "cuda", "engine", "power"},
    "monitor": {"board", "logs", "power"},
    "measure": {"backends", "board", "engine", "power", "stats"},
    "images": {"backends", "measure", "stats"},
}


def rooms_of_the_agent(path: Path) -> set[str]:
    """The folders of the agent that a file imports from, its own left out."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("edge_bench.")]
    return {part[1] for part in parts if (AGENT / part[1]).is_dir()} - {path.parent.name}


@pytest.mark.parametrize("path", sorted(AGENT.rglob("*.py")), ids=lambda path: str(path.relative_to(AGENT)))
def test_the_rooms_of_the_agent(path):
    room = path.relative_to(AGENT).parts[0]
    if room == "commands":
        allowed = set(AGENT_ROOMS)
    elif path.parent == AGENT:
        allowed = {"commands"} if path.name in ("cli.py", "__main__.py") else set()
    else:
        allowed = AGENT_ROOMS[room]
    assert rooms_of_the_agent(path) <= allowed


def test_the_rooms_of_the_agent_are_all_named():
    folders = {path.parent.name for path in AGENT.glob("*/__init__.py")}
    assert folders == AGENT_ROOMS.keys() | {"commands"}
