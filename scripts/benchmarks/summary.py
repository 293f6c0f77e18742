"""What the rows of a study say: means over seeds, paired differences, and which of our arms validation data choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_dendrite.paired import Interval, paired_difference
from scripts.benchmarks.rows import NOISE, TRAINED, Row, unpack_bits
from scripts.benchmarks.studies import DENSE, DENSE_LONGER, OUR_ARMS, OURS, RECIPE, REDUCED, SAME_SHAPE, SCRATCH, Study


@dataclass(frozen=True)
class Comparison:
    """`arm - other` in test accuracy at one budget, over the seeds that both have.

    same_shape: `other` has the arm's shape, and new weights. fewer_epochs: so many less than the arm.
    """

    arm: str
    other: str
    same_shape: bool
    fewer_epochs: int
    difference: Interval
    num_seeds: int
    num_samples: int

    @property
    def basis(self) -> str:
        """What the pairs are."""
        if self.num_seeds > 1:
            return f"{self.num_seeds} seeds"
        return f"{self.num_samples:,} test images, one seed"

    @property
    def other_name(self) -> str:
        """What stands on the other side."""
        if self.same_shape:
            return f"the same shape from scratch (`{self.other}`)"
        epochs = f" ({self.fewer_epochs} epochs fewer)" if self.fewer_epochs else ""
        return f"`{self.other}`{epochs}"

    @property
    def words(self) -> str:
        """better, worse or not distinguishable."""
        return self.difference.words


class Summary:
    """The rows of one study, by arm, budget and seed."""

    def __init__(self, study: Study, rows: Sequence[Row]) -> None:
        self.study = study
        self._rows = {
            (row["kind"], row["arm"], row["budget"], row["seed"]): row for row in rows if row["study"] == study.name
        }
        self._check_same_shapes()

    def of(self, arm: str, budget: float | None, kind: str = TRAINED) -> list[Row]:
        """Rows by seed."""
        found = [row for key, row in self._rows.items() if key[:3] == (kind, arm, budget)]
        return sorted(found, key=lambda row: row["seed"])

    def arms(self, budget: float | None) -> list[str]:
        """Arms with a row at this budget, in the order of the study."""
        return [arm for wave in self.study.waves for arm in wave if self.of(arm, budget)]

    @property
    def our_arms(self) -> list[str]:
        """Those that the study is about."""
        return [arm for wave in self.study.waves for arm in wave if arm in OUR_ARMS]

    @property
    def trained(self) -> list[Row]:
        """All rows of trained networks."""
        return self.of_kind(TRAINED)

    def of_kind(self, kind: str) -> list[Row]:
        """Rows of all networks."""
        return [row for key, row in self._rows.items() if key[0] == kind]

    @property
    def sigmas(self) -> list[float]:
        """Of the noise under which networks were tested."""
        return sorted({one["sigma"] for row in self.of_kind(NOISE) for one in row["noise"]})

    def tested(self, arm: str, budget: float | None, sigma: float | None = None) -> dict[int, Row]:
        """Results on test data by seed, under noise where sigma is given."""
        if sigma is None:
            return {row["seed"]: row for row in self.of(arm, budget)}
        rows = self.of(arm, budget, NOISE)
        return {row["seed"]: one for row in rows for one in row["noise"] if one["sigma"] == sigma}

    def compare(self, arm: str, other: str, budget: float, sigma: float | None = None) -> Comparison | None:
        """Paired over seeds, or over test samples where there is one seed only; None without a common seed.

        Raises ValueError where the two were not tested on the same images.
        """
        mine = self.tested(arm, budget, sigma)
        theirs = self.tested(other, None if other in (DENSE, DENSE_LONGER) else budget, sigma)
        seeds = sorted(mine.keys() & theirs.keys())
        if not seeds:
            return None
        if any(mine[seed].get("images_sha256") != theirs[seed].get("images_sha256") for seed in seeds):
            raise ValueError(
                f"{self.study.name}: {arm} and {other} were tested under different noise of sigma {sigma:g}; remove "
                "their noise rows and test them again on one machine"
            )
        if len(seeds) > 1:
            pairs = [[group[seed]["test_accuracy"] for seed in seeds] for group in (mine, theirs)]
        else:
            pairs = [unpack_bits(group[seeds[0]]["test_correct"]).tolist() for group in (mine, theirs)]
        num_samples = mine[seeds[0]]["test_correct"]["num_samples"]
        same_shape = other in SAME_SHAPE.values() and self.has_shape_of(arm, other, budget)
        fewer_epochs = self.study.grow_epochs if other == REDUCED else 0
        return Comparison(arm, other, same_shape, fewer_epochs, paired_difference(*pairs), len(seeds), num_samples)

    def comparisons(self, budget: float, sigma: float | None = None) -> list[Comparison]:
        """Each of our arms against its shape from scratch, every peer, and the dense networks; sigma: under noise."""
        return [
            found
            for arm in self.our_arms
            for other in self._others(arm, budget)
            if (found := self.compare(arm, other, budget, sigma))
        ]

    def rows_of_table(self, budget: float, kind: str) -> list[tuple[str, list[Row]]]:
        """The dense networks and the arms at a budget with their rows of a kind; without those that have none."""
        sizes = [(DENSE, None), (DENSE_LONGER, None), *((arm, budget) for arm in self.arms(budget))]
        return [(arm, rows) for arm, size in sizes if (rows := self.of(arm, size, kind))]

    def _others(self, arm: str, budget: float) -> list[str]:
        """Its own shape from scratch, for the recipe plain networks of equal size, peers, the dense networks."""
        controls = [one for one in SAME_SHAPE.values() if self.of(one, budget)]
        own = [one for one in controls if self._is_control_of(arm, one, budget)]
        own.sort(key=lambda one: one != SAME_SHAPE.get(arm))  # another arm's control where it has none itself
        plain = [] if arm != RECIPE else [one for one in (OURS, SCRATCH) if self.of(one, budget) and one not in own[:1]]
        peers = [one for one in self.arms(budget) if one not in OUR_ARMS and one not in controls]
        peers.sort(key=lambda one: one == REDUCED)  # the one with fewer epochs last
        return [*own[:1], *plain, *peers, DENSE, DENSE_LONGER]

    def _is_control_of(self, arm: str, control: str, budget: float) -> bool:
        seeds = [{row["seed"] for row in self.of(one, budget)} for one in (arm, control)]
        return bool(seeds[0] & seeds[1]) and self.has_shape_of(arm, control, budget)

    def recommended(self, budget: float) -> str | None:
        """Our arm with the higher mean accuracy on validation data; without a choice the one with the most seeds."""
        arms = [arm for arm in self.our_arms if self.of(arm, budget)]
        if not self.is_choice(budget):
            return max(arms, key=lambda arm: len(self.of(arm, budget)), default=None)
        return max(arms, key=lambda arm: math.fsum(row["val_accuracy"] for row in self.of(arm, budget)))

    def is_choice(self, budget: float) -> bool:
        """Whether all of our arms have the same seeds, so that validation data can choose."""
        first, *others = ({row["seed"] for row in self.of(arm, budget)} for arm in self.our_arms)
        return bool(first and others) and all(seeds == first for seeds in others)

    def has_shape_of(self, arm: str, other: str, budget: float) -> bool:
        """Whether both have the same widths and sizes in every seed that both have."""
        # The widths alone do not tell: recurrent layers have none.
        keys = ("widths", "num_parameters", "num_macs")
        shapes = {row["seed"]: [row[key] for key in keys] for row in self.of(other, budget)}
        return all(
            [row[key] for key in keys] == shapes[row["seed"]] for row in self.of(arm, budget) if row["seed"] in shapes
        )

    def _check_same_shapes(self) -> None:
        for budget in self.study.budgets:
            for arm, control in SAME_SHAPE.items():
                if not self.has_shape_of(control, arm, budget):
                    raise ValueError(
                        f"{self.study.name}: at {budget:g} {control} has another shape than {arm}, so it is no "
                        "control; were they made by different versions? Remove one of the rows and train it again"
                    )


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """(mean, standard deviation over seeds or None for one)."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return math.fsum(values) / len(values), spread
