"""One line of NVIDIA's tegrastats, of any release from R21 to R39, as a dict.

A line is a row of tokens of eight kinds: time stamp, memory, cores, MTS, EDP, temperature, power and engine. They are
told apart by their form, never by their place or by a list of names: releases add, drop and reorder them. Meaning of
the fields: NVIDIA, "tegrastats Utility" (Jetson Linux developer guide). Forms: recorded lines of all releases,
tests/edge_bench/data/tegrastats-corpus.jsonl, each with its source.

timestamp           as printed: tegrastats' own (R34 and newer), else an ISO 8601 one that a wrapper put before; or null
ram, swap, iram     used_mb, total_mb, and where printed cached_mb, or largest_free_block_mb and
                    num_largest_free_blocks; null where the line has none. A megabyte is 1024 kB, as for tegrastats
cpu                 a core each: load_percent, clock_mhz; null for a core that is off line
engines             by name: is_on, load_percent, clocks_mhz (one for each cluster). A load is relative to the clock
temperature_c       by zone; null for a sensor that is powered off (-256C)
temperature_max_c   by zone, since tegrastats started (R39)
power_w             by rail: current, average, maximum. The last two are since tegrastats started: they carry what was
                    before a measurement, so energy is integrated from `current` alone
other               the rest by name: MTS, EDP, PMIC (a constant, no measured temperature), NC (a list: several rails
                    are not connected), memories of old boards, unknown names with a number; `tokens`, words without
                    a meaning here; `prefix`, what a wrapper wrote before the line; `is_cut` of a line that is too long

What is not known is null, never 0: the load of an engine that prints its clock alone (Thor), a clock of -1, and the
load of EMC without root, which tegrastats prints as a false `0%` without a clock.
"""

import re
from typing import Any, Dict, List, Optional

MAX_CHARACTERS = 1 << 16

# Every number has a limit of digits, and every word is looked at a fixed number of times: linear in the line's length.
_COUNT = r"[0-9]{1,9}"
_INTEGER = r"-?[0-9]{1,9}"
_DECIMAL = _INTEGER + r"(?:\.[0-9]{1,9})?"
_LOAD = r"[0-9]{1,3}(?:\.[0-9]{1,3})?%"
_CORE = r"(?:off|{0}(?:@{1})?)".format(_LOAD, _INTEGER)
_CORES = r"\[{0}(?:,{0})*\](?:@{1})?".format(_CORE, _INTEGER)
_CLOCKS = r"@(?:{0}|\[{0}(?:,{0})*\])".format(_INTEGER)
_MEMORY = r"{0}/{0}[kMG][Bb](?: ?\((?:lfb (?:{0}x)?|cached ){0}[kMG][Bb]\))?".format(_COUNT)
_STAMP = r"[0-9]{2}-[0-9]{2}-[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}"

_TOKEN = re.compile(
    r"([A-Za-z][\w.-]*)"
    r"(?:@({decimal}C(?:/{decimal}C)?)"
    r"| ({integer}/{integer}(?:/{integer})?|{integer}mW(?:/{integer}mW){{0,2}})"
    r"| (off|{count}|{load}(?:{clocks})?|{clocks})"
    r"| ({memory}|{cores}|fg {load} bg {load}|limit {integer})"
    r")(?!\S)"
    r"|(\S+)".format(
        decimal=_DECIMAL,
        integer=_INTEGER,
        count=_COUNT,
        load=_LOAD,
        clocks=_CLOCKS,
        memory=_MEMORY,
        cores=_CORES,
    ),
    re.ASCII,
)
_MEMORY_PARTS = re.compile(r"([0-9]+)/([0-9]+)(.)[Bb](?: ?\((lfb|cached) (?:([0-9]+)x)?([0-9]+)(.)[Bb]\))?")
_OWN_STAMP = re.compile(_STAMP + r"(?!\S)", re.ASCII)
_ANY_OWN_STAMP = re.compile(r"(?<!\S)" + _STAMP + r"(?!\S)", re.ASCII)
_ISO_STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9:]{4,5})?", re.ASCII)
# A bare number is a clock only for an engine that is known; all other forms say themselves what they are.
_ENGINE = re.compile(
    r"(?:(?:APE|AVP|EMC|GR3D|MSENC|NVDEC|NVDLA|NVENC|NVJPG|OFA|PVA|VDE|VIC)[0-9]*|\w+_FREQ)\Z", re.A | re.I
)
_MB_OF = {"k": 1.0 / 1024, "M": 1, "G": 1024}  # type: Dict[str, float]
_MIN_READINGS = 3
_EMC = ("EMC_FREQ", "EMC")
# Of a line that was cut a memory without its unit would look like a rail, and half of MTS like an engine.
_NO_RAILS = frozenset(("NC", "RAM", "SWAP", "IRAM"))
_NO_ENGINES = frozenset(("fg", "bg"))
_NAMES_OF_OTHER = ("EDP", "MTS", "NC", "PMIC", "is_cut", "prefix", "tokens")


def parse_line(text: str) -> Optional[Dict[str, Any]]:
    """The readings of a line, as above; None for a line that holds none. Never raises, whatever the line is.

    A line is a sample of tegrastats if it has memory or cores, or at least three other readings.
    """
    is_cut = len(text) > MAX_CHARACTERS
    text = text[:MAX_CHARACTERS].strip()
    if "  " in text or "\t" in text:
        text = " ".join(text.split())
    stamp = _OWN_STAMP.match(text)
    engines, temperatures, maxima, rails = {}, {}, {}, {}  # type: Any, Any, Any, Any
    memories, cpu, other, loose = {}, [], {}, []  # type: Dict[str, Any], List[Any], Dict[str, Any], List[str]
    for name, temperature, power, engine, special, word in _TOKEN.findall(text, stamp.end() if stamp else 0):
        if power:
            if name not in rails and name not in _NO_RAILS:
                rails[name] = _rail(power)
            elif name == "NC":
                other.setdefault(name, []).append({"power_w": _rail(power)})
            else:
                loose.append("%s %s" % (name, power))
        elif temperature:
            if name in temperatures:
                loose.append("%s@%s" % (name, temperature))
            elif "/" in temperature:
                temperatures[name], maxima[name] = map(_degrees, temperature.split("/"))
            else:
                temperatures[name] = _degrees(temperature)
        elif engine:
            if name not in engines and name not in _NO_ENGINES and (not engine.isdigit() or _ENGINE.match(name)):
                engines[name] = _engine(name, engine)
            else:
                loose.append("%s %s" % (name, engine))
        elif word:
            loose.append(word)
        elif not _take_special(name, special, memories, cpu, other):
            loose.append("%s %s" % (name, special))
    if "RAM" not in memories and not cpu and len(engines) + len(temperatures) + len(rails) < _MIN_READINGS:
        return None
    if "PMIC" in temperatures:
        other["PMIC"] = {"temperature_c": temperatures.pop("PMIC"), "temperature_max_c": maxima.pop("PMIC", None)}
    if is_cut:
        other["is_cut"] = True
    sample = {
        "timestamp": stamp.group() if stamp else None,
        "ram": memories.pop("RAM", None),
        "swap": memories.pop("SWAP", None),
        "iram": memories.pop("IRAM", None),
        "cpu": cpu,
        "engines": engines,
        "temperature_c": temperatures,
        "temperature_max_c": maxima,
        "power_w": rails,
        "other": other,
    }
    other.update(memories)
    if loose:
        _place_loose(text, stamp.end() + 1 if stamp else 0, loose, sample)
    return sample


def _rail(text: str) -> Dict[str, Optional[float]]:
    """Without a unit they are milliwatts too."""
    values = text.replace("mW", "").split("/")
    current, average = int(values[0]) / 1000.0, int(values[1]) / 1000.0 if len(values) > 1 else None
    maximum = int(values[2]) / 1000.0 if len(values) > 2 else None
    return {"current": current, "average": average, "maximum": maximum}


def _degrees(text: str) -> Optional[float]:
    degrees = float(text[:-1])
    return None if degrees == -256.0 else degrees


def _engine(name: str, text: str) -> Dict[str, Any]:
    if text == "off":
        return {"is_on": False, "load_percent": None, "clocks_mhz": []}
    load, at, clock = text.partition("@")
    if not at:
        if load[-1] != "%":
            return {"is_on": True, "load_percent": None, "clocks_mhz": [int(load)]}
        if load == "0%" and name in _EMC:
            return {"is_on": True, "load_percent": None, "clocks_mhz": [], "note": "prints 0% without root"}
        return {"is_on": True, "load_percent": float(load[:-1]), "clocks_mhz": []}
    clocks = clock[1:-1].split(",") if clock[0] == "[" else [clock]
    return {
        "is_on": True,
        "load_percent": float(load[:-1]) if load else None,
        "clocks_mhz": [_clock(one) for one in clocks],
    }


def _clock(text: str) -> Optional[int]:
    """In MHz; -1 is tegrastats' word for unreadable."""
    return None if not text or text[0] == "-" else int(text)


def _take_special(name: str, text: str, memories: Dict[str, Any], cpu: List[Any], other: Dict[str, Any]) -> bool:
    """Put cores, MTS, EDP or a memory to its place; False when it has none, or has one already."""
    first = text[0]
    if first == "[":
        if cpu or name not in ("CPU", "cpu"):
            return False
        cpu.extend(_cores(text))
        return True
    if first == "f" or first == "l":
        if name != ("MTS" if first == "f" else "EDP") or name in other:
            return False
        words = text.split()
        if first == "f":
            other[name] = {"fg_percent": float(words[1][:-1]), "bg_percent": float(words[3][:-1])}
        else:
            other[name] = {"limit": int(words[1])}
        return True
    if name in memories or name in _NAMES_OF_OTHER:
        return False
    memories[name] = _memory(text)
    return True


def _cores(text: str) -> List[Optional[Dict[str, Any]]]:
    """Of `[2%@345,off]`, or with one clock for all of them `[17%,13%]@408`."""
    inside, _, shared = text[1:].partition("]")
    cores = []  # type: List[Optional[Dict[str, Any]]]
    for item in inside.split(","):
        load, at, clock = item.partition("%@")
        if at:
            cores.append({"load_percent": float(load), "clock_mhz": int(clock) if clock[0] != "-" else None})
        elif item == "off":
            cores.append(None)
        else:
            cores.append({"load_percent": float(item[:-1]), "clock_mhz": _clock(shared[1:])})
    return cores


def _memory(text: str) -> Dict[str, Any]:
    used, total, unit, kind, num_blocks, size, size_unit = _MEMORY_PARTS.match(text).groups()  # type: ignore[union-attr]
    memory = {"used_mb": int(used) * _MB_OF[unit], "total_mb": int(total) * _MB_OF[unit]}  # type: Dict[str, Any]
    if kind == "cached":
        memory["cached_mb"] = int(size) * _MB_OF[size_unit]
    elif kind:
        memory["largest_free_block_mb"] = int(size) * _MB_OF[size_unit]
        memory["num_largest_free_blocks"] = int(num_blocks) if num_blocks else None
    return memory


def _place_loose(text: str, start: int, loose: List[str], sample: Dict[str, Any]) -> None:
    """What has no meaning here: a wrapper's words before the line, else by name where there is one, else as it is."""
    other, position, num_before = sample["other"], start, 0
    while num_before < len(loose) and text.startswith(loose[num_before], position):
        position += len(loose[num_before]) + 1
        num_before += 1
    if num_before:
        other["prefix"] = " ".join(loose[:num_before])
        if sample["timestamp"] is None:
            sample["timestamp"] = _stamp_of(other["prefix"])
    for one in loose[num_before:]:
        name, blank, number = one.partition(" ")
        if blank and number.isdigit() and name not in other and name not in _NAMES_OF_OTHER:
            other[name] = int(number)
        else:
            other.setdefault("tokens", []).append(one)


def _stamp_of(prefix: str) -> Optional[str]:
    """tegrastats' own stamp where a wrapper stands before it, else the wrapper's."""
    found = _ANY_OWN_STAMP.search(prefix) or _ISO_STAMP.search(prefix)
    return found.group() if found else None
