"""Times edge_bench's reader of tegrastats under any Python from 3.6 on: tegrastats_speed_child.py LINES NUM_RUNS

Prints the seconds of each run over all lines, of the clock on the wall and of this process's processor time.
"""

import json
import sys
import time
from pathlib import Path

from edge_bench.logs.tegrastats import parse_line


def main(path: str, num_runs: int) -> None:
    lines = Path(path).read_text("utf-8").splitlines()
    walls, processors = [], []
    for _ in range(num_runs + 1):
        wall, processor = time.perf_counter(), time.process_time()
        for line in lines:
            parse_line(line)
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    # The first run warms up.
    result = {"num_lines": len(lines), "wall_s": walls[1:], "processor_s": processors[1:]}
    print(json.dumps(dict(result, python=sys.version.split()[0])))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
