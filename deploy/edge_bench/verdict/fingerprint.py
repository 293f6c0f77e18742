"""What has to be the same for two measurements to be compared: the board, the runtime, and the state of both."""

from typing import Any, Callable, Dict, List, Optional, Tuple

from edge_bench.verdict.records import part

Record = Dict[str, Any]


def _clock_limits(record: Record) -> Any:
    """The lowest and highest clock of every governed device; where a clock stands in between may differ."""
    devices = record["state_before"].get("devfreq")
    return {
        name: [clocks.get("min_freq_hz"), clocks.get("max_freq_hz")]
        for name, clocks in (devices.items() if isinstance(devices, dict) else ())
        if isinstance(clocks, dict)
    }


def _in(name: str, key: str) -> Callable[[Record], Any]:
    return lambda record: part(record, name).get(key)


_FIELDS = (
    ("board", _in("board", "model")),
    ("processor", _in("board", "cpu")),
    ("emulator", lambda record: part(record, "board").get("emulated") or "none"),
    ("L4T release", _in("board", "l4t")),
    ("runtime", _in("backend", "name")),
    ("runtime version", _in("backend", "version")),
    ("providers", _in("backend", "providers")),
    ("threads", _in("backend", "num_threads")),
    ("clock", _in("backend", "timed_by")),
    ("batch", _in("backend", "batch")),
    ("period", _in("settings", "period_s")),
    ("power mode", _in("state_before", "power_mode")),
    ("governors", _in("state_before", "governors")),
    ("CPU clock limits", _in("state_before", "cpu_clock_limits_hz")),
    ("online CPUs", _in("state_before", "online_cpus")),
    ("device clock limits", _clock_limits),
)  # type: Tuple[Tuple[str, Callable[[Record], Any]], ...]


def power_scope(record: Record) -> Optional[str]:
    """What the energy covers, and by which sensor; None without an energy."""
    energy = part(record, "energy")
    if not energy:
        return None
    return "%s (%s: %s)" % (energy.get("scope"), energy.get("source"), " + ".join(energy.get("rails") or []))


def differences(records: List[Record], paths: List[str]) -> List[str]:
    """What differs between measurements, in words with the values; empty when all of it is the same."""
    found = []
    for what, read in _FIELDS:
        found.extend(_differing(what, [(read(record), path) for record, path in zip(records, paths)]))
    # A run without energy lacks rows; it does not make the others incomparable.
    scopes = [(power_scope(record), path) for record, path in zip(records, paths)]
    found.extend(_differing("power scope", [entry for entry in scopes if entry[0] is not None]))
    return found


def _differing(what: str, values: List[Tuple[Any, str]]) -> List[str]:
    groups = []  # type: List[Tuple[Any, List[str]]]
    for value, path in values:
        for known, paths in groups:
            if known == value:
                paths.append(path)
                break
        else:
            groups.append((value, [path]))
    if len(groups) < 2:
        return []
    texts = ["%s in %s" % (_short(value), ", ".join(paths)) for value, paths in groups]
    return ["%s differs: %s" % (what, "; ".join(texts))]


def _short(value: Any) -> str:
    if value is None or value == {} or value == []:
        return "not readable"
    if isinstance(value, dict):
        # Eight cores with one value need it said once.
        texts = sorted({_short(inner) for inner in value.values()})
        return " | ".join(texts)[:120]
    if isinstance(value, list):
        return ", ".join(_short(inner) for inner in value)[:120]
    return ("%.6g" % value if isinstance(value, float) else str(value))[:120]
