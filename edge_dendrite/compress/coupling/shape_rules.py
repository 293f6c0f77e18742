"""Rules of the operators that move units without mixing them: views, permutations, cat, split, slices, padding."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_dendrite.compress.coupling.atoms import FIXED
from edge_dendrite.compress.coupling.calls import (
    Call,
    Labels,
    Rule,
    fixed_labels,
    is_labels,
    is_tracked,
    not_understood,
)
from edge_dendrite.compress.coupling.sizes import Size


def view(call: Call) -> Any:
    wanted = call.arg(1, "size", call.kwargs.get("shape"))
    if not isinstance(wanted, list):  # view(dtype) reads the bytes anew
        return not_understood(call)
    return reshape(call, call.written.of_call(call.node, wanted))


def implied(call: Call) -> Any:
    """flatten, squeeze, unsqueeze: sizes follow from the tensor."""
    return reshape(call, [-1] * len(call.shape))


def unflatten(call: Call) -> Any:
    x, at, sizes = call.arg(0, "self"), call.arg(1, "dim"), call.arg(2, "sizes")
    at %= len(x)
    written = call.written.of_call(call.node, sizes)
    return reshape(call, [*[-1] * at, *written, *[-1] * (len(x) - at - 1)])


def reshape(call: Call, wanted: Sequence[Any]) -> Labels:
    """Merge and split dimensions. `wanted` has -1 where the size follows from the tensor, else the written size."""
    x = call.arg(0, "self")
    result: list[np.ndarray] = []
    for olds, news in matching_groups([len(dim) for dim in x], list(call.shape)):
        parts = _reshape_group(call, [x[dim] for dim in olds], [wanted[at] for at in news], call.shape[news.start :])
        result.extend(parts)
    return tuple(result)


def _reshape_group(call: Call, olds: list[np.ndarray], wanted: list[Any], shape: Sequence[int]) -> list[np.ndarray]:
    sizes = list(shape[: len(wanted)])
    tracked = [at for at, dim in enumerate(olds) if is_tracked(dim)]
    if len(tracked) > 1:
        tracked = _without_repeated(call, olds, tracked)
    if not tracked:
        result = list(fixed_labels(sizes))
    elif len(tracked) == 1 and sum(size > 1 for size in sizes) == 1:
        result = _merge(olds, tracked[0], sizes)
    elif [len(dim) for dim in olds if len(dim) > 1] == [size for size in sizes if size > 1]:
        whole = iter([dim for dim in olds if len(dim) > 1])
        result = [next(whole).copy() if size > 1 else fixed_labels((1,))[0] for size in sizes]
    elif sum(len(dim) > 1 for dim in olds) == 1 and len(olds[tracked[0]]) > 1:
        return _split(call, olds[tracked[0]], wanted, sizes)
    else:
        call.fix(olds, "splits or mixes dimensions of units")
        result = list(fixed_labels(sizes))
    for size, dim in zip(wanted, result, strict=True):
        call.bind(size, dim)
    return result


def _without_repeated(call: Call, olds: list[np.ndarray], tracked: list[int]) -> list[int]:
    """Dimensions that only repeat others (the copies of a key's head for its queries) stay as they are."""
    own = [at for at in tracked if not any(olds[at] is one for one in call.roles.repeated)]
    if len(own) != 1:
        return tracked
    for at in set(tracked) - set(own):
        call.fix([olds[at]], "repeats units")
    return own


def _merge(olds: list[np.ndarray], at: int, sizes: list[int]) -> list[np.ndarray]:
    """Several dimensions become one: a unit occupies several indices."""
    inner = math.prod(len(dim) for dim in olds[at + 1 :])
    outer = math.prod(len(dim) for dim in olds[:at])
    merged = np.tile(np.repeat(olds[at], inner), outer)
    return [merged if size > 1 else fixed_labels((1,))[0] for size in sizes]


def _split(call: Call, dim: np.ndarray, wanted: list[Any], sizes: list[int]) -> list[np.ndarray]:
    """One dimension becomes several, of which one keeps the units: the one whose size can follow, else the first whose
    size is an attribute. So heads are cut whole where the number of heads can change, and channels of all groups
    alike in a channel shuffle."""
    freedom = [_freedom(size) if length > 1 else 0 for size, length in zip(wanted, sizes, strict=True)]
    at = int(np.argmax(freedom))
    if freedom[at] == 0:
        call.fix([dim], f"is split into {sizes}, numbers in the code; write -1 for one of them, or an attribute")
        return list(fixed_labels(sizes))
    rows = np.moveaxis(dim.reshape(sizes), at, 0).reshape(sizes[at], -1)
    for column in range(1, rows.shape[1]):
        call.unify(rows[:, 0], rows[:, column])
    result = list(fixed_labels(sizes))
    result[at] = rows[:, 0].copy()
    for size, labels in zip(wanted, result, strict=True):
        call.bind(size, labels)
    return result


def _freedom(size: Any) -> int:
    if isinstance(size, Size):
        return 1 if size.attributes else 2
    return 3 if size == -1 else 0


def matching_groups(olds: list[int], news: list[int]) -> list[tuple[range, range]]:
    """Shortest runs of old and new dimensions with equal products; ones go with the run before them."""
    groups: list[tuple[range, range]] = []
    i = j = 0
    while i < len(olds) or j < len(news):
        first_i, first_j, left, right = i, j, 1, 1
        if i < len(olds):
            left, i = olds[i], i + 1
        if j < len(news):
            right, j = news[j], j + 1
        while left != right:
            if left < right:
                left, i = left * olds[i], i + 1
            else:
                right, j = right * news[j], j + 1
        groups.append((range(first_i, i), range(first_j, j)))
    return groups


def permute(call: Call) -> Any:
    x = call.arg(0, "self")
    return tuple(x[dim] for dim in call.arg(1, "dims"))


def transpose(call: Call) -> Any:
    x = list(call.arg(0, "self"))
    if call.name.rstrip("_") in ("t", "numpy_T", "mT"):
        first, second = len(x) - 2, len(x) - 1
    else:
        first, second = call.arg(1, "dim0"), call.arg(2, "dim1")
    if len(x) > 1:
        x[first], x[second] = x[second], x[first]
    return tuple(x)


def movedim(call: Call) -> Any:
    x, source, target = call.arg(0, "self"), call.arg(1, "source"), call.arg(2, "destination")
    sources = [one % len(x) for one in ([source] if isinstance(source, int) else source)]
    targets = [one % len(x) for one in ([target] if isinstance(target, int) else target)]
    placed = dict(zip(targets, sources, strict=True))
    rest = iter([dim for dim in range(len(x)) if dim not in sources])
    return tuple(x[placed[at] if at in placed else next(rest)] for at in range(len(x)))


def cat(call: Call) -> Any:
    tensors = call.arg(0, "tensors")
    at = call.arg(1, "dim", 0) % len(call.shape)
    if any(not is_labels(tensor) or len(tensor) != len(call.shape) for tensor in tensors):
        return not_understood(call)
    result = []
    for dim in range(len(call.shape)):
        parts = [tensor[dim] for tensor in tensors]
        if dim != at:
            for part in parts[1:]:
                call.unify(parts[0], part)
        result.append(np.concatenate(parts) if dim == at else parts[0].copy())
    return tuple(result)


def stack(call: Call) -> Any:
    tensors = call.arg(0, "tensors")
    at = call.arg(1, "dim", 0) % len(call.shape)
    for tensor in tensors[1:]:
        for first, second in zip(tensors[0], tensor, strict=True):
            call.unify(first, second)
    result = [dim.copy() for dim in tensors[0]]
    result.insert(at, fixed_labels((len(tensors),))[0])
    return tuple(result)


def chunk(call: Call) -> Any:
    """Parts of equal size, which follow the tensor."""
    x, count, at = call.arg(0, "self"), call.arg(1, "chunks"), call.arg(2, "dim", 0)
    lengths = [shape[at] for shape in call.shapes]
    if len(set(lengths)) > 1 or len(lengths) != count:
        call.fix([x[at]], "gives parts of unequal size")
    parts = np.split(x[at], np.cumsum(lengths)[:-1])
    if len(set(lengths)) == 1:
        call.tie(parts)
    return _with_parts(x, at, parts)


def split(call: Call) -> Any:
    x, sizes, at = call.arg(0, "self"), call.arg(1, "split_size", call.kwargs.get("split_sizes")), call.arg(2, "dim", 0)
    lengths = [shape[at] for shape in call.shapes]
    parts = np.split(x[at], np.cumsum(lengths)[:-1])
    written = call.written.of_call(call.node, [sizes] if isinstance(sizes, int) else sizes)
    written = written * len(parts) if isinstance(sizes, int) else written
    for size, part, length in zip(written, parts, lengths, strict=False):
        if int(size) == length:
            call.bind(size, part)
        else:  # the shorter last part takes what is left
            call.fix([part], "gives parts of unequal size")
    if all(isinstance(size, Size) and size.follows for size in written) and len(set(lengths)) == 1:
        call.tie(parts)
    return _with_parts(x, at, parts)


def _with_parts(x: Labels, at: int, parts: Sequence[np.ndarray]) -> list[Labels]:
    result = []
    for part in parts:
        dims = [dim.copy() for dim in x]
        dims[at] = part.copy()
        result.append(tuple(dims))
    return result


def unbind(call: Call) -> Any:
    x, at = call.arg(0, "self"), call.arg(1, "dim", 0)
    call.fix([x[at]], "takes single units out")
    at %= len(x)
    return [tuple(dim.copy() for number, dim in enumerate(x) if number != at) for _ in call.shapes]


def select(call: Call) -> Any:
    x, at = call.arg(0, "self"), call.arg(1, "dim")
    call.fix([x[at]], "takes a single unit out")
    at %= len(x)
    return tuple(dim.copy() for number, dim in enumerate(x) if number != at)


def slice_(call: Call) -> Any:
    x, at = call.arg(0, "self"), call.arg(1, "dim", 0)
    start, stop, step = call.arg(2, "start"), call.arg(3, "end"), call.arg(4, "step", 1)
    dim = x[at]
    size = len(dim)
    first, last, step = slice(start, stop, step).indices(size)
    if is_tracked(dim):
        _slice_units(call, dim, (first, last, step), start, stop)
    result = [one.copy() for one in x]
    result[at] = dim[first:last:step].copy()
    return tuple(result)


def _slice_units(call: Call, dim: np.ndarray, bounds: tuple[int, int, int], start: Any, stop: Any) -> None:
    """What is before a written start, and up to a written stop, must keep its size; or follow an attribute."""
    first, last, step = bounds
    size = len(dim)
    if step != 1:
        if first >= step or size % step or last != size:
            call.fix([dim], "takes units in steps")
        else:
            call.tie([dim[offset::step] for offset in range(step)])
        return
    written_start, written_stop = call.written.of_slice(call.node, start, stop)
    for written, position in ((written_start, first), (written_stop, last)):
        if written is None or position in (0, size) and not isinstance(written, Size):
            continue
        if isinstance(written, Size) and written.follows and not written.attributes:
            _follow_slice(call, dim, position)
        if int(written) < 0:
            # Counted from the end.
            call.fix([dim[position:]], f"the position {int(written)} is a number in the code")
        elif int(written) < sys.maxsize:
            call.bind(written if int(written) == position else -1, dim[:position])


def _follow_slice(call: Call, dim: np.ndarray, position: int) -> None:
    """A position computed from the tensor's size, such as its half: it follows when the parts stay in proportion."""
    size = len(dim)
    part = math.gcd(position, size)
    if 0 < position < size:
        call.tie(np.split(dim, size // part))


def narrow(call: Call) -> Any:
    x, at = call.arg(0, "self"), call.arg(1, "dim")
    start, length = call.arg(2, "start"), call.arg(3, "length")
    if not isinstance(start, int):
        return not_understood(call)
    call.fix([x[at]], "takes units by their number")
    result = [dim.copy() for dim in x]
    result[at] = result[at][start : start + length]
    return tuple(result)


def indexed(call: Call) -> Any:
    """index and index_select with one index: the dimension that is indexed stays, others are carried."""
    x = call.arg(0, "self")
    if call.name == "index_select":
        at, index = call.arg(1, "dim"), call.arg(2, "index")
    else:
        given = [(number, one) for number, one in enumerate(call.arg(1, "indices")) if one is not None]
        if len(given) != 1:
            return not_understood(call)
        at, index = given[0]
    at %= len(x)
    call.fix([x[at]], "takes units by their number")
    new = fixed_labels(call.shape[at : at + len(index)])
    return (*(dim.copy() for dim in x[:at]), *new, *(dim.copy() for dim in x[at + 1 :]))


def expand(call: Call) -> Any:
    x, sizes = call.arg(0, "self"), call.arg(1, "size")
    written = call.written.of_call(call.node, sizes)
    new = len(sizes) - len(x)
    result = []
    for at, size in enumerate(call.shape):
        old = x[at - new] if at >= new else None
        if old is not None and len(old) == size:
            call.bind(written[at], old)
            result.append(old.copy())
        else:
            if old is not None:
                call.fix([old], "spreads a single unit over others")
            result.append(_made(call, written[at], size))
    return tuple(result)


def expand_as(call: Call) -> Any:
    x, other = call.arg(0, "self"), call.arg(1, "other")
    new = len(other) - len(x)
    result = []
    for at, dim in enumerate(other):
        old = x[at - new] if at >= new else None
        if old is not None and len(old) == len(dim):
            call.unify(old, dim)
        elif old is not None:
            call.fix([old], "spreads a single unit over others")
        result.append(dim.copy())
    return tuple(result)


def _made(call: Call, written: Any, size: int) -> np.ndarray:
    """A dimension along which all values are equal: its units are no units of their own, but its size may follow."""
    if not isinstance(written, Size) or size == 1:
        return np.full(size, FIXED, np.int64)
    labels = call.atoms.fresh(size)
    call.roles.repeated.append(labels)
    call.bind(written, labels)
    return labels


def constant(call: Call) -> Any:
    """zeros, ones, full: a new tensor with one value."""
    sizes = call.arg(1 if call.name.startswith("new_") else 0, "size")
    if not isinstance(sizes, list) or len(sizes) != len(call.shape):
        return not_understood(call)
    written = call.written.of_call(call.node, sizes)
    return tuple(_made(call, size, length) for size, length in zip(written, call.shape, strict=True))


def repeat(call: Call) -> Any:
    x, repeats = call.arg(0, "self"), call.arg(1, "repeats", call.kwargs.get("dims"))
    padded = [*fixed_labels([1] * (len(repeats) - len(x))), *x]
    repeats = [*[1] * (len(padded) - len(repeats)), *repeats]
    return tuple(np.tile(dim, count) for dim, count in zip(padded, repeats, strict=True))


def repeat_interleave(call: Call) -> Any:
    x, count, at = call.arg(0, "self"), call.arg(1, "repeats"), call.arg(2, "dim")
    if not isinstance(count, int) or at is None:
        return not_understood(call)
    result = [dim.copy() for dim in x]
    result[at] = np.repeat(result[at], count)
    return tuple(result)


def pad(call: Call) -> Any:
    """Padding adds units that must stay; those of the tensor may go."""
    x, widths = call.arg(0, "self"), call.arg(1, "pad")
    constant_values = call.name == "constant_pad_nd" or call.arg(2, "mode", "constant") == "constant"
    result = [dim.copy() for dim in x]
    for number in range(len(widths) // 2):
        at = len(x) - 1 - number
        before, after = widths[2 * number], widths[2 * number + 1]
        if before == after == 0:
            continue
        if before < 0 or after < 0 or not constant_values:
            call.fix([x[at]], "pads with other units, or cuts")
            result[at] = fixed_labels((call.shape[at],))[0]
        else:
            result[at] = np.concatenate([*fixed_labels((before,)), x[at], *fixed_labels((after,))])
    return tuple(result)


def pixel_shuffle(call: Call) -> Any:
    x, factor = call.arg(0, "self"), call.arg(1, "upscale_factor")
    rows = x[-3].reshape(-1, factor * factor)
    for column in range(1, factor * factor):
        call.unify(rows[:, 0], rows[:, column])
    call.fix(x[-2:], "shuffles a dimension of units")
    return (*x[:-3], rows[:, 0].copy(), *fixed_labels(call.shape[-2:]))


def pixel_unshuffle(call: Call) -> Any:
    x, factor = call.arg(0, "self"), call.arg(1, "downscale_factor")
    call.fix(x[-2:], "shuffles a dimension of units")
    return (*x[:-3], np.repeat(x[-3], factor * factor), *fixed_labels(call.shape[-2:]))


def channel_shuffle(call: Call) -> Any:
    x, groups = call.arg(0, "self"), call.arg(1, "groups")
    parts = np.split(x[1], groups)
    call.tie(parts)
    return (x[0], np.stack(parts, 1).ravel(), *x[2:])


def in_order(call: Call) -> Any:
    """roll and flip: units along these dimensions keep their places."""
    x = call.arg(0, "self")
    dims = call.arg(2 if call.name == "roll" else 1, "dims", [])
    for at in dims or range(len(x)):
        call.fix([x[at]], "moves units by their number")
    return tuple(dim.copy() for dim in x)


SHAPE_RULES: dict[str, Rule] = {
    "view": view,
    "reshape": view,
    "_unsafe_view": view,
    "flatten": implied,
    "squeeze": implied,
    "unsqueeze": implied,
    "unflatten": unflatten,
    "permute": permute,
    "transpose": transpose,
    "swapaxes": transpose,
    "swapdims": transpose,
    "t": transpose,
    "numpy_T": transpose,
    "mT": transpose,
    "movedim": movedim,
    "moveaxis": movedim,
    "cat": cat,
    "concat": cat,
    "concatenate": cat,
    "stack": stack,
    "chunk": chunk,
    "split": split,
    "split_with_sizes": split,
    "unsafe_split": split,
    "unsafe_chunk": chunk,
    "unbind": unbind,
    "select": select,
    "slice": slice_,
    "narrow": narrow,
    "index": indexed,
    "index_select": indexed,
    "expand": expand,
    "expand_as": expand_as,
    **dict.fromkeys(("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty"), constant),
    "repeat": repeat,
    "tile": repeat,
    "repeat_interleave": repeat_interleave,
    "pad": pad,
    "constant_pad_nd": pad,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "channel_shuffle": channel_shuffle,
    "native_channel_shuffle": channel_shuffle,
    "roll": in_order,
    "flip": in_order,
}
