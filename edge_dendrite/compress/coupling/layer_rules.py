"""Rules of the operators that hold parameters or mix units: layers, products, norms, reductions, attention."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_dendrite.compress.coupling.calls import (
    Call,
    Labels,
    Rule,
    broadcast,
    elementwise,
    fixed_labels,
    is_labels,
    not_understood,
    outputs,
    tensors_in,
)


def _makes_units(call: Call, x: Labels, weight: Labels, contracted: int, produced: int, at: int) -> None:
    """`weight` sums over its dimension `contracted`, which is dimension `at` of x, and makes units in `produced`."""
    call.unify(x[at], weight[contracted])
    call.roles.contracted.append(weight[contracted])
    call.roles.produced.append(weight[produced])


def convolution(call: Call) -> Any:
    x, weight, bias = call.arg(0, "input"), call.arg(1, "weight"), call.arg(2, "bias")
    if len(x) != len(weight) or not call.is_parameter(weight):
        return not_understood(call)
    groups = call.arg(6, "groups", 1)
    if groups == 1:
        _makes_units(call, x, weight, 1, 0, 1)
    elif groups == len(x[1]) and len(weight[1]) == 1:
        # One input for each run of outputs: groups follows the number of inputs.
        call.unify(np.repeat(x[1], len(weight[0]) // groups), weight[0])
        call.bind(_groups(call, groups), x[1])
        call.fix([weight[1]], "one input for each unit")
        call.roles.depthwise.append(weight[0])
    else:
        _grouped(call, x[1], weight[1], groups)
        call.tie(np.split(weight[0], groups))
        call.roles.produced.append(weight[0])
    call.fix([*x[2:], *weight[2:]], "slides over units")
    if bias is not None:
        call.unify(weight[0], bias[0])
    call.works(*fixed_labels(call.shape[2:]), x[0], *weight)
    return (x[0].copy(), weight[0].copy(), *fixed_labels(call.shape[2:]))


def _grouped(call: Call, inputs: np.ndarray, weight: np.ndarray, groups: int) -> None:
    """Every group reads its own inputs with the same weight positions, so position j goes in all groups or in none."""
    for part in np.split(inputs, groups):
        call.unify(part, weight)
    call.bind_attribute("in_channels", inputs)
    call.roles.contracted.append(weight)


def _groups(call: Call, groups: int) -> Any:
    return call.written.of_call(call.node, [groups])[0]


def transposed_convolution(call: Call) -> Any:
    x, weight, bias = call.arg(0, "input"), call.arg(1, "weight"), call.arg(2, "bias")
    if len(x) != len(weight) or not call.is_parameter(weight):
        return not_understood(call)
    groups = call.arg(6, "groups", 1)
    if groups == 1:
        _makes_units(call, x, weight, 0, 1, 1)
        made = weight[1]
    elif groups == len(x[1]) and len(weight[1]) == 1:
        call.unify(x[1], weight[0])
        call.bind(_groups(call, groups), x[1])
        call.fix([weight[1]], "one output for each unit")
        call.roles.depthwise.append(weight[0])
        made = weight[0]
    else:
        call.fix([x[1], weight[0], weight[1]], f"{groups} groups of several channels")
        made = fixed_labels(call.shape)[1]
    call.fix([*x[2:], *weight[2:]], "slides over units")
    if bias is not None:
        call.unify(made, bias[0])
    call.works(*x[2:], x[0], *weight)
    return (x[0].copy(), made.copy(), *fixed_labels(call.shape[2:]))


def linear(call: Call) -> Any:
    x, weight, bias = call.arg(0, "input"), call.arg(1, "weight"), call.arg(2, "bias")
    if not call.is_parameter(weight) or len(weight) != 2:
        return not_understood(call)
    _makes_units(call, x, weight, 1, 0, -1)
    if bias is not None:
        call.unify(weight[0], bias[0])
    call.works(*x[:-1], *weight)
    return (*(dim.copy() for dim in x[:-1]), weight[0].copy())


def embedding(call: Call) -> Any:
    weight, indices = call.arg(0, "weight"), call.arg(1, "indices")
    if not call.is_parameter(weight):
        return not_understood(call)
    call.fix([weight[0]], "rows are looked up by number")
    call.roles.produced.append(weight[1])
    return (*(dim.copy() for dim in indices), weight[1].copy())


def matmul(call: Call) -> Any:
    return product(call, call.arg(0, "self"), call.arg(1, "mat2", call.kwargs.get("other")), call.shape)


def addmm(call: Call) -> Any:
    result = product(call, call.arg(1, "mat1"), call.arg(2, "mat2"), call.shape)
    return broadcast(call, [call.arg(0, "self"), result], call.shape)


def product(call: Call, first: Labels, second: Labels, shape: tuple[int, ...]) -> Labels:
    """first @ second: one is a matrix of parameters, or both are activations."""
    if len(second) == 2 and len(first) >= 2 and call.is_parameter(second):
        _makes_units(call, first, second, 0, 1, -1)
        call.works(*first[:-1], *second)
        return (*(dim.copy() for dim in first[:-1]), second[1].copy())
    if len(first) == len(second) == 2 and call.is_parameter(first):
        _makes_units(call, second, first, 1, 0, 0)
        call.works(*first, second[1])
        return (first[0].copy(), second[1].copy())
    if len(first) < 2 or len(second) < 2:
        return not_understood(call)
    _same_contraction(call, first[-1], second[-2])
    batch = broadcast(call, [first[:-2], second[:-2]], shape[:-2])
    call.works(*batch, *first[-2:], second[-1])
    return (*batch, first[-2].copy(), second[-1].copy())


def _same_contraction(call: Call, first: np.ndarray, second: np.ndarray) -> None:
    # Nothing but activations read these units: no weight would say what one of them is worth.
    call.fix([first, second], "sums over units of two activations")


def bilinear_attention(call: Call) -> Any:
    """scaled_dot_product_attention: heads and batch are cut together; with grouped queries, a key's head with all of
    its query heads."""
    query, key, value = call.arg(0, "query"), call.arg(1, "key"), call.arg(2, "value")
    mask = call.arg(3, "attn_mask")
    if not len(query) == len(key) == len(value):
        return not_understood(call)
    if any(len(q) % len(k) or len(k) != len(v) for q, k, v in zip(query[:-2], key[:-2], value[:-2], strict=True)):
        return not_understood(call)  # one batch of queries for many keys
    call.fix([query[-1], key[-1]], "sums over units of two activations")
    call.fix([query[-2], key[-2], value[-2]], "positions of a sequence")
    for dim in range(len(query) - 2):
        for other in (key[dim], value[dim]):
            call.unify(query[dim], np.repeat(other, len(query[dim]) // len(other)))
    if is_labels(mask):
        broadcast(call, [query[:-2], mask[:-2]], call.shape[:-2])
        call.fix(mask[-2:], "positions of a sequence")
    call.works(*query, key[-2])
    call.works(*query[:-1], *value[-2:])
    return (*(dim.copy() for dim in query[:-1]), value[-1].copy())


def einsum(call: Call) -> Any:
    equation, operands = call.arg(0, "equation"), call.arg(1, "tensors")
    sides = str(equation).replace(" ", "").split("->")
    inputs = sides[0].split(",")
    if len(sides) != 2 or "." in equation or any(len(set(one)) != len(one) for one in [*inputs, sides[1]]):
        return not_understood(call)
    if any(len(letters) != len(operand) for letters, operand in zip(inputs, operands, strict=True)):
        return not_understood(call)
    known: dict[str, np.ndarray] = {}
    parameters = [call.is_parameter(operand) for operand in operands]
    for letters, operand in zip(inputs, operands, strict=True):
        for letter, dim in zip(letters, operand, strict=True):
            if letter in known and len(known[letter]) == len(dim):
                call.unify(known[letter], dim)
            elif letter in known:
                return not_understood(call)
            known[letter] = dim
    for letters, operand, is_parameter in zip(inputs, operands, parameters, strict=True):
        for letter, dim in zip(letters, operand, strict=True):
            others = [other for other in inputs if other is not letters]
            if is_parameter and letter not in sides[1]:
                call.roles.contracted.append(dim)
            elif is_parameter and not any(letter in other for other in others):
                call.roles.produced.append(dim)
    for letter, dim in known.items():
        if letter not in sides[1] and not any(
            flag and letter in letters for letters, flag in zip(inputs, parameters, strict=True)
        ):
            call.fix([dim], "sums over units of two activations")
    if len(operands) == 2:
        call.works(*known.values())
    return tuple(known[letter].copy() for letter in sides[1])


def batch_norm(call: Call) -> Any:
    """Batch and instance norm: statistics of each channel alone."""
    x = call.arg(0, "input")
    if call.name != "batch_norm":
        call.fix(x[2:], "takes a mean over positions")
    for index, name in ((1, "weight"), (2, "bias"), (3, "running_mean"), (4, "running_var")):
        per_unit = call.arg(index, name)
        if per_unit is not None:
            call.unify(x[1], per_unit[0])
    call.bind_attribute("num_features", x[1])
    return tuple(dim.copy() for dim in x)


def layer_norm(call: Call) -> Any:
    x, shape = call.arg(0, "input"), call.arg(1, "normalized_shape")
    over = x[len(x) - len(shape) :]
    for size, dim in zip(call.written.of_call(call.node, shape), over, strict=True):
        call.bind(size, dim)
    for index, name in ((2, "weight"), (3, "bias")):
        scale = call.arg(index, name)
        if is_labels(scale):
            for dim, own in zip(over, scale, strict=True):
                call.unify(dim, own)
    result = tuple(dim.copy() for dim in x)
    call.takes_statistic(over, result)
    return result


def group_norm(call: Call) -> Any:
    x, num_groups = call.arg(0, "input"), call.arg(1, "num_groups")
    call.fix(x[2:], "takes a mean over positions")
    call.tie(np.split(x[1], num_groups))
    for index, name in ((2, "weight"), (3, "bias")):
        scale = call.arg(index, name)
        if is_labels(scale):
            call.unify(x[1], scale[0])
    result = tuple(dim.copy() for dim in x)
    call.takes_statistic([x[1]], result)
    return result


def prelu(call: Call) -> Any:
    x, slope = call.arg(0, "self"), call.arg(1, "weight")
    if len(slope[0]) > 1:
        call.unify(x[1], slope[0])
    return tuple(dim.copy() for dim in x)


def pool(spatial_dims: int) -> Rule:
    """Pooling over the last dimensions; some return the positions of the extremes too."""

    def rule(call: Call) -> Any:
        x = call.arg(0, "self")
        call.fix(x[-spatial_dims:], "pools over units")
        kept = len(call.shape) - spatial_dims
        return outputs(call, [(*x[:kept], *fixed_labels(shape[kept:])) for shape in call.shapes])

    return rule


def reduction(call: Call) -> Any:
    """mean, sum, norm, extremes over given dimensions; over all of them without."""
    x = call.arg(0, "self")
    if is_labels(call.arg(1, "other")):  # max and min of two tensors
        return elementwise(call)
    at = 2 if call.name.startswith("linalg") or call.name == "norm" else 1
    dims = call.arg(at, "dim")
    if dims is None or dims == [] or isinstance(dims, (bool, float)):
        dims = list(range(len(x)))
    if not isinstance(dims, (int, list)):
        return not_understood(call)
    reduced = {dim % len(x) for dim in ([dims] if isinstance(dims, int) else dims)}
    if any(user.target is operator.getitem and user.args[1] != 0 and user.users for user in call.node.users):
        call.fix([x[dim] for dim in reduced], "returns the numbers of units")
    if len(call.shape) == len(x):
        result = tuple(fixed_labels((1,))[0] if at in reduced else dim.copy() for at, dim in enumerate(x))
    else:
        result = tuple(dim.copy() for at, dim in enumerate(x) if at not in reduced)
    results = outputs(call, [result] * len(call.shapes))
    call.takes_statistic([x[dim] for dim in sorted(reduced)], results)
    return results


def along(what: str) -> Callable[[Call], Any]:
    """Operators in which every value depends on all others, or on its place, along one dimension."""

    def rule(call: Call) -> Any:
        x = call.arg(0, "self")
        call.fix([x[call.arg(1, "dim", -1)]], what)
        return outputs(call, [tuple(dim.copy() for dim in x)] * len(call.shapes))

    return rule


def recurrent(gates: int) -> Rule:
    """lstm (4 gates) and gru (3), rnn (1): the hidden units of all layers and directions have one width.

    A hidden unit is a row of every gate, a column of the recurrent weights and a column of the next layer's.
    """

    def rule(call: Call) -> Any:
        x, state, parameters = call.arg(0, "input"), call.arg(1, "hx"), call.arg(2, "params")
        has_biases, num_layers, bidirectional = call.arg(3, "has_biases"), call.arg(4, "num_layers"), call.arg(7, "bi")
        if not is_labels(x) or not isinstance(parameters, list) or not all(map(call.is_parameter, parameters)):
            return not_understood(call)
        states = state if isinstance(state, list) else [state]
        directions = 2 if bidirectional else 1
        step = len(parameters) // (num_layers * directions)
        projected = step == (5 if has_biases else 3)
        first = parameters[0]
        hidden = np.split(first[0], gates)[0]
        width = parameters[step - 1][0] if projected else hidden
        features = x[-1]
        call.bind_attribute("input_size", features)
        call.bind_attribute("hidden_size", hidden)
        if projected:
            call.bind_attribute("proj_size", width)
            call.fix([hidden], "has to stay wider than its projection")
        for layer in range(num_layers):
            for direction in range(directions):
                start = (layer * directions + direction) * step
                _cell(call, x[:-1], features, parameters[start : start + step], hidden, width, gates, projected)
            features = np.concatenate([width] * directions)
        for at, one in enumerate(states):
            call.unify(width if at == 0 else hidden, one[-1])
        final = [(*one[:-1], (width if at == 0 else hidden)) for at, one in enumerate(states)]
        return [(*x[:-1], features), *final]

    return rule


def _cell(
    call: Call,
    steps: Labels,
    features: np.ndarray,
    parameters: list[Labels],
    hidden: np.ndarray,
    width: np.ndarray,
    gates: int,
    projected: bool,
) -> None:
    """One layer in one direction: weight_ih (gates * hidden, features), weight_hh (gates * hidden, width), biases."""
    reads, recurs = parameters[0], parameters[1]
    call.unify(features, reads[1])
    call.unify(width, recurs[1])
    call.roles.contracted.extend([reads[1], recurs[1]])
    call.works(*steps, *reads)
    call.works(*steps, *recurs)
    stacked = [one[0] for one in (parameters[:-1] if projected else parameters)]
    for rows in stacked:
        for gate in np.split(rows, gates):
            call.unify(hidden, gate)
    call.roles.produced.extend([reads[0], recurs[0]])
    if projected:
        projection = parameters[-1]
        call.unify(hidden, projection[1])
        call.unify(width, projection[0])
        call.works(*steps, *projection)
        call.roles.contracted.append(projection[1])
        call.roles.produced.append(projection[0])


def glu(call: Call) -> Any:
    x, at = call.arg(0, "self"), call.arg(1, "dim", -1)
    first, second = np.split(x[at], 2)
    call.unify(first, second)
    result = [dim.copy() for dim in x]
    result[at] = first.copy()
    return tuple(result)


def resize(call: Call) -> Any:
    """Interpolation and sampling: channels are carried, space is made anew."""
    x = call.arg(0, "input")
    call.fix(x[2:], "resizes a dimension of units")
    for grid in tensors_in(call.args[1:]):
        call.fix(grid, "places to read at")
    return (*x[:2], *fixed_labels(call.shape[2:]))


LAYER_RULES: dict[str, Rule] = {
    **{f"conv{dims}d": convolution for dims in (1, 2, 3)},
    **{f"conv_transpose{dims}d": transposed_convolution for dims in (1, 2, 3)},
    "linear": linear,
    "embedding": embedding,
    "matmul": matmul,
    "mm": matmul,
    "bmm": matmul,
    "addmm": addmm,
    "baddbmm": addmm,
    "einsum": einsum,
    "scaled_dot_product_attention": bilinear_attention,
    "batch_norm": batch_norm,
    "instance_norm": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": layer_norm,
    "group_norm": group_norm,
    "prelu": prelu,
    "glu": glu,
    **{
        f"{kind}_pool{dims}d": pool(dims)
        for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "lp", "fractional_max")
        for dims in (1, 2, 3)
    },
    **{f"max_pool{dims}d_with_indices": pool(dims) for dims in (1, 2, 3)},
    **dict.fromkeys(
        ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "prod", "logsumexp", "norm", "linalg_vector_norm"),
        reduction,
    ),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax"), along("normalises over units")),
    **dict.fromkeys(("cumsum", "cumprod", "sort"), along("goes along units in their order")),
    "lstm": recurrent(4),
    "gru": recurrent(3),
    "rnn_tanh": recurrent(1),
    "rnn_relu": recurrent(1),
    **{f"upsample_{mode}": resize for mode in ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d")},
    **{f"upsample_{mode}": resize for mode in ("bicubic2d", "trilinear3d")},
    **{f"_upsample_nearest_exact{dims}d": resize for dims in (1, 2, 3)},
    "grid_sampler": resize,
    "grid_sampler_2d": resize,
}
