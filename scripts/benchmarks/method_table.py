"""What a study's page says of how its networks were made, arm by arm of those that the study has."""

from __future__ import annotations

from collections.abc import Iterator

from edge_dendrite.report.format import percent
from scripts.benchmarks.studies import (
    DENSE,
    EQUAL_CAPACITY,
    GATED,
    GRADUAL,
    GROWN,
    PERFORATED_AI,
    RECIPE,
    UNIFORM_L2,
    Study,
)


def training_words(study: Study) -> str:
    """One paragraph."""
    return " ".join(_sentences(study))


def _sentences(study: Study) -> Iterator[str]:
    fit, more = study.fit, study.more_epochs
    arms = {arm for wave in study.waves for arm in wave} - {DENSE}
    norms = ", layers without a norm with one that is folded into them afterwards" if fit.transient_norms else ""
    settings = (
        f"(AdamW, one cycle, batch {fit.batch_size}, peak learning rate {fit.learning_rate:g}, weight decay "
        f"{fit.weight_decay:g}{norms})"
    )
    if study.train_share < 1.0:
        yield f"All train on the same {percent(study.train_share, 0)} of the training data."
    if not more:
        yield f"Every network trains {fit.epochs} epochs {settings} from random weights, without a teacher."
        return
    shared = "All of a seed start from the same dense network and score on the same training batches."
    if GROWN in arms:
        yield f"The dense network trains {fit.epochs} epochs {settings}. {shared}"
        yield from _of_growth(study, PERFORATED_AI in arms, EQUAL_CAPACITY in arms)
        return
    yield (
        f"The dense network trains {fit.epochs} epochs {settings}. Every other network has {fit.epochs + more} epochs "
        f"in all and the dense network as its teacher in the last {more} (from scratch: in all {fit.epochs + more}, in "
        f"one schedule). {shared}"
    )
    if UNIFORM_L2 in arms:
        yield (
            "Torch-Pruning's ratio is found by bisection: the largest network within the budget. Ours rounds widths to "
            f"multiples of {study.prune.round_to}, Torch-Pruning to none, and scores anew in {study.prune.num_rounds} "
            "rounds, where Torch-Pruning, as in its examples, scores once."
        )
    if GRADUAL in arms:
        yield f"`{GRADUAL}` reaches its size in several cuts, distilled after each."
    if RECIPE in arms:
        yield (
            f"`{RECIPE}` tries candidates for {3 * study.recipe.trial_steps} steps at most and takes the one with the "
            "smallest loss on validation data. Its steps count among its epochs, or are forgotten where they are more "
            f"than {percent(study.recipe.trial_share, 0)} of them; the trials of the others come on top."
        )
    if GATED in arms:
        yield (
            "All gates together are trained towards the rest of the work; what closed blocks do instead is the "
            f"block with branches for its layers (`{GATED}`) or one linear map."
        )


def _of_growth(study: Study, has_peer: bool, has_equal: bool) -> Iterator[str]:
    dense, more, grow = study.fit.epochs, study.more_epochs, study.grow_epochs
    yield (
        f"`reduced` is pruned from it and has {dense + more} epochs in all, with the dense network as its teacher "
        f"after the cut; all others have {dense + more + grow}. Dendrites may add {percent(study.grow_share, 0)} to "
        "the parameters of `reduced`; they are added at the start and in the middle of the last epochs. The weights "
        "that were best on validation data are kept, and dendrites without which validation is as good are removed; "
        "`reduced-longer` keeps its best weights at the same moments, and the others their last ones. From scratch: "
        "all epochs in one schedule. `dendrites-zeroed` is not trained."
    )
    if has_equal:
        yield (
            f"`{EQUAL_CAPACITY}` is pruned from the dense network to as many parameters as the grown one has, widths "
            "of any number, with the same epochs in the same parts."
        )
    if has_peer:
        yield (
            f"`{PERFORATED_AI}` is version 3.2.9 with its gradient-descent dendrites, unattended, one set added in the "
            "middle of the same epochs of the same network, in float32 and without norms that are there only in "
            "training; half the peak learning rate, falling to a hundredth before and after. Its parameters are those "
            "of its ONNX file, without tensors of one element."
        )
