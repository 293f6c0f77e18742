"""Where the sizes in a forward come from: a number in the code, an attribute of a module, or the size of a tensor.

A graph of `torch.export` has numbers only: `view(b, t, 4, 16)` may be four heads by an attribute, by arithmetic, or
for ever. So the forward is run once more on fake tensors with whole numbers that remember how they were computed, and
the sizes that it writes are matched with the graph's calls by their line of code and order. A size that follows an
attribute tells which attribute an edit has to change; a number in the code cannot change.
"""

from __future__ import annotations

import contextlib
import operator
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from edge_dendrite.compress.forward import Inputs, flat, forward

# A place in the code: file and line.
Place = tuple[str, int]
_LAST_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_MAX_FRAMES = 24


@dataclass(frozen=True)
class Attribute:
    """A whole number in a module: its attribute `name`, or entry `index` of a tuple of that name."""

    module: str
    name: str
    index: int | None = None

    def __str__(self) -> str:
        entry = "" if self.index is None else f"[{self.index}]"
        return f"{self.module}.{self.name}{entry}" if self.module else f"{self.name}{entry}"


@dataclass(frozen=True)
class Origin:
    """The size of dimension `dim` of output `output` of the call `call` of a recorded forward; or, with a `tensor`, of
    the parameter or buffer of that name."""

    call: int
    output: int
    dim: int
    tensor: str = ""


# What a size was computed from.
Source: TypeAlias = Attribute | Origin


class Size(int):
    """A whole number that remembers what it was computed from: attributes, and sizes of tensors.

    follows: whether the size of a tensor went into it. sources: attributes and known tensors; inputs of the network,
    whose size never changes, are not among them.
    """

    sources: frozenset[Source]
    follows: bool
    evaluate: Callable[[Mapping[Source, int]], int]
    # Attributes that went into other numbers than sizes, such as the scale of a product.
    escaped: set[Attribute]

    @classmethod
    def of_attribute(cls, value: int, attribute: Attribute, escaped: set[Attribute] | None = None) -> Size:
        """The value of an attribute."""
        size = cls._of(value, attribute)
        size.escaped = set() if escaped is None else escaped
        return size

    @classmethod
    def of_tensor(cls, value: int, origin: Origin | None, *, follows: bool = True) -> Size:
        """A size read from a tensor: when the tensor is cut, it follows by itself."""
        size = cls._of(value, origin)
        size.follows = follows
        return size

    @property
    def attributes(self) -> frozenset[Attribute]:
        """The attributes among the sources."""
        return frozenset(one for one in self.sources if isinstance(one, Attribute))

    @classmethod
    def _of(cls, value: int, source: Source | None) -> Size:
        size = cls(value)
        size.sources = frozenset() if source is None else frozenset([source])
        size.follows, size.escaped = False, set()
        size.evaluate = (lambda values: value) if source is None else (lambda values: values.get(source, value))
        return size

    def escape(self) -> int:
        """The plain value, for a use in which it is no size."""
        self.escaped |= self.attributes
        return int(self)

    @classmethod
    def _computed(cls, operation: Callable[[int, int], Any], first: int, second: int) -> Any:
        value = operation(int(first), int(second))
        if type(value) is not int:
            return value
        parts = [one for one in (first, second) if isinstance(one, Size)]

        def evaluate(values: Mapping[Source, int]) -> int:
            left, right = (one.evaluate(values) if isinstance(one, Size) else one for one in (first, second))
            return operation(left, right)

        size = cls(value)
        size.sources = frozenset[Source]().union(*(one.sources for one in parts))
        size.follows, size.evaluate = any(one.follows for one in parts), evaluate
        size.escaped = next((one.escaped for one in parts if one.attributes), set())
        return size

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __reduce__(self) -> Any:
        return int, (int(self),)  # a copy that leaves the recording is a plain number


def _arithmetic(name: str, *, reflected: bool) -> Callable[[Size, Any], Any]:
    operation = getattr(operator, name)

    def method(self: Size, other: Any) -> Any:
        if type(other) is not int and not isinstance(other, Size):
            value = self.escape()
            return operation(other, value) if reflected else operation(value, other)
        return Size._computed(operation, *((other, self) if reflected else (self, other)))

    return method


def _leaving(name: str) -> Callable[..., Any]:
    plain = getattr(int, name)

    def method(self: Size, *others: Any) -> Any:
        return plain(self.escape(), *(one.escape() if isinstance(one, Size) else one for one in others))

    return method


for _name in ("__pow__", "__rpow__", "__truediv__", "__rtruediv__", "__float__"):
    setattr(Size, _name, _leaving(_name))
for _name in ("add", "sub", "mul", "floordiv", "mod"):
    setattr(Size, f"__{_name}__", _arithmetic(_name, reflected=False))
    setattr(Size, f"__r{_name}__", _arithmetic(_name, reflected=True))


@dataclass
class Recorded:
    """One call of the forward: its name and lines of code, the shapes it returned, and the sizes that it was given."""

    name: str
    frames: tuple[Place, ...]
    shapes: list[tuple[int, ...]]
    sizes: list[Any] = field(default_factory=list)
    # (start, stop) of each slice of an indexing.
    slices: list[tuple[Any, Any]] = field(default_factory=list)


class WrittenSizes:
    """The calls of a forward, matched with those of its graph.

    escaped: attributes that are used for other things than sizes too. node_of: for calls, the name of the graph's node.
    """

    def __init__(self, calls: Sequence[Recorded], graph: torch.fx.Graph, escaped: frozenset[Attribute]) -> None:
        self.escaped = escaped
        self.node_of: dict[int, str] = {}
        self._call_of: dict[str, Recorded] = {}
        self._indexings: dict[Place, list[Recorded]] = defaultdict(list)
        places = {place for node in graph.nodes if (place := _place(node)) is not None}
        waiting: dict[tuple[Place, str], list[tuple[int, Recorded]]] = defaultdict(list)
        for number, call in enumerate(calls):
            place = next((frame for frame in call.frames if frame in places), None)
            if place is not None:
                waiting[place, _plain_name(call.name)].append((number, call))
                if call.slices:
                    self._indexings[place].append(call)
        for node in graph.nodes:
            if node.op == "call_function":
                self._match(node, waiting)

    def _match(self, node: torch.fx.Node, waiting: dict[tuple[Place, str], list[tuple[int, Recorded]]]) -> None:
        """The first call on the node's line that has its name and shapes, and was not matched before."""
        schema = getattr(node.target, "_schema", None)
        name = _plain_name(schema.name.removeprefix("aten::") if schema is not None else "")
        candidates = waiting.get((_place(node) or ("", 0), name), [])
        shapes = [tuple(one.shape) for one in _pytree.tree_leaves(node.meta.get("val")) if hasattr(one, "shape")]
        for at, (number, call) in enumerate(candidates):
            if call.shapes == shapes:
                del candidates[: at + 1]
                self.node_of[number], self._call_of[node.name] = node.name, call
                return

    def of_call(self, node: torch.fx.Node, values: Sequence[int]) -> list[Any]:
        """The sizes that a call was given as they were computed; the plain values when that is not known."""
        call = self._call_of.get(node.name)
        return call.sizes if call is not None and call.sizes == list(values) else list(values)

    def of_slice(self, node: torch.fx.Node, start: int, stop: int) -> tuple[Any, Any]:
        """(start, stop) of the next slice on the node's line that has these values."""
        waiting = self._indexings.get(_place(node) or ("", 0), [])
        for at, call in enumerate(waiting):
            for number, one in enumerate(call.slices):
                if _same_bound(one[0], start, 0) and _same_bound(one[1], stop, sys.maxsize):
                    del call.slices[: number + 1]
                    del waiting[:at]
                    return one
        return start, stop


# Names of functions whose operator has another one.
_OPERATOR_NAMES = {"truediv": "div", "split_with_sizes": "split"}


def _plain_name(name: str) -> str:
    """One name for a function, its method, its operator and its in-place form."""
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
        if name[:1] in ("r", "i") and name[1:] in ("add", "sub", "mul", "truediv", "matmul"):
            name = name[1:]
    name = name.rstrip("_")
    return _OPERATOR_NAMES.get(name, name)


def _same_bound(written: Any, value: Any, default: int) -> bool:
    return (default if written is None else written) == (default if value is None else value)


def _place(node: torch.fx.Node) -> Place | None:
    found = _LAST_PLACE.findall(node.meta.get("stack_trace") or "")
    return (found[-1][0], int(found[-1][1])) if found else None


def record_sizes(module: nn.Module, inputs: Inputs, graph: torch.fx.Graph) -> WrittenSizes:
    """Run the forward on fake tensors (nothing is computed) and note the sizes that it writes.

    A forward that cannot run so has no recorded sizes: every written size then counts as a number in the code.
    """
    if not any(_takes_sizes(node) for node in graph.nodes):
        return WrittenSizes([], graph, frozenset())
    escaped: set[Attribute] = set()
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    fake_inputs = _pytree.tree_map_only(torch.Tensor, fake.from_tensor, inputs)
    recorder = _Recorder(module, _pytree.tree_leaves(fake_inputs))
    recording = (torch.no_grad(), _attributes_as_sizes(module, escaped), quiet(), fake, recorder)
    with contextlib.suppress(Exception), contextlib.ExitStack() as stack:
        for one in recording:
            stack.enter_context(one)
        forward(module, fake_inputs)
    return WrittenSizes(recorder.calls, graph, frozenset(escaped))


def _takes_sizes(node: torch.fx.Node) -> bool:
    """Whether a call is given sizes that could follow a cut; a plain convolutional network has none."""
    schema = getattr(node.target, "_schema", None)
    name = _plain_name(schema.name.removeprefix("aten::")) if schema is not None else ""
    if name.startswith("conv"):
        return len(node.args) > 6 and node.args[6] != 1
    return name == "slice" or name in _SIZE_ARGUMENTS or name in _ONE_SIZE_ARGUMENT


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of a forward that is run only to look at it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _attributes_as_sizes(module: nn.Module, escaped: set[Attribute]) -> Iterator[None]:
    """Whole numbers in the modules' attributes remember where they stand, for a while."""
    changed: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for fqn, part in module.named_modules():
            for name, value in list(vars(part).items()):
                replaced = _remembering(value, fqn, name, escaped)
                if replaced is not value:
                    changed.append((vars(part), name, value))
                    vars(part)[name] = replaced
        yield
    finally:
        for values, name, value in changed:
            values[name] = value


def _remembering(value: Any, fqn: str, name: str, escaped: set[Attribute]) -> Any:
    if type(value) is int:
        return Size.of_attribute(value, Attribute(fqn, name), escaped)
    if type(value) in (tuple, list, torch.Size) and value and all(type(one) is int for one in value):
        sizes = [Size.of_attribute(one, Attribute(fqn, name, index), escaped) for index, one in enumerate(value)]
        return type(value)(sizes)
    return value


class _Recorder(TorchFunctionMode):
    """Makes sizes read from tensors remember which tensor, and notes the sizes that calls are given."""

    def __init__(self, module: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.calls: list[Recorded] = []
        # By identity, with the tensor itself, so that no other takes its identity over.
        self._made: dict[int, tuple[torch.Tensor, int, int]] = {}
        self._inputs = {id(one): one for one in inputs}
        self._stored = {
            id(one): name
            for name, one in [
                *module.named_buffers(remove_duplicate=False),
                *module.named_parameters(remove_duplicate=False),
            ]
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in ("__get__", "size", "__len__", "numel"):
            return self._sizes(args[0], name, args[1:] or tuple(kwargs.values()), result)
        made = [one for one in _pytree.tree_leaves(result) if isinstance(one, torch.Tensor)]
        if made:
            call = Recorded(name, _frames(), [tuple(one.shape) for one in made])
            if not _note_sizes(call, args, kwargs):
                for one in numbers_in([*args, *kwargs.values()]):
                    if isinstance(one, Size):
                        one.escape()
            for output, one in enumerate(made):
                self._made[id(one)] = (one, len(self.calls), output)
            self.calls.append(call)
        return result

    def _sizes(self, tensor: Any, name: str, rest: tuple[Any, ...], result: Any) -> Any:
        if isinstance(result, torch.Size):
            return torch.Size([self._size(tensor, dim, value) for dim, value in enumerate(result)])
        if type(result) is not int:
            return result
        if name == "size":
            return self._size(tensor, int(rest[0]) % tensor.dim(), result)
        return self._size(tensor, 0, result) if name == "__len__" else Size.of_tensor(result, None)

    def _size(self, tensor: torch.Tensor, dim: int, value: int) -> Size:
        if id(tensor) in self._inputs:
            return Size.of_tensor(value, None, follows=False)
        if id(tensor) in self._stored:
            return Size.of_tensor(value, Origin(-1, 0, dim, self._stored[id(tensor)]))
        made = self._made.get(id(tensor))
        return Size.of_tensor(value, Origin(made[1], made[2], dim) if made else None)


def _frames() -> tuple[Place, ...]:
    """Files and lines of the callers, innermost first."""
    frame = sys._getframe(2)
    places: list[Place] = []
    while frame is not None and len(places) < _MAX_FRAMES:
        places.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(places)


# Where functions take their sizes: the position of the first size and the keyword. The name is that of the ATen
# operator as far as it is another.
_SIZE_ARGUMENTS = {
    "view": (1, "size"),
    "reshape": (1, "shape"),
    "expand": (1, "size"),
    "repeat": (1, "repeats"),
    "unflatten": (2, "sizes"),
    "layer_norm": (1, "normalized_shape"),
    "rms_norm": (1, "normalized_shape"),
    "zeros": (0, "size"),
    "ones": (0, "size"),
    "empty": (0, "size"),
    "new_zeros": (1, "size"),
    "new_ones": (1, "size"),
    "new_empty": (1, "size"),
}
_ONE_SIZE_ARGUMENT = {
    "split": (1, "split_size_or_sections"),
    "split_with_sizes": (1, "split_sizes"),
    "full": (0, "size"),
    "new_full": (1, "size"),
    **{f"conv{dims}d": (6, "groups") for dims in (1, 2, 3)},
    **{f"conv_transpose{dims}d": (6, "groups") for dims in (1, 2, 3)},
}


def _note_sizes(call: Recorded, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Note the sizes among the arguments; False when the function takes none that could change."""
    name = call.name
    if name == "__getitem__":
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        call.slices = [(one.start, one.stop) for one in index if isinstance(one, slice)]
    elif name in _ONE_SIZE_ARGUMENT:
        at, keyword = _ONE_SIZE_ARGUMENT[name]
        value = args[at] if at < len(args) else kwargs.get(keyword, kwargs.get("split_size"))
        call.sizes = numbers_in([value])
    elif name in _SIZE_ARGUMENTS:
        at, keyword = _SIZE_ARGUMENTS[name]
        call.sizes = numbers_in(args[at:]) or numbers_in([kwargs.get(keyword)])
    else:
        return False
    return True


def numbers_in(values: Sequence[Any]) -> list[int]:
    """The whole numbers in nested lists and tuples, in order."""
    return [one for one in flat(values) if isinstance(one, int) and not isinstance(one, bool)]
