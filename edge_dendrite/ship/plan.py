"""What a deploy will do on a board, decided from what the board has, before anything of a bundle travels."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from edge_bench.bundle import Bundle
from edge_bench.engine import recipe as recipes
from edge_bench.engine import sidecar
from edge_bench.errors import EdgeBenchError
from edge_dendrite.errors import DeployError
from edge_dendrite.ship.ask import BoardFacts
from edge_dendrite.ship.bundle_files import ShippedFile
from edge_dendrite.ship.options import RunOptions

# onnxruntime up to this release loads no more than this opset and IR version (facts of JetPack 4.6's profile). What
# newer releases load is not known here: there the run tells.
_LAST_OF_PYTHON36 = (1, 10)
_ITS_OPSET, _ITS_IR = 15, 8
LOADS = "it loads"
_NUM_NAMED = 4


@dataclass(frozen=True)
class FileToCopy:
    """A file that the board lacks, and how much of it is there from a copy that was cut off."""

    name: str
    num_bytes: int
    num_there: int
    why: str


@dataclass(frozen=True)
class DeployPlan:
    """What will be done on a board: files to copy, whether an engine is built, with what it runs; and what to know."""

    board: str
    facts: str
    folder: str
    bundle: str
    bundle_id: str
    copies: tuple[FileToCopy, ...]
    num_files: int
    builds_engine: bool
    runs_with: str
    notices: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As `--dry-run --json` prints it."""
        return asdict(self)


@dataclass(frozen=True)
class Fit:
    """How a bundle runs on a board: by an engine that is built there, or by onnxruntime; and what to know of it."""

    builds_engine: bool
    runs_with: str
    notices: tuple[str, ...]


def check_fit(bundle: Bundle, facts: BoardFacts, board: str, options: RunOptions) -> Fit:
    """Raise DeployError, with the reason and the remedy, when nothing on the board can load the bundle."""
    _check_memory(bundle, facts, board)
    notices = []
    own_engine = _own_engine(bundle, facts)
    if own_engine == LOADS and not options.provider:
        return Fit(False, f"TensorRT {facts.tensorrt_version}", ("the engine in the bundle loads there",))
    engine_problem = "TensorRT is not asked: --provider chooses among onnxruntime's" if options.provider else ""
    engine_problem = engine_problem or _engine_problem(bundle, facts)
    onnx_problem = _onnxruntime_problem(bundle, facts, options)
    if own_engine and not options.provider:
        notices.append(own_engine)
    if engine_problem and onnx_problem:
        reason = (
            onnx_problem if facts.tensorrt_version is None or options.provider else f"{onnx_problem}; {engine_problem}"
        )
        raise DeployError(f"{board} cannot run this bundle: {reason}")
    if engine_problem and facts.tensorrt_version is not None and not options.provider:
        notices.append(f"no engine is built: {engine_problem}")
    builds = not engine_problem
    runs_with = f"TensorRT {facts.tensorrt_version}" if builds else f"onnxruntime {facts.onnxruntime.version or ''}"
    return Fit(builds, runs_with.strip(), tuple(notices))


def _engine_problem(bundle: Bundle, facts: BoardFacts) -> str:
    """Why no engine is built there; empty when one is."""
    recipe = bundle.manifest.get("engine_recipe")
    if facts.tensorrt_version is None:
        return "no TensorRT with a GPU works there"
    if recipe is None:
        return "the bundle has no recipe for an engine; export it again to have one"
    try:
        recipes.settings_of(recipe)
        recipes.check_release(recipe, facts.tensorrt_version)
    except EdgeBenchError as error:
        return str(error)
    return ""


def _onnxruntime_problem(bundle: Bundle, facts: BoardFacts, options: RunOptions) -> str:
    """Why onnxruntime there does not load it; empty when it may."""
    runtime, model = facts.onnxruntime, bundle.manifest["model"]
    if not runtime.works:
        return f"onnxruntime does not work there ({runtime.reason}); install it: {runtime.install}"
    if options.provider is not None and runtime.providers and options.provider not in runtime.providers:
        known = ", ".join(runtime.providers)
        return f"onnxruntime {runtime.version} there has no {options.provider}; it has {known}"
    release = tuple(int(one) for one in re.findall(r"\d{1,6}", runtime.version or "")[:2])
    if len(release) < 2 or release > _LAST_OF_PYTHON36:
        return ""
    for key, name, limit in (("opset", "opset", _ITS_OPSET), ("ir_version", "IR version", _ITS_IR)):
        value = model.get(key)
        if isinstance(value, int) and value > limit:
            return (
                f"its model has {name} {value}, and onnxruntime {runtime.version} there loads at most {limit}; export "
                "it for that board, with --target or --opset 13"
            )
    return ""


def _own_engine(bundle: Bundle, facts: BoardFacts) -> str:
    """Why the engine inside the bundle does not load there, in words, or LOADS; empty where there is none."""
    if sidecar.SIDECAR not in bundle.manifest["files"]:
        return ""
    try:
        described = sidecar.parse_sidecar(bundle.read(sidecar.SIDECAR))
    except EdgeBenchError as error:
        return str(error)
    return sidecar.why_not_here(described, facts.gpu, facts.tensorrt_version, facts.platform) or LOADS


def _check_memory(bundle: Bundle, facts: BoardFacts, board: str) -> None:
    num_bytes = bundle.manifest["files"][bundle.manifest["model"]["path"]]["num_bytes"]
    available = facts.memory_available_bytes
    if available is not None and num_bytes > available:
        raise DeployError(
            f"{board} cannot run this bundle: its model has {num_bytes / 1e6:,.0f} MB, and {available / 1e6:,.0f} MB "
            "of memory are available there; end other programs, or compress the network further"
        )


def plan_copies(files: list[ShippedFile], missing: dict[str, int]) -> tuple[FileToCopy, ...]:
    """The files to copy, each content once. `missing` says how many bytes of a hash are there already."""
    left, found = dict(missing), []
    for file in files:
        if file.sha256 in left:
            num_there = left.pop(file.sha256)
            why = f"goes on after {num_there:,} bytes" if num_there else "not there"
            found.append(FileToCopy(file.name, file.num_bytes, num_there, why))
    return tuple(found)


def describe_copies(copies: tuple[FileToCopy, ...]) -> str:
    """What is copied, in a line."""
    num_bytes = sum(copy.num_bytes - copy.num_there for copy in copies)
    names = [copy.name + (f" ({copy.why})" if copy.num_there else "") for copy in copies[:_NUM_NAMED]]
    others = f" and {len(copies) - _NUM_NAMED} more" if len(copies) > _NUM_NAMED else ""
    return f"copying {num_bytes:,} bytes: {', '.join(names)}{others}"
