"""What sources on /sys have in common: why a file cannot be read, and entries that say so."""

from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from edge_bench.board.files import read_number
from edge_bench.power.window import Values
from edge_bench.schema import unavailable


class Rail(NamedTuple):
    """One measured supply: `read` gives watts or None; `paths` are the files behind it."""

    name: str
    read: Callable[[], Optional[float]]
    step_w: Optional[float]
    paths: Tuple[str, ...]


def read_rails(rails: List[Rail]) -> Values:
    """Watts of all of these rails, or None when one of them does not answer."""
    values = {}
    for rail in rails:
        watts = rail.read()
        if watts is None:
            return None
        values[rail.name] = watts
    return values


def read_what_answers(rails: List[Rail]) -> Dict[str, float]:
    """Watts of those rails that answer."""
    readings = ((rail.name, rail.read()) for rail in rails)
    return {name: watts for name, watts in readings if watts is not None}


def unreadable(paths: Tuple[str, ...]) -> Dict[str, str]:
    """The entry for files that are there and give no number: which one, what was seen, what to do."""
    reasons = [(path, why_no_number(path)) for path in paths]
    path, reason = next(((path, reason) for path, reason in reasons if reason), (paths[0], "gave no number at first"))
    fix = "run edge-bench as root (sudo)"
    if "ermission" not in reason:
        fix += ", and look at the file: the driver answers there"
    return unavailable("energy", "%s cannot be read by this user (%s)" % (path, reason), fix)


def why_no_number(path: str) -> str:
    """Why a file gives no number, in words; nothing when it does."""
    if read_number(path) is not None:
        return ""
    try:
        with open(path, "rb") as stream:
            return "it holds %r" % stream.read(40).decode("ascii", "replace")
    except OSError as error:
        return error.strerror or str(error)
