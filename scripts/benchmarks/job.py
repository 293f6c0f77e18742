"""What the arms of one seed share, and how a network is trained so that a killed run goes on."""

from __future__ import annotations

import functools
import itertools
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge_bench.atomic import parse_json, write_json
from edge_dendrite.compress.dendrites.gate import ComputePenalty
from edge_dendrite.compress.identity import digest_of, source_digest
from edge_dendrite.compress.model import CompressedModel, load, weights_digest
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.plan import Plan
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.compress.record import RECORD
from edge_dendrite.config import Budget, FitConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.models.source import find_factory
from edge_dendrite.progress import Progress
from edge_dendrite.roles import BASELINE, COMPRESSED
from edge_dendrite.train.fit import History, Teacher, fit
from scripts.benchmarks.studies import DENSE, Study


@dataclass(frozen=True)
class Case:
    """Which row: budget is None for a network that is not cut."""

    arm: str
    budget: float | None
    seed: int

    @property
    def name(self) -> str:
        """For folders and files."""
        return self.arm if self.budget is None else f"{self.arm}-{self.budget:g}"


class Seed:
    """The data, the trained dense network and the batches for scoring, which all arms of a seed share.

    folder: where the dense network and the files of all arms are kept.
    """

    def __init__(self, study: Study, seed: int, data: DataSet, folder: Path, progress: Progress) -> None:
        self.study, self.seed, self.data, self.folder, self.progress = study, seed, data, folder, progress
        self.fit = replace(study.fit, seed=seed)
        self.factory: Callable[[], nn.Module] = find_factory(study.model, len(data.labels))
        self.fingerprint = data.fingerprint()
        self.dense_trainer = Trainer(self, Case(DENSE, None, seed))

    @functools.cached_property
    def dense(self) -> CompressedModel:
        """Loaded, or trained when it is not there. Raises ValueError when the kept one has another recipe."""
        folder = self.folder / DENSE
        recipe = {
            "fit": self.fit.to_dict(),
            "data": self.fingerprint,
            "network": source_digest(self.factory()),
        }
        if (folder / RECORD).exists():
            model = load(folder)
            if model.recipe != recipe:
                raise ValueError(f"{folder}: was trained with other settings or data; give another --work")
            return model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            module = self.factory()
        trainer = self.dense_trainer
        trainer.train(module, self.fit, None, is_new=True)
        model = CompressedModel.describe(
            module,
            self.data,
            name=f"{self.study.model} seed {self.seed}",
            source=self.study.model,
            role=BASELINE,
            history=trainer.history,
            recipe=recipe,
            val_metric=trainer.history[-1]["val_metric"],
        )
        model.save(folder)
        trainer.forget()
        return model

    @functools.cached_property
    def scoring_batches(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Training batches on which every pruner scores: as many as all rounds of ours look at."""
        generator = torch.Generator().manual_seed(self.seed)
        shuffled = self.data.batches(self.data.train, self.fit.batch_size, generator)
        return list(itertools.islice(shuffled, self.study.prune.num_rounds * self.study.prune.num_batches))


class Trainer:
    """Trains one network, possibly in several parts, each with its checkpoint."""

    def __init__(self, shared: Seed, case: Case) -> None:
        self._shared, self._case = shared, case
        self._num_parts = 0
        self.history: History = []
        self.clock = Clock(shared.progress)

    def train(
        self,
        module: nn.Module,
        config: FitConfig,
        teacher: Teacher | None,
        penalty: Callable[[], torch.Tensor] | None = None,
        *,
        is_new: bool = False,
    ) -> nn.Module:
        """`fit` in place, resumable; the checkpoint belongs to these start weights, this teacher and these data."""
        self._num_parts += 1
        key = digest_of(
            [
                self._shared.fingerprint,
                weights_digest(module),
                None if teacher is None else weights_digest(teacher.module),
            ]
        )
        self.history += fit(
            module,
            self._shared.data,
            config,
            stage=f"{self._case.name} seed {self._case.seed} part {self._num_parts}",
            teacher=teacher,
            penalty=penalty,
            is_new=is_new,
            checkpoint=self._checkpoint(self._num_parts),
            key=key,
            progress=self.clock,
        )
        return module

    def forget(self) -> None:
        """Remove the checkpoints: what they led to is kept elsewhere."""
        for path in self._shared.folder.glob(f"checkpoints/{self._case.name}.*.safetensors"):
            path.unlink()

    def _checkpoint(self, part: int) -> Path:
        return self._shared.folder / "checkpoints" / f"{self._case.name}.{part}.safetensors"


class Job:
    """One arm at one budget: what the functions of arms.py work with.

    notes: what an arm wants to be in its row, JSON-ready.
    """

    def __init__(self, shared: Seed, case: Case) -> None:
        self._shared, self.case = shared, case
        self._dense = shared.dense
        self.trainer = Trainer(shared, case)
        self.study, self.seed, self.factory = shared.study, shared.seed, shared.factory
        self.notes: dict[str, Any] = {}

    @property
    def data(self) -> DataSet:
        return self._shared.data

    @property
    def teacher(self) -> Teacher:
        """The dense network, as everything after it learns from it."""
        return Teacher(self.dense, self.study.distil)

    @property
    def dense(self) -> nn.Module:
        """The trained dense network; arms must not change it."""
        return self._dense.module

    @property
    def scoring_batches(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return self._shared.scoring_batches

    @property
    def max_parameters(self) -> int:
        """How many may stay."""
        assert self.case.budget is not None, f"{self.case.arm} has no budget"
        return round(sum(parameter.numel() for parameter in self.dense.parameters()) * (1.0 - self.case.budget))

    @property
    def history(self) -> History:
        """Of what this arm trained; of the dense network, where it trained nothing."""
        return self.trainer.history or self._dense.history

    @property
    def clock(self) -> Clock:
        """As `history`; empty where the dense network was there already."""
        return self.trainer.clock if self.trainer.history else self._shared.dense_trainer.clock

    def pruned(self) -> Pruned:
        """Our pruning to the budget; the same at every call."""
        budget = Budget(max_parameters=self.max_parameters)
        return prune(self.dense, self.scoring_batches, budget, self.study.prune, progress=self._shared.progress)

    def keep_plan(self, plan: Plan) -> None:
        """For the control that has this arm's shape."""
        path = self._plan_path(self.case)
        path.parent.mkdir(exist_ok=True)
        write_json(str(path), plan.to_dict())

    def kept_plan(self, arm: str) -> Plan:
        """What another arm kept at this budget. Raises ValueError when it is not there."""
        path = self._plan_path(replace(self.case, arm=arm))
        try:
            return Plan.from_dict(parse_json(path.read_bytes()))
        except FileNotFoundError as error:
            raise ValueError(f"{path}: is not there; train {arm} first, without its row in the results") from error

    def keep_network(self, module: nn.Module, plan: Plan) -> None:
        """For the arms that go on from this one's."""
        folder = self._network_folder(self.case)
        shutil.rmtree(folder, ignore_errors=True)
        CompressedModel.describe(
            module,
            self.data,
            name=self.case.name,
            source=self.study.model,
            role=COMPRESSED,
            plan=plan,
            history=self.trainer.history,
        ).save(folder)

    def kept_network(self, arm: str) -> CompressedModel:
        """What another arm kept at this budget. Raises ValueError when it is not there."""
        folder = self._network_folder(replace(self.case, arm=arm))
        if not (folder / RECORD).exists():
            raise ValueError(f"{folder}: is not there; train {arm} first, without its row in the results")
        return load(folder)

    def _network_folder(self, case: Case) -> Path:
        return self._shared.folder / "networks" / case.name

    def _plan_path(self, case: Case) -> Path:
        return self._shared.folder / "plans" / f"{case.name}.json"

    def distil(
        self,
        module: nn.Module,
        epochs: int,
        *,
        is_new: bool = False,
        penalty: Callable[[], torch.Tensor] | None = None,
    ) -> nn.Module:
        """Train `module` in place with the dense network as its teacher; is_new: its weights are random."""
        config = replace(self._shared.fit, epochs=epochs)
        return self.trainer.train(module, config, self.teacher, penalty, is_new=is_new)

    def train(
        self, factory: Callable[[int], nn.Module], make_penalty: Callable[[nn.Module], ComputePenalty] | None = None
    ) -> nn.Module:
        """A network of its own, trained as the dense one was: from random weights of this seed, without a teacher."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            module = factory(len(self.data.labels))
        penalty = None if make_penalty is None else make_penalty(module)
        return self.trainer.train(module, self._shared.fit, None, penalty, is_new=True)


@dataclass(frozen=True)
class Foreign:
    """A network of somebody else's making that is no module here: its ONNX file and what is counted of it."""

    content: bytes
    num_parameters: int
    num_macs: int


class Clock:
    """Passes progress on and times the epochs that this process trains itself, not those from a checkpoint."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last: tuple[str, int, float] | None = None
        self.seconds, self.steps = 0.0, 0

    def __call__(self, description: str, done: int, total: int, /) -> None:
        now = time.perf_counter()
        is_training = description.startswith("training ")  # and not asking the teacher, or scoring units
        if is_training and self._last is not None and self._last[0] == description and done > self._last[1]:
            self.seconds += now - self._last[2]
            self.steps += done - self._last[1]
        self._last = (description, done, now)
        self._progress(description, done, total)

    def to_dict(self) -> dict[str, Any]:
        """Seconds of training, and over how many steps they were taken: fewer than all where a run was resumed."""
        return {"train_seconds": round(self.seconds, 3), "timed_steps": self.steps}
