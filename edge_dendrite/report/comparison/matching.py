"""Which runs of two sides belong together: of the same board, of the same network, in the same state of the board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edge_bench.verdict import fingerprint, records
from edge_dendrite.report.comparison.sides import Loaded
from edge_dendrite.report.format import clean_text

Runs = tuple[Loaded, ...]


@dataclass(frozen=True)
class Pair:
    """The runs of one network on one board in one state, on both sides."""

    board: str
    network: str
    baseline: Runs
    new: Runs


@dataclass(frozen=True)
class Unmatched:
    """What is on one side only. `blocks`: without it nothing shows that the new side is no worse."""

    what: str
    reason: str
    blocks: bool


@dataclass(frozen=True)
class _Network:
    name: str
    role: str
    runs: Runs

    @property
    def label(self) -> str:
        return f"{self.name} ({self.role})"


def pair_runs(baseline: Runs, new: Runs) -> tuple[list[Pair], list[Unmatched]]:
    """Board by board, network by network, state by state; what has no counterpart is said with its reason."""
    pairs: list[Pair] = []
    unmatched: list[Unmatched] = []
    for board, ours, theirs in _pair_boards(baseline, new, unmatched):
        for network, before, after in _pair_networks(board, ours, theirs, unmatched):
            for one, other in _pair_states(f"{board}, {network}", before, after, unmatched):
                pairs.append(Pair(board, network, one, other))
    return pairs, unmatched


def _pair_boards(baseline: Runs, new: Runs, unmatched: list[Unmatched]) -> list[tuple[str, Runs, Runs]]:
    """By the names of their folders where all have one, else by what the measurements say of the board."""
    by_folder = all(run.folder is not None for run in (*baseline, *new))
    ours, theirs = (_by_board(runs, by_folder) for runs in (baseline, new))
    if len(ours) == len(theirs) == 1:
        # Whether these two are one board is asked of their state, with the words of `edge-bench compare`.
        (name, before), (other, after) = (*ours.items(), *theirs.items())
        return [(name if name == other else f"{name} against {other}", before, after)]
    found = []
    for name in dict.fromkeys((*ours, *theirs)):
        before, after = ours.get(name, ()), theirs.get(name, ())
        folders = max(({run.folder for run in runs} - {None} for runs in (before, after)), key=len)
        if not before or not after:
            unmatched.append(_one_side(f"board {name}", before))
        elif len(folders) > 1:
            reason = f"the folders {', '.join(sorted(map(str, folders)))} are such boards; give both sides as folders"
            unmatched.append(Unmatched(f"board {name}", f"{reason} of boards", True))
        else:
            found.append((name, before, after))
    return found


def _by_board(runs: Runs, by_folder: bool) -> dict[str, Runs]:
    groups: dict[str, list[Loaded]] = {}
    for run in runs:
        groups.setdefault((run.folder if by_folder else None) or run.where(), []).append(run)
    return {name: tuple(group) for name, group in groups.items()}


def _one_side(what: str, before: Sequence[object]) -> Unmatched:
    if before:
        return Unmatched(what, "measured in the baseline only: nothing shows that it is no worse now", True)
    return Unmatched(what, "not in the baseline: there is nothing to compare it with", False)


def _pair_networks(board: str, baseline: Runs, new: Runs, unmatched: list[Unmatched]) -> list[tuple[str, Runs, Runs]]:
    """The same bundle first, then the same role and name, role, name; each only where no other could be meant.

    Where nothing has a counterpart and the baseline is one network, all others are compared with that.
    """
    ours, theirs = _networks(baseline), _networks(new)
    found = [(ours.pop(id_), theirs.pop(id_)) for id_ in list(ours) if id_ in theirs]
    # Another build under a name that was there before must not vanish behind one that is still the same.
    known = {(one.role, one.name) for one, _ in found} | {(one.role, one.name) for one in ours.values()}
    for keys in (("role", "name"), ("role",), ("name",)):
        found += _take_unique(ours, theirs, keys)
    if not found and len(ours) == 1:
        (only,) = ours.values()
        found = [(only, other) for other in theirs.values()]
        ours, theirs = {}, {}
    for one in ours.values():
        unmatched.append(_one_side(f"{board}: {one.label}", one.runs))
    for other in theirs.values():
        if (other.role, other.name) in known:
            reason = "several networks of this role and name are on a side; give them apart, or name one by --network"
            unmatched.append(Unmatched(f"{board}: {other.label}", reason, True))
        else:
            unmatched.append(_one_side(f"{board}: {other.label}", ()))
    return [
        (one.label if one.label == other.label else f"{one.label} -> {other.label}", one.runs, other.runs)
        for one, other in found
    ]


def _networks(runs: Runs) -> dict[str, _Network]:
    groups: dict[str, list[Loaded]] = {}
    for run in runs:
        groups.setdefault(run.bundle_id, []).append(run)
    return {id_: _Network(group[0].name, group[0].role, tuple(group)) for id_, group in groups.items()}


def _take_unique(
    ours: dict[str, _Network], theirs: dict[str, _Network], keys: tuple[str, ...]
) -> list[tuple[_Network, _Network]]:
    """Take out those that are alike in some fields and the only ones of their side to be so."""

    def value(network: _Network) -> tuple[str, ...]:
        return tuple(getattr(network, key) for key in keys)

    counts = [Counter(map(value, side.values())) for side in (ours, theirs)]
    alone = [wanted for wanted in counts[0] if counts[0][wanted] == counts[1][wanted] == 1]
    taken = []
    for wanted in alone:
        one, other = (next(id_ for id_, each in side.items() if value(each) == wanted) for side in (ours, theirs))
        taken.append((ours.pop(one), theirs.pop(other)))
    return taken


def _pair_states(what: str, baseline: Runs, new: Runs, unmatched: list[Unmatched]) -> list[tuple[Runs, Runs]]:
    """Runs in several states (power modes, threads) are compared state by state. One state a side is left to
    `edge-bench compare`, which names what differs and refuses.
    """
    ours, theirs = _by_state(baseline), _by_state(new)
    if len(ours) == len(theirs) == 1:
        return [(ours[0], theirs[0])]
    found = []
    for before in ours:
        after = next((group for group in theirs if not _differs(before[0], group[0])), None)
        if after is None:
            unmatched.append(_other_state(what, before[0], new[0]))
        else:
            theirs.remove(after)
            found.append((before, after))
    unmatched += [_one_side(f"{what}, {_state(after[0])}", ()) for after in theirs]
    return found


def _other_state(what: str, run: Loaded, new: Loaded) -> Unmatched:
    differs = fingerprint.differences([run.record, new.record], [run.path, new.path])
    reason = "measured in this state in the baseline only; " + clean_text("; ".join(differs), 500)
    return Unmatched(f"{what}, {_state(run)}", reason, True)


def _by_state(runs: Runs) -> list[Runs]:
    """Groups of equal states. A run that is invalid anyway may not have recorded one: it makes no group of its own."""
    groups: list[list[Loaded]] = []
    for run in sorted(runs, key=lambda run: bool(records.doubts(run.record))):
        group = next((group for group in groups if not _differs(group[0], run)), None)
        if group is not None:
            group.append(run)
        elif groups and records.doubts(run.record):
            groups[0].append(run)
        else:
            groups.append([run])
    places = {id(run): place for place, run in enumerate(runs)}
    return [tuple(sorted(group, key=lambda run: places[id(run)])) for group in groups]


def _differs(one: Loaded, other: Loaded) -> bool:
    return bool(fingerprint.differences([one.record, other.record], ["", ""]))


def _state(run: Loaded) -> str:
    return clean_text(records.state_line(run.record))
