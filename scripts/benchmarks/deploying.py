"""What deploying costs beside the run itself, through a real sshd on loopback.

    scripts/benchmarks/deploying [--rounds 7] [--part overhead unchanged resume]

overhead   a bundle of 1 MB that the board does not have: the whole command, less what the agent takes for the same run
           by itself, less a bare ssh connection; of each the median of interleaved rounds
unchanged  the same again: files and bytes that travel
resume     200 MB, cut at about half: bytes that travel the second time

Each part is a function of PARTS; it gets a board, a folder and the options, and gives its row.
Results: scripts/results/deploying.json and .md, when all parts ran. Exits with 1 when an aim is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from board_store import large_file, store_on
from cut_proxy import CutProxy  # type: ignore[import-not-found]
from edge_bench.atomic import canonical_json, write_bytes
from edge_bench.board.describe import describe_board
from edge_bench.stats import median
from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.config import ExportConfig
from edge_dendrite.errors import DeployError
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.progress import silent
from edge_dendrite.ship.agent import build_agent
from edge_dendrite.ship.bundle_files import ShippedFile
from loopback_board import Board  # type: ignore[import-not-found]
from scripts.benchmarks.environment import source

RESULTS = Path(__file__).parent.parent / "results"
RUN = ["--runs", "100", "--max-other-load", "1000"]
LARGE_BYTES = 200 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="of every command that is timed; default 7")
    parser.add_argument("--part", nargs="+", choices=sorted(PARTS), default=list(PARTS), help="default: all")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "board").mkdir()
        board = Board(folder / "board")
        board.start()
        try:
            rows = {part: PARTS[part](board, folder, options) for part in options.part}
        finally:
            board.stop()
    described = describe_board()
    result = {
        "rows": rows,
        "environment": {
            "cpu": described["cpu"],
            "num_cpus": described["num_cpus"],
            "load_before": load_before,
            "source": source(),
        },
    }
    if set(options.part) == set(PARTS):
        write_bytes(str(RESULTS / "deploying.json"), canonical_json(result))
        write_bytes(str(RESULTS / "deploying.md"), _table(result).encode())
    print(_table(result))
    missed = _missed(rows)
    if missed:
        raise SystemExit(f"not reached: {', '.join(missed)}")


def _missed(rows: dict[str, Any]) -> list[str]:
    """The aims that these rows do not reach."""
    aims = {
        "overhead below 2 s": "overhead" in rows and rows["overhead"]["overhead_s"] >= 2.0,
        "no file sent again": "unchanged" in rows and rows["unchanged"]["again"]["num_files"] > 0,
        # What ssh itself adds to every megabyte.
        "nothing that arrived sent again": "resume" in rows
        and rows["resume"]["num_bytes_too_many"] > rows["resume"]["num_bytes"] / 100,
    }
    return [name for name, is_missed in aims.items() if is_missed]


def _overhead(board: Any, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    bundle, agent = _bundle(folder / "one-megabyte"), folder / "edge-bench.pyz"
    build_agent(agent)
    commands: dict[str, Callable[[int], list[str]]] = {
        "deploy": lambda number: _deploy(board, bundle, folder, folder / f"there {number}"),
        "run alone": lambda number: [sys.executable, str(agent), "run", str(bundle), "--output", "m.json", *RUN],
        "ssh alone": lambda number: ["ssh", "-F", str(board.ssh_config), "-p", str(board.port), "127.0.0.1", "true"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(options.rounds):
        for name in list(commands)[:: 1 if number % 2 == 0 else -1]:
            times[name].append(_timed(commands[name](number), folder))
    medians = {name: median(values) for name, values in times.items()}
    return {
        "num_rounds": options.rounds,
        "bundle_bytes": sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()),
        "times_s": times,
        "median_s": medians,
        "overhead_s": medians["deploy"] - medians["run alone"] - medians["ssh alone"],
    }


def _unchanged(board: Any, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    bundle, there = _bundle(folder / "one-megabyte"), folder / "there again"
    proxy = CutProxy(board.port)
    counts = []
    with board.known_as(proxy.port):
        for _ in range(2):
            proxy.reset()
            command = _deploy(board, bundle, folder, there)
            command[command.index(board.target)] = board.target.replace(str(board.port), str(proxy.port))
            before = _names(there)
            _timed(command, folder)
            counts.append({"num_files": len(_names(there) - before), "num_bytes": proxy.num_up})
    proxy.close()
    return {"first": counts[0], "again": counts[1]}


def _names(there: Path) -> set[tuple[str, int]]:
    """Files of bundles and agent on the board, each with the time at which it came."""
    found = [*there.glob("objects/*"), *there.glob("edge-bench-*")]
    return {(path.name, path.stat().st_ino) for path in found}


def _resume(board: Any, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    file = large_file(folder / "large", LARGE_BYTES)
    proxy = CutProxy(board.port)
    with board.known_as(proxy.port):
        proxy.reset(cut_after=file.num_bytes // 2)
        with contextlib.suppress(DeployError):
            _bring(board, proxy.port, folder / "there", file)
        time.sleep(2.0)
        num_there = (folder / "there" / "parts" / file.sha256).stat().st_size
        proxy.reset()
        began = time.perf_counter()
        _bring(board, proxy.port, folder / "there", file)
        num_seconds = time.perf_counter() - began
    proxy.close()
    return {
        "num_bytes": file.num_bytes,
        "num_there": num_there,
        "num_bytes_again": proxy.num_up,
        "num_bytes_too_many": proxy.num_up - (file.num_bytes - num_there),
        "again_s": num_seconds,
    }


PARTS: dict[str, Callable[[Any, Path, argparse.Namespace], dict[str, Any]]] = {
    "overhead": _overhead,
    "unchanged": _unchanged,
    "resume": _resume,
}


def _bundle(folder: Path) -> Path:
    if not folder.exists():
        torch.manual_seed(0)
        layers = [torch.nn.Flatten(), torch.nn.Linear(784, 310), torch.nn.ReLU(), torch.nn.Linear(310, 10)]
        model = CompressedModel(
            torch.nn.Sequential(*layers).eval(), "one-megabyte", "baseline", "random weights", (1, 28, 28)
        )
        export_bundle(model, folder, ExportConfig(opset=15))
    return folder


def _deploy(board: Any, bundle: Path, folder: Path, there: Path) -> list[str]:
    words = [sys.executable, "-m", "edge_dendrite", "deploy", bundle, board.target, "--again", "--out", folder / "m"]
    words += ["--ssh-config", board.ssh_config, "--python", sys.executable, "--remote-dir", there]
    return [str(word) for word in words] + RUN


def _timed(command: list[str], folder: Path) -> float:
    """Seconds that a command takes; it has to end well, or with a measurement that is invalid on a busy machine."""
    root = Path(__file__).parent.parent.parent
    paths = [str(root), str(root / "deploy"), os.environ.get("PYTHONPATH", "")]
    began = time.perf_counter()
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=":".join(paths))
    )
    if ended.returncode not in (0, 4):
        raise SystemExit(f"{command} ended with {ended.returncode}: {ended.stderr}")
    return time.perf_counter() - began


def _bring(board: Any, port: int, there: Path, file: ShippedFile) -> None:
    with store_on(board, port=port, remote_dir=there) as files:
        files.bring("0" * 64, files.look("0" * 64, [file]), 1, silent)


def _table(result: dict[str, Any]) -> str:
    rows, environment = result["rows"], result["environment"]
    lines = [
        "Deploying through a real sshd on loopback. Written by `scripts/benchmarks/deploying`. "
        f"{environment['cpu']}, {environment['num_cpus']} shared cores, load {environment['load_before']:.1f} before.",
        "",
        "| what | measured | to reach |",
        "|---|---:|---:|",
    ]
    if "overhead" in rows:
        one = rows["overhead"]
        parts = ", ".join(f"{name} {value:.2f} s" for name, value in one["median_s"].items())
        lines.append(
            f"| a bundle of {one['bundle_bytes'] / 1e6:.1f} MB, beyond the run and a bare ssh ({parts}; medians of "
            f"{one['num_rounds']}) | {one['overhead_s']:.2f} s | 2 s |"
        )
    if "unchanged" in rows:
        one = rows["unchanged"]
        lines.append(
            f"| unchanged, deployed again: files sent (first: {one['first']['num_files']}) "
            f"| {one['again']['num_files']} | 0 |"
        )
        lines.append(
            f"| bytes of the whole ssh connection then (first: {one['first']['num_bytes']:,}) "
            f"| {one['again']['num_bytes']:,} | |"
        )
    if "resume" in rows:
        one = rows["resume"]
        lines.append(
            f"| {one['num_bytes']:,} bytes, cut when {one['num_there']:,} were there: bytes sent again beyond the rest "
            f"(with ssh's own; all of it {one['again_s']:.1f} s) | {one['num_bytes_too_many']:,} | 0 |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
