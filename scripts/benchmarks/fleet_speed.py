"""How long do eight boards take against one, where the host is not the limit?

    scripts/benchmarks/fleet_speed [--boards 8] [--rounds 3] [--wait 20]

Each board is a real sshd on loopback with keys, port and folder of its own. Before it runs the agent it waits `--wait`
seconds: a board's own work costs a host nothing, while here all of them share its processors. What the host does is
done for real: connecting, copying agent and bundle, hashing, running, fetching, fleet.json. Each round measures one
board, then all others, with empty folders there; medians over the rounds.
Results: scripts/results/fleet.json, fleet.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edge_bench.atomic import canonical_json, write_bytes
from edge_bench.board.describe import describe_board
from edge_dendrite.ship.boards_file import FleetBoard, read_boards
from edge_dendrite.ship.fleet import deploy_fleet
from edge_dendrite.ship.options import RunOptions
from loopback_boards import LoopbackBoards, waiting_python
from scripts.benchmarks.environment import source

ROOT = Path(__file__).parent.parent.parent
RESULT = ROOT / "scripts" / "results" / "fleet.json"
AIM = 2.0
# The agents disturb each other here, which says nothing about boards.
OPTIONS = RunOptions(num_runs=50, max_other_load=1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wait", type=float, default=20.0, help="seconds that each board waits; default 20")
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder))
        rounds = [measure(Path(folder) / f"round{at}", bundle, given.boards, given.wait) for at in range(given.rounds)]
    record = {
        "num_boards": given.boards,
        "num_rounds": given.rounds,
        "wait_s": given.wait,
        "rounds": rounds,
        "one_s": statistics.median(one["one_s"] for one in rounds),
        "all_s": statistics.median(one["all_s"] for one in rounds),
        "ratio": statistics.median(one["all_s"] / one["one_s"] for one in rounds),
        "machine": {
            "cpu": describe_board()["cpu"],
            "num_cpus": os.cpu_count(),
            "load_before": load_before,
            "load_after": os.getloadavg()[0],
        },
        "source": source(),
    }
    write_bytes(str(RESULT), canonical_json(record))
    text = describe(record)
    write_bytes(str(RESULT.with_suffix(".md")), text.encode())
    sys.stdout.write(text)
    if record["ratio"] > AIM:
        sys.exit(1)


def make_bundle(folder: Path) -> Path:
    """A bundle of the smallest built-in network; what is in it does not matter here."""
    from edge_dendrite.compress.model import CompressedModel
    from edge_dendrite.config import ExportConfig
    from edge_dendrite.data.digits import read_digits
    from edge_dendrite.export.bundle import export_bundle
    from edge_dendrite.models.convnets import DigitsCNN
    from edge_dendrite.roles import BASELINE

    data = read_digits()
    model = CompressedModel.describe(DigitsCNN(), data, name="digits-cnn", source="digits-cnn", role=BASELINE)
    return Path(export_bundle(model, folder / "digits", ExportConfig(opset=13), data=data).path)


def measure(folder: Path, bundle: Path, num_boards: int, wait_s: float) -> dict[str, float]:
    """Seconds for one board, and for all of them."""
    folder.mkdir()
    with LoopbackBoards(folder) as boards:
        python = waiting_python(folder / "waiting-python", wait_s)
        for at in range(num_boards + 1):
            boards.add(f"board{at}", python=python)
        first, *rest = read_boards(boards.toml).choose()
        return {"one_s": time_of([first], bundle, folder / "one"), "all_s": time_of(rest, bundle, folder / "all")}


def time_of(boards: list[FleetBoard], bundle: Path, out: Path) -> float:
    start_s = time.monotonic()
    result = deploy_fleet([bundle], boards, out, jobs=len(boards), options=OPTIONS)
    duration_s = time.monotonic() - start_s
    failed = [board for board in result.boards if board.state != "measured"]
    if failed:
        raise SystemExit(f"{failed[0].name}: {failed[0].state}: {failed[0].reason}")
    return duration_s


def describe(record: dict[str, Any]) -> str:
    """The result as a page."""
    machine = record["machine"]
    lines = [
        "# Many boards at once",
        "",
        f"`edge-dendrite deploy --boards` with {record['num_boards']} boards on loopback (a real sshd each) that wait "
        f"{record['wait_s']:g} s before they run; {record['num_rounds']} rounds, medians.",
        "",
        "| boards | time | against one |",
        "| ---: | ---: | ---: |",
        f"| 1 | {record['one_s']:.1f} s | |",
        f"| {record['num_boards']} | {record['all_s']:.1f} s | {record['ratio']:.2f} times (aim: at most {AIM:g}) |",
        "",
        f"Host and boards share {machine['num_cpus']} cores ({machine['cpu']}), load {machine['load_before']:.1f} "
        f"before and {machine['load_after']:.1f} after; real boards bring their own.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
