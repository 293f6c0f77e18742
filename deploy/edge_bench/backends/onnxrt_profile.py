"""onnxruntime's profile (`enable_profiling`): a session of its own, and the file that it writes, read line by line.

The file is a JSON list with an event a line, the same from 1.10 to 1.31: those of category "Node" whose names end in
`_kernel_time` are a node's computing, "model_run" ends an inference. Durations are whole microseconds, cut. Old ones
write names as they stand in the model, unescaped: such a line is no JSON, and is passed over and counted.
"""

import contextlib
import json
import os
import tempfile
from typing import Any, BinaryIO, Callable, Dict, List, Tuple

from edge_bench.backends import profile
from edge_bench.backends.profile import Layer, NoProfile, Profile
from edge_bench.engine.onnx_nodes import Node, read_nodes
from edge_bench.engine.onnx_origin import find_origins
from edge_bench.errors import BackendError

STEP_S = 1e-6
# A line is about 700 bytes. Of a network of many nodes fewer inferences are profiled, and of loops a few: how
# often their bodies run shows only afterwards, and all of it is in memory until then.
_MAX_EVENTS, _MAX_LOOPED_RUNS = 20000, 10
_MAX_BYTES, _MAX_LINE = 64 << 20, 1 << 16
_SUFFIX = b"_kernel_time"
_LOOPS = ("Loop", "Scan", "SequenceMap")
# Operators whose time holds that of the nodes inside of them.
_OUTER = _LOOPS + ("If",)
_CPU = "CPUExecutionProvider"

# Name, operator, provider and number of a node.
_Key = Tuple[str, str, str, str]


def profile_session(model: bytes, open_session: Callable[[str], Any], infer: Callable[[Any], Any]) -> Profile:
    """Profile a model in the session that `open_session` makes for a prefix of files; `infer` runs it once.

    The files lie in a folder of ours, which goes at the end in any case. Raises BackendError.
    """
    nodes = read_nodes(model)
    num_runs = max(1, min(profile.MAX_RUNS, _MAX_EVENTS // max(1, len(nodes))))
    if any(node.kind in _LOOPS for node in nodes):
        num_runs = min(num_runs, _MAX_LOOPED_RUNS)
    try:
        with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
            latencies_s, path = _run(open_session(os.path.join(folder, "profile")), infer, num_runs)
            with open(path, "rb") as stream:
                inferences, num_unread = read_inferences(stream)
    except OSError as error:
        raise NoProfile("no place for the profile: %s" % (error.strerror or error), _make_room()) from error
    if len(inferences) < len(latencies_s):
        raise BackendError("onnxruntime wrote %d of %d profiled inferences" % (len(inferences), len(latencies_s)))
    return _to_profile(inferences[-len(latencies_s) :], latencies_s, nodes, num_unread)


def _run(session: Any, infer: Callable[[Any], Any], num_runs: int) -> Tuple[List[float], str]:
    try:
        latencies_s = profile.repeat(lambda: infer(session), num_runs)
    except BaseException:
        # Else it would write its file when it is let go, where the folder is gone by then.
        with contextlib.suppress(Exception):
            session.end_profiling()
        raise
    return latencies_s, session.end_profiling()


def read_inferences(stream: BinaryIO) -> Tuple[List[List[Tuple[_Key, float]]], int]:
    """((node, seconds) of each inference in turn, number of events that could not be read).

    Raises BackendError when the file does not come to its end.
    """
    inferences, current = [], []  # type: List[List[Tuple[_Key, float]]], List[Dict[str, Any]]
    num_unread = num_bytes = 0
    last = b""
    while num_bytes <= _MAX_BYTES:
        line = stream.readline(_MAX_LINE)
        num_bytes += len(line)
        if not line:
            break
        last = line.strip()
        is_node, is_run = _SUFFIX in line, b'"model_run"' in line
        if not is_node and not is_run:
            continue
        event = _parse(line)
        if event is None:
            num_unread += 1
        elif is_node and event["name"].endswith(_SUFFIX.decode()):
            current.append(event)
        elif event["name"] == "model_run":
            inferences.append(_own_times(current))
            current = []
    if last != b"]" and num_bytes <= _MAX_BYTES:
        raise NoProfile("onnxruntime's profile was cut short", _make_room())
    return inferences, num_unread


def _make_room() -> str:
    folder = tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp"
    return "make room in %s, some 20 MB, or name another folder in TMPDIR" % folder


def _parse(line: bytes) -> Any:
    """An event with the parts that are used, or None."""
    try:
        event = json.loads(line.decode("utf-8", "replace").strip().rstrip(","))
        arguments = event.get("args")
        if not isinstance(arguments, dict):
            return None
        ts, dur = event["ts"], event["dur"]
        if type(ts) is not int or type(dur) is not int or not 0 <= ts < 1 << 60 or not 0 <= dur < 1 << 60:
            return None
        number = arguments.get("node_index", arguments.get("graph_index", ""))
        texts = [str(text) for text in (arguments.get("op_name", ""), arguments.get("provider", ""), number)]
        return {"name": str(event["name"]), "ts": ts, "dur": dur, "texts": texts}
    except (ValueError, RecursionError, KeyError, AttributeError):
        return None


def _own_times(events: List[Dict[str, Any]]) -> List[Tuple[_Key, float]]:
    """Seconds that each node took itself: of an If without those of the branch that it took."""
    outer = []  # type: List[Dict[str, Any]]
    for event in sorted(events, key=lambda one: (one["ts"], -one["dur"])):
        event["own"] = event["dur"]
        while outer and event["ts"] + event["dur"] > outer[-1]["ts"] + outer[-1]["dur"]:
            outer.pop()
        if outer:
            outer[-1]["own"] -= event["dur"]
        if event["texts"][0] in _OUTER:
            outer.append(event)
    ordered = sorted(events, key=lambda one: one["ts"])
    return [(_key(event), max(event["own"], 0) * STEP_S) for event in ordered]


def _key(event: Dict[str, Any]) -> _Key:
    operator, provider, number = event["texts"]
    return event["name"][: -len(_SUFFIX)], operator, provider, number


def _to_profile(
    inferences: List[List[Tuple[_Key, float]]], latencies_s: List[float], nodes: List[Node], num_unread: int
) -> Profile:
    times = profile.collect(inferences)
    if not times:
        raise BackendError("onnxruntime's profile names no node")
    origins = find_origins([(key[0], key[1]) for key in times], nodes)
    layers = [
        Layer(key[0] or key[1], key[1] or None, key[2] or None, origin, times_s)
        for (key, times_s), origin in zip(times.items(), origins)
    ]
    notes = ["a second session of onnxruntime with its profiler on; whole microseconds, cut; fused nodes are one"]
    elsewhere = sorted({str(layer.provider) for layer in layers} - {_CPU, "None"})
    if elsewhere:
        notes.append("nodes of %s: the time to start them, which is not the device's own" % ", ".join(elsewhere))
    if num_unread:
        notes.append("%d events could not be read, since names in the model break its JSON" % num_unread)
    return Profile("onnxruntime", layers, len(latencies_s), STEP_S, latencies_s, "; ".join(notes))
