"""Learning from another network: its outputs, and the outputs of its layers, in any training loop."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.config import DistilConfig
from edge_dendrite.errors import TrainError
from edge_dendrite.train.device import as_float32
from edge_dendrite.train.evaluate import evaluating
from edge_dendrite.train.losses import distillation_loss


class Distiller:
    """The loss of distillation, for a loop of your own; `fit` uses it too.

    The loss is `distillation_loss` plus, with `config.features`, feature_weight times the mean over the pairs of layers
    of the squared distance of their outputs (hints: Romero et al. 2015, "FitNets", section 2.1, with all of training
    in one stage). Each distance is divided by the mean square of the teacher's output, so that 1 is what a student of
    zeros has and one weight does for layers of any scale. Where pruning has made the student's layer narrower, a
    linear map along that dimension (a 1x1 convolution, for maps) takes it to the teacher's width. It is trained with
    the student, so its `parameters()` belong in your optimizer, and it is not part of the student.

    With features, `example_inputs` (b, ...), a batch ready for both networks, tell shapes and scales; the layers are
    watched until `close`, or the end of a `with`. The teacher runs in evaluation mode without gradients and is not
    changed.

    >>> import torch
    >>> from edge_dendrite import DistilConfig
    >>> from edge_dendrite.train.distil import Distiller
    >>> teacher = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
    >>> student = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    >>> inputs, targets = torch.randn(64, 8), torch.randint(3, (64,))
    >>> with Distiller(student, teacher, DistilConfig(features=("1",)), inputs) as distiller:
    ...     optimizer = torch.optim.SGD([*student.parameters(), *distiller.parameters()], lr=0.1)
    ...     losses = []
    ...     for _ in range(20):
    ...         optimizer.zero_grad()
    ...         loss = distiller(inputs, student(inputs), targets)
    ...         loss.backward()
    ...         optimizer.step()
    ...         losses.append(float(loss.detach()))
    >>> losses[-1] < losses[0]
    True

    Raises TrainError for a layer that is not there, is not called or gives no tensor, and for shapes that differ
    in more than a width.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        config: DistilConfig | None = None,
        example_inputs: torch.Tensor | None = None,
    ) -> None:
        self.teacher, self._config = teacher, config or DistilConfig()
        self._pairs = self._config.feature_pairs
        self._student_features = _Features(student, [one for one, _ in self._pairs], "student")
        self._teacher_features = _Features(teacher, [one for _, one in self._pairs], "teacher")
        self._student_features.watch()
        self._teacher_features.watch()
        self.projections = nn.ModuleList()
        # Constants: over a batch, or a process's share of one, the loss is then a mean over samples.
        self._scales: list[float] = []
        if self._pairs:
            if example_inputs is None:
                raise TrainError("distilling features needs example_inputs, a batch for both networks; none were given")
            try:
                self._project(student, example_inputs)
            except BaseException:
                self.close()
                raise

    def __call__(
        self,
        inputs: torch.Tensor,
        outputs_bk: torch.Tensor,
        targets_b: torch.Tensor,
        wanted_bk: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The loss (a scalar) of the student's `outputs_bk`, which it has just computed from `inputs` (b, ...).

        wanted_bk: the teacher's outputs for these inputs where they are known; without features it is not run then.
        """
        if wanted_bk is None or self._pairs:
            with torch.no_grad(), evaluating(self.teacher):
                wanted_bk = self.teacher(inputs)
        loss = distillation_loss(as_float32(outputs_bk), as_float32(wanted_bk), targets_b, self._config)
        if not self._pairs:
            return loss
        learned, wanted = self._student_features.pop(), self._teacher_features.pop()
        hints = [
            functional.mse_loss(project(one), other) / scale
            for project, one, other, scale in zip(self.projections, learned, wanted, self._scales, strict=True)
        ]
        return loss + self._config.feature_weight * torch.stack(hints).mean()

    @property
    def needs_inputs(self) -> bool:
        """Whether the teacher has to see the inputs even where its outputs are known: for its features."""
        return bool(self._pairs)

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained beside the student: the maps to the teacher's widths."""
        return self.projections.parameters()

    def close(self) -> None:
        """Stop watching the layers."""
        self._student_features.close()
        self._teacher_features.close()

    def __enter__(self) -> Distiller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _project(self, student: nn.Module, inputs: torch.Tensor) -> None:
        with torch.no_grad(), evaluating(student), evaluating(self.teacher):
            student(inputs)
            self.teacher(inputs)
        for pair, one, other in zip(
            self._pairs, self._student_features.pop(), self._teacher_features.pop(), strict=True
        ):
            self.projections.append(_projection(pair, one, other))
            self._scales.append(float(other.square().mean()))
            if not 0.0 < self._scales[-1] < float("inf"):
                raise TrainError(
                    f"feature {pair[1]!r} of the teacher has the mean square {self._scales[-1]} on the example inputs, "
                    "so there is nothing to learn from it; name another layer"
                )


class _Features:
    """Hooks that hold the last outputs of some layers of a network."""

    def __init__(self, module: nn.Module, names: list[str], whose: str) -> None:
        self._names, self._whose = names, whose
        self._outputs: dict[str, Any] = {}
        self._handles: list[Any] = []
        parts = dict(module.named_modules())
        for name in names:
            if name not in parts:
                close = difflib.get_close_matches(name, parts, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(filter(None, parts))}"
                raise TrainError(f"feature {name!r} is no layer of the {whose}; {hint}")
        self._layers = {name: parts[name] for name in names}

    def watch(self) -> None:
        for name, layer in self._layers.items():
            self._handles.append(layer.register_forward_hook(functools.partial(self._hold, name)))

    def pop(self) -> list[torch.Tensor]:
        """The outputs of the last forward pass, in the order of the names."""
        held, self._outputs = self._outputs, {}
        for name in self._names:
            if not isinstance(held.get(name), torch.Tensor):
                seen = f"gave a {type(held[name]).__name__}" if name in held else "was not called"
                raise TrainError(f"feature {name!r} of the {self._whose} {seen}; name a layer that gives one tensor")
        return [as_float32(held[name]) for name in self._names]

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._outputs = {}

    def _hold(self, name: str, part: nn.Module, inputs: Any, output: Any) -> None:
        self._outputs[name] = output


def _projection(pair: tuple[str, str], student: torch.Tensor, teacher: torch.Tensor) -> nn.Module:
    shapes = tuple(student.shape[1:]), tuple(teacher.shape[1:])
    differing = [dim for dim, (one, other) in enumerate(zip(*shapes, strict=False), start=1) if one != other]
    if student.dim() != teacher.dim() or len(differing) > 1:
        raise TrainError(
            f"feature {pair[0]!r} of the student has the shape {shapes[0]}, {pair[1]!r} of the teacher {shapes[1]}; "
            "they may differ in one dimension only, the width"
        )
    if not differing:
        return nn.Identity()
    dim = differing[0]
    return _Along(dim, student.shape[dim], teacher.shape[dim]).to(student.device)


class _Along(nn.Module):
    """A linear map along one dimension."""

    def __init__(self, dim: int, num_in: int, num_out: int) -> None:
        super().__init__()
        self._dim = dim
        self.linear = nn.Linear(num_in, num_out)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return as_float32(self.linear(features.movedim(self._dim, -1)).movedim(-1, self._dim))
