"""What trtexec writes with --exportTimes: a list of queries with time stamps and durations in milliseconds."""

from typing import Any, Dict, List

from edge_bench import atomic
from edge_bench.errors import EdgeBenchError


def read_times(data: bytes, warmup_s: float) -> Dict[str, Any]:
    """latency_s and compute_s of every query that starts `warmup_s` or later, and num_warmup_cut.

    Raises EdgeBenchError when it is no such file, or all of it is warm-up.
    """
    try:
        queries = [one for one in atomic.parse_json(data) if one["startComputeMs"] >= 1e3 * warmup_s]
        num_queries = len(atomic.parse_json(data))
        parts: List[List[float]] = [[1e-3 * one[key] for key in ("h2dMs", "computeMs", "d2hMs")] for one in queries]
    except (ValueError, TypeError, KeyError) as error:
        raise EdgeBenchError("not the times that trtexec exports: %r" % error) from error
    if not parts:
        raise EdgeBenchError("all %d queries started within the warm-up of %g s" % (num_queries, warmup_s))
    return {
        "latency_s": [sum(one) for one in parts],
        "compute_s": [one[1] for one in parts],
        "num_warmup_cut": num_queries - len(parts),
    }
