"""The smallest network that still keeps the metric, by bisection on validation data."""

from __future__ import annotations

from collections.abc import Callable

from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.errors import PruneError

NUM_TRIALS = 6


def smallest_that_keeps(
    least: float, tried: Callable[[float], CompressedModel], num_trials: int = NUM_TRIALS
) -> CompressedModel:
    """The model with the largest pruning ratio found whose metric on validation data is at least `least`.

    tried: prunes to a ratio of the parameters, trains, and returns the model. The ratio is found to 1/2**num_trials, as
    if the metric only fell with it: noise can make a larger ratio pass that was not tried. A ratio that cannot be
    reached counts as too large. Raises PruneError when no trial passes.
    """
    low, high = 0.0, 1.0
    best: CompressedModel | None = None
    seen: list[str] = []
    for _ in range(num_trials):
        ratio = (low + high) / 2
        try:
            model = tried(ratio)
        except PruneError as error:
            seen.append(f"{ratio:.1%}: {error}")
            high = ratio
            continue
        assert model.val_metric is not None
        seen.append(f"{ratio:.1%}: {model.val_metric:.4g}")
        if model.val_metric >= least:
            best, low = model, ratio
        else:
            high = ratio
    if best is None:
        raise PruneError(
            f"no pruned network keeps {least:.4g} on validation data; tried {'; '.join(seen)}. "
            "Allow a larger max_drop, or more epochs after pruning"
        )
    return best
