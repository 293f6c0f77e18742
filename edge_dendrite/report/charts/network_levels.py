"""What a picture of two networks shows: levels, each a layer before and after, with the branches, dendrites and gates
that compressing put there. Which layers belong together is read from their names, as `edge_dendrite.compress.layers`
gives them: X.branches and X.soma, X.layer and X.sets.N.branches, X.block, X.bypass and X.gate.decide.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from edge_bench.stats import median
from edge_dendrite.report.pool import Layer

MAX_LEVELS = 24
# Names are compared with names: of an endless list the first ones.
_MAX_COMPARED = 400
_NUM_LINES = 900
_UNEVEN = 6
_SET = re.compile(r"(?P<owner>.*?)\.?sets\.\d+\.(?P<part>branches|soma)$")
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True)
class Side:
    """A layer of one of the two networks.

    branches: between the inputs and `layer`, which then is their soma. dendrites: beside it, all sets together, their
    somas counted in. gate: the name of the block that runs only when the input needs it. reads_part: it reads some of
    its inputs only.
    """

    layer: Layer
    branches: Layer | None = None
    dendrites: Layer | None = None
    gate: str | None = None
    reads_part: bool = False

    @property
    def num_parameters(self) -> int:
        """All that is drawn of it."""
        return sum(part.num_parameters for part in (self.layer, self.branches, self.dendrites) if part)


@dataclass(frozen=True)
class Level:
    """One layer in both networks; None where a network does not have it. read_share: of the inputs that it could read,
    those that it does, afterwards.
    """

    name: str
    before: Side | None
    after: Side | None
    read_share: float = 1.0

    @property
    def sides(self) -> tuple[Side, ...]:
        """Those that are there."""
        return tuple(side for side in (self.before, self.after) if side)

    @property
    def has_middle(self) -> bool:
        """Whether there are branches or dendrites above the layer's own units."""
        return any(side.branches or side.dendrites for side in self.sides)


def find_levels(before: Sequence[Layer], after: Sequence[Layer]) -> list[Level]:
    """Levels from top to bottom, of a deep network those with the most parameters; what is the same layer shares one.

    Layers without multiplications, such as embeddings, are left out where others have some.
    """
    before, after = before[:_MAX_COMPARED], after[:_MAX_COMPARED]
    names = [{layer.name for layer in layers} for layers in (before, after)]
    levels = _merge(_multiplying(fold(before, names[1])), _multiplying(fold(after, names[0])))
    sizes = [max(side.num_parameters for side in level.sides) for level in levels]
    largest = sorted(range(len(levels)), key=lambda at: (-sizes[at], at))[:MAX_LEVELS]
    return _with_shares([levels[at] for at in sorted(largest)])


def fold(layers: Iterable[Layer], known: set[str]) -> dict[str, Side]:
    """Layers by the name that they have in the other network, whose names are `known`, with what belongs to them."""
    sides = {layer.name: Side(layer) for layer in layers if layer.num_units}
    sides = _with_gates(sides)
    sides = _with_dendrites(sides)
    sides = _unwrapped(sides, known)
    return _with_projections(_with_branches(sides))


def _multiplying(sides: dict[str, Side]) -> dict[str, Side]:
    working = {name: side for name, side in sides.items() if side.layer.num_macs}
    return working or sides


def _with_gates(sides: dict[str, Side]) -> dict[str, Side]:
    """X.block.Y becomes X.Y; gate and bypass, which hold few parameters, are only told by the gate's name."""
    gated = [name.removesuffix("gate.decide") for name in sides if f".{name}".endswith(".gate.decide")]
    folded: dict[str, Side] = {}
    for name, side in sides.items():
        prefix = next((one for one in gated if name.startswith(one)), None)
        if prefix is None:
            folded[name] = side
            continue
        part, _, rest = name[len(prefix) :].partition(".")
        if part == "block":
            # A block may be one layer.
            folded[f"{prefix}{rest}".rstrip(".")] = replace(side, gate=prefix.rstrip("."))
        elif part not in ("gate", "bypass"):
            folded[name] = side
    return folded


def _with_dendrites(sides: dict[str, Side]) -> dict[str, Side]:
    """X.sets.N.branches and X.sets.N.soma go to the layer that they belong to."""
    folded = {name: side for name, side in sides.items() if not _SET.match(name)}
    for name, side in sides.items():
        found = _SET.match(name)
        if not found:
            continue
        owner = _owner(found["owner"], folded)
        if owner is None:
            folded[name] = side
            continue
        grown = folded[owner].dendrites or replace(side.layer, num_units=0, num_parameters=0)
        num_units = side.layer.num_units if found["part"] == "branches" else 0
        grown = replace(
            grown,
            num_units=grown.num_units + num_units,
            num_parameters=grown.num_parameters + side.layer.num_parameters,
        )
        folded[owner] = replace(folded[owner], dendrites=grown)
    return folded


def _owner(name: str, sides: dict[str, Side]) -> str | None:
    """The layer that dendrites of `name` add to: wrapped, itself, or inside of an opened block of torch."""
    block, _, leaf = name.rpartition(".")
    inside = f"{block}.layer" if block else "layer"
    places = (f"{name}.layer", name, f"{inside}.{leaf}", inside, f"{name}.layer.soma")
    return next((place for place in places if place in sides), None)


def _unwrapped(sides: dict[str, Side], known: set[str]) -> dict[str, Side]:
    """X.layer becomes X, where X is what the other network has, or where dendrites or branches say so."""
    folded: dict[str, Side] = {}
    for name, side in sides.items():
        outer, leaf = name.rpartition(".")[::2]
        is_part = outer.endswith((".soma", ".branches"))
        if leaf == "layer" and outer and outer not in sides and (outer in known or side.dendrites or is_part):
            reads_part = side.dendrites is None and side.layer.num_groups == 1
            folded[outer] = replace(side, reads_part=reads_part)
        elif ".layer." in name and side.dendrites:  # inside of an opened block
            folded[name.replace(".layer.", ".")] = side
        else:
            folded[name] = side
    return folded


def _with_branches(sides: dict[str, Side]) -> dict[str, Side]:
    """X.branches and X.soma become X."""
    folded: dict[str, Side] = {}
    for name, side in sides.items():
        outer, leaf = name.rpartition(".")[::2]
        both = leaf in ("soma", "branches") and {f"{outer}.soma", f"{outer}.branches"} <= sides.keys()
        if not both:
            folded[name] = side
        elif leaf == "soma":
            branches = sides[f"{outer}.branches"]
            folded[outer] = replace(side, branches=branches.layer, reads_part=branches.reads_part)
    return folded


def _with_projections(sides: dict[str, Side]) -> dict[str, Side]:
    """The three projections that attention makes of its inputs stand side by side, so they are one."""
    folded: dict[str, Side] = {}
    for name, side in sides.items():
        outer, leaf = name.rpartition(".")[::2]
        three = [f"{outer}.{one}" for one in _PROJECTIONS]
        if leaf not in _PROJECTIONS or not all(one in sides for one in three):
            folded[name] = side
        elif leaf == _PROJECTIONS[0]:
            folded[f"{outer}.qkv"] = _together([sides[one] for one in three])
    return folded


def _together(sides: Sequence[Side]) -> Side:
    first = sides[0]
    layers = [side.layer for side in sides]
    grown = [side.dendrites for side in sides if side.dendrites]
    return replace(first, layer=_sum(layers), dendrites=_sum(grown) if grown else None)


def _sum(layers: Sequence[Layer]) -> Layer:
    return replace(
        layers[0],
        num_units=sum(one.num_units for one in layers),
        num_parameters=sum(one.num_parameters for one in layers),
        num_macs=sum(one.num_macs for one in layers),
    )


def _merge(before: dict[str, Side], after: dict[str, Side]) -> list[Level]:
    """Layers of the same name share a level, others get one of their own."""
    names = list(before), list(after)
    levels: list[Level] = []
    for kind, start, stop, other_start, other_stop in difflib.SequenceMatcher(None, *names, False).get_opcodes():
        if kind == "equal":
            levels += [Level(name, before[name], after[name]) for name in names[0][start:stop]]
            continue
        levels += [Level(name, before[name], None) for name in names[0][start:stop]]
        levels += [Level(name, None, after[name]) for name in names[1][other_start:other_stop]]
    return levels


def _with_shares(levels: Sequence[Level]) -> list[Level]:
    """The share of inputs that a segmented layer still reads, of those that the level above sends it."""
    found = []
    above: Level | None = None
    for level in levels:
        share = 1.0
        if level.before and level.after and level.after.reads_part:
            reader = level.after.branches or level.after.layer
            sent = 1.0
            if above and above.before and above.after:
                sent = above.after.layer.num_units / above.before.layer.num_units
            share = min(1.0, reader.num_inputs / max(1.0, level.before.layer.num_inputs * sent))
        found.append(replace(level, read_share=share))
        above = level
    return found


def line_value(levels: Sequence[Level]) -> int:
    """How many parameters a line stands for: a round number that gives at most about 900 lines."""
    totals = [
        sum(side.num_parameters for side in sides if side)
        for sides in ([level.before for level in levels], [level.after for level in levels])
    ]
    wanted = max(1.0, max(totals) / _NUM_LINES)
    decade = 10.0 ** math.floor(math.log10(wanted))
    return round(next(step * decade for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * decade >= wanted))


def unit_sizes(sides: Sequence[Side | None]) -> list[int]:
    """Units of the input and of every level, 0 where there is no layer."""
    first = next((side for side in sides if side), None)
    num_inputs = (first.branches or first.layer).num_inputs if first else 1
    return [num_inputs, *(side.layer.num_units if side else 0 for side in sides)]


def level_sizes(levels: Sequence[Level]) -> list[int]:
    """Units of the input and of every level, in whichever network has more of them."""
    old, new = unit_sizes([level.before for level in levels]), unit_sizes([level.after for level in levels])
    return [max(1, *pair) for pair in zip(old, new, strict=True)]


def is_uneven(levels: Sequence[Level]) -> bool:
    """Whether one layer is so wide that the others would vanish; widths then go by the square root of the units."""
    sizes = level_sizes(levels)
    return max(sizes) > _UNEVEN * median(sizes)


def is_chain(sides: Sequence[Side]) -> bool:
    """Whether each layer can be fed by the one before it: as many inputs as units, or a multiple after flattening."""
    pairs = zip(sides, sides[1:], strict=False)
    return all((later.branches or later.layer).num_inputs % earlier.layer.num_units == 0 for earlier, later in pairs)
