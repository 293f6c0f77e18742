"""How many lines of tegrastats does edge-bench read in a second, on one core?

    scripts/benchmarks/tegrastats_speed [--runs 15]

The recorded lines of all releases (tests/edge_bench/data/tegrastats-corpus.jsonl), as they are, and with a fresh number
in the place of each that is measured, so that no line comes twice. Under this Python and under Python 3.6 (.venv36),
in turn. Of each the median of all runs on the clock on the wall and by processor time, and the best run: other programs
make the wall slower, and nothing makes it faster.
Results: scripts/results/agent-parse.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edge_bench.atomic import canonical_json, write_bytes

ROOT = Path(__file__).parent.parent.parent
CORPUS = ROOT / "tests" / "edge_bench" / "data" / "tegrastats-corpus.jsonl"
RESULT = ROOT / "scripts" / "results" / "agent-parse.json"
NUM_LINES = 4000
# Behind a name they belong to it: GR3D, soc012, VIN_SYS_5V0.
NUMBER = re.compile(r"(?<![\w.-])[0-9]+(?=[%CmM@/,\] .]|$)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="over all lines, for each row; default 15")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    pythons = [Path(sys.executable), ROOT / ".venv36" / "bin" / "python"]
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: _write(Path(folder) / name, lines) for name, lines in _sets().items()}
        rows = [
            _row(name, path, python, options.runs)
            for name, path in paths.items()
            for python in pythons
            if python.exists()
        ]
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
    }
    write_bytes(str(RESULT), canonical_json({"machine": machine, "rows": rows}))
    print(f"{'lines':10} {'Python':8} {'median':>10} {'by CPU time':>12} {'best':>10}   lines per second")
    for row in rows:
        figures = (row[key] for key in ("median_lines_per_s", "median_lines_per_cpu_s", "best_lines_per_s"))
        print("{:10} {:8} {:10,.0f} {:12,.0f} {:10,.0f}".format(row["lines"], row["python"], *figures))


def _sets() -> dict[str, list[str]]:
    rows = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
    real = [row["line"] for row in rows if row["kind"] == "real"]
    rng = random.Random(1)
    fresh = [NUMBER.sub(lambda found: _other(found.group(), rng), rng.choice(real)) for _ in range(NUM_LINES)]
    return {"recorded": [real[at % len(real)] for at in range(NUM_LINES)], "fresh": fresh}


def _other(number: str, rng: random.Random) -> str:
    """Of as many digits."""
    return str(rng.randrange(10 ** (len(number) - 1), 10 ** len(number)))


def _write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
    return path


def _row(name: str, lines: Path, python: Path, num_runs: int) -> dict[str, Any]:
    command = [str(python), str(Path(__file__).with_name("tegrastats_speed_child.py")), str(lines), str(num_runs)]
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "deploy"))
    answer = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    num_lines = answer["num_lines"]
    return {
        "lines": name,
        "python": answer["python"],
        "num_lines": num_lines,
        "num_runs": num_runs,
        "median_lines_per_s": num_lines / statistics.median(answer["wall_s"]),
        "median_lines_per_cpu_s": num_lines / statistics.median(answer["processor_s"]),
        "best_lines_per_s": num_lines / min(answer["wall_s"]),
    }


if __name__ == "__main__":
    main()
