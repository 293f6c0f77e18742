"""Which nodes of an ONNX file a node is that onnxruntime made of them, told by its name.

onnxruntime renames what it fuses: 'fused NAME' is the node NAME with the activation behind it, 'TENSOR_nchwc' computes
the tensor TENSOR with whatever lies between it and the convolution. What a name does not tell without doubt stays
unknown; nodes that the runtime added, such as ReorderOutput, have no origin.
"""

from typing import Dict, List, Optional, Set, Tuple

from edge_bench.engine.onnx_nodes import Node

_FUSED, _BLOCKED = "fused ", "_nchwc"
# What onnxruntime puts into the convolution before it.
_INTO_CONV = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "Clip", "Gelu", "Add", "Sum", "BatchNormalization")
_MAX_STEPS = 6


def find_origins(made: List[Tuple[str, str]], nodes: List[Node]) -> List[List[str]]:
    """For each (name, operator) of the runtime the names of the file's nodes that it computes; empty where unknown."""
    by_name = {node.name: node for node in nodes if node.name}
    producers = {output: node for node in nodes for output in node.outputs}
    found: List[Optional[List[str]]] = [_by_its_name(name, by_name) for name, _ in made]
    taken = {name for names in found if names for name in names}
    open_ones: Dict[int, List[List[Node]]] = {}
    for place, (name, kind) in enumerate(made):
        if found[place] is None and name.endswith(_BLOCKED):
            open_ones[place] = _chains(producers.get(name[: -len(_BLOCKED)]), kind, producers)
    # Where two ways lead back, as from a residual sum, the other one's node is often told by a name of its own.
    for _ in range(len(open_ones)):
        told = {place: chain for place, chains in open_ones.items() for chain in _only(chains, taken)}
        if not told:
            break
        for place, chain in told.items():
            names = [node.name or node.outputs[0] for node in chain]
            found[place] = names[::-1]
            taken.add(names[-1])
            del open_ones[place]
    return [names or [] for names in found]


def _by_its_name(name: str, by_name: Dict[str, Node]) -> Optional[List[str]]:
    for known in (name, name[len(_FUSED) :] if name.startswith(_FUSED) else ""):
        if known in by_name:
            return [known]
    return None


def _only(chains: List[List[Node]], taken: Set[str]) -> List[List[Node]]:
    left = [chain for chain in chains if (chain[-1].name or chain[-1].outputs[0]) not in taken]
    return left if len(left) == 1 else []


def _chains(start: Optional[Node], kind: str, producers: Dict[str, Node]) -> List[List[Node]]:
    """The ways back from a node to the nearest ones of this kind, over what goes into a convolution."""
    ways, ends = [[start]] if start is not None else [], []  # type: List[List[Node]], List[List[Node]]
    for _ in range(_MAX_STEPS):
        longer = []  # type: List[List[Node]]
        for way in ways:
            if way[-1].kind == kind:
                ends.append(way)
            elif way[-1].kind in _INTO_CONV:
                longer += [way + [producers[one]] for one in way[-1].inputs if one in producers]
        ways = longer[:16]
    return ends
