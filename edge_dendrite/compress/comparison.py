"""The whole job with several seeds, and what the compressed networks gained over their controls on test data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge_bench.atomic import canonical_json, write_bytes
from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.compress.pipeline import Outcome, compress_with_controls
from edge_dendrite.config import CompressConfig
from edge_dendrite.data.dataset import DataSet, Split
from edge_dendrite.errors import ConfigError
from edge_dendrite.paired import Interval, McNemar, mcnemar, paired_difference
from edge_dendrite.progress import Progress, silent
from edge_dendrite.roles import BASELINE, COMPRESSED, CONTROLS
from edge_dendrite.train.evaluate import Metric, accuracy, apply_metric, metric_name, predict

RESULT = "comparison.json"
SCHEMA, VERSION = "edge-dendrite.comparison", 1


@dataclass(frozen=True)
class Tested:
    """One network of one seed on test data."""

    role: str
    seed: int
    num_parameters: int
    metric: float


@dataclass(frozen=True)
class Against:
    """The compressed networks against those of one role, seed by seed.

    difference: of the metric, compressed minus other, mean over seeds with its 95 % interval. tests: McNemar's for each
    seed in the order of `seeds`; empty where samples are not right or wrong.
    """

    role: str
    seeds: tuple[int, ...]
    difference: Interval
    tests: tuple[McNemar, ...]

    @property
    def words(self) -> str:
        """better, worse or not distinguishable; "one seed" where seeds cannot tell."""
        return self.difference.words if len(self.seeds) > 1 else "one seed: not judged"


@dataclass(frozen=True)
class Comparison:
    """What was tested and what it says. missing: control -> why it cannot be made."""

    metric: str
    tested: tuple[Tested, ...]
    against: tuple[Against, ...]
    missing: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        against = [{**asdict(one), "seeds": list(one.seeds), "words": one.words} for one in self.against]
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "metric": self.metric,
            "tested": [asdict(one) for one in self.tested],
            "against": against,
            "missing": dict(self.missing),
        }


def controls(
    factory: Callable[[], nn.Module],
    data: DataSet,
    config: CompressConfig,
    out: str | Path,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    source: str = "",
    baseline: nn.Module | None = None,
    metric: Metric = accuracy,
    num_bytes: Callable[[nn.Module], int] | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Comparison:
    """Compress once for every seed, train all controls alike, and compare on test data.

    Each seed is a `compress_with_controls` in `out`/seed-N, so what is finished is kept and seeds can be added later.
    With a `baseline` all seeds start from it. Test data are read when all is trained, by every call anew: decide on the
    number of seeds before you look. The result is in
    `out`/comparison.json too. Raises ConfigError for no seed or one that is there twice, and as
    `compress_with_controls`.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"controls: give seeds that differ, at least one, not {list(seeds)}")
    out = Path(out)
    outcomes = {
        seed: compress_with_controls(
            factory,
            data,
            replace(config, fit=replace(config.fit, seed=seed), controls=True),
            out / f"seed-{seed}",
            source=source,
            baseline=baseline,
            metric=metric,
            num_bytes=num_bytes,
            device=device,
            progress=progress,
        )
        for seed in seeds
    }
    comparison = _compare(outcomes, data, metric, progress)
    write_bytes(str(out / RESULT), canonical_json(comparison.to_dict()))
    return comparison


def _compare(outcomes: Mapping[int, Outcome], data: DataSet, metric: Metric, progress: Progress) -> Comparison:
    test = data.read_test()
    tested: list[Tested] = []
    right: dict[tuple[str, int], torch.Tensor | None] = {}
    models = [(seed, model) for seed, outcome in outcomes.items() for model in outcome.models]
    for number, (seed, model) in enumerate(models):
        progress("testing", number, len(models))
        one, correct = _test(model, seed, data, test, metric)
        tested.append(one)
        right[model.role, seed] = correct
    progress("testing", len(models), len(models))
    missing: dict[str, str] = {}
    for outcome in outcomes.values():
        missing |= outcome.missing
    found = [_against(role, tested, right) for role in (BASELINE, *CONTROLS)]
    return Comparison(metric_name(metric), tuple(tested), tuple(one for one in found if one is not None), missing)


def _test(
    model: CompressedModel, seed: int, data: DataSet, test: Split, metric: Metric
) -> tuple[Tested, torch.Tensor | None]:
    """(what came out, which samples (n,) were right, or None where the targets are no classes)."""
    outputs = predict(model.module, data, test)
    number = sum(one.numel() for one in model.module.parameters())
    tested = Tested(model.role, seed, number, apply_metric(metric, outputs, test.targets))
    is_classes = outputs.dim() == 2 and test.targets.dim() == 1 and not test.targets.is_floating_point()
    return tested, outputs.argmax(1) == test.targets if is_classes else None


def _against(
    role: str, tested: Sequence[Tested], right: Mapping[tuple[str, int], torch.Tensor | None]
) -> Against | None:
    mine = {one.seed: one.metric for one in tested if one.role == COMPRESSED}
    theirs = {one.seed: one.metric for one in tested if one.role == role}
    seeds = tuple(seed for seed in mine if seed in theirs)
    if not seeds:
        return None
    difference = paired_difference([mine[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    pairs = [(right[COMPRESSED, seed], right[role, seed]) for seed in seeds]
    tests = tuple(mcnemar(one.numpy(), other.numpy()) for one, other in pairs if one is not None and other is not None)
    return Against(role, seeds, difference, tests)
