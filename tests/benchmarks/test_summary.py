"""Tables and plots from given rows: what is paired with what, and what is said about it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from scripts.benchmarks.method_table import training_words
from scripts.benchmarks.plot import LOOKS, accuracy_svg
from scripts.benchmarks.rows import pack_bits
from scripts.benchmarks.studies import STUDIES, find_study
from scripts.benchmarks.summary import Summary
from scripts.benchmarks.table import markdown

STUDY = find_study("pruning-mnist")
NUM_SAMPLES = 1000


def trained(arm, budget, seed, num_right, val_accuracy=0.9, widths=None):
    correct = np.arange(NUM_SAMPLES) < num_right
    return {
        "study": STUDY.name,
        "kind": "trained",
        "arm": arm,
        "budget": budget,
        "seed": seed,
        "widths": widths or {"conv1": 8},
        "num_parameters": 41_076 if budget is None else round(41_076 * (1 - budget)) - seed,
        "num_macs": 1000,
        "onnx_bytes": 2000,
        "val_accuracy": val_accuracy,
        "test_accuracy": num_right / NUM_SAMPLES,
        "test_correct": pack_bits(correct),
        "environment": {
            "cpu": "a processor",
            "num_threads": 1,
            "python": "3.11",
            "packages": {"torch": "2.13"},
            "source": {"commit": None, "sha256": "0" * 64},
        },
    }


def latency(arm, budget, seed, value, low, high):
    ratio = {"value": value, "low": low, "high": high}
    base = {"study": STUDY.name, "kind": "latency", "arm": arm, "budget": budget, "seed": seed}
    return {**base, "median_s": 2e-5 * value, "ratio_to_dense": ratio}


ONE_SEED = [
    trained("dense", None, 0, 990),
    trained("edge-dendrite", 0.8, 0, 980),
    trained("from-scratch", 0.8, 0, 981),
    trained("torch-pruning-global-l2", 0.8, 0, 950),
]


def test_with_one_seed_test_images_are_the_pairs():
    comparisons = {one.other: one for one in Summary(STUDY, ONE_SEED).comparisons(0.8)}
    assert list(comparisons) == ["from-scratch", "torch-pruning-global-l2", "dense"]
    peer = comparisons["torch-pruning-global-l2"]
    assert (peer.basis, peer.words) == ("1,000 test images, one seed", "better")
    assert peer.difference.value == pytest.approx(0.03)
    # One image more or less decides nothing.
    assert comparisons["from-scratch"].words == "not distinguishable"
    assert comparisons["dense"].words == "worse"


def test_with_several_seeds_the_common_seeds_are_the_pairs():
    rows = [trained("edge-dendrite", 0.9, seed, 950 + 3 * seed) for seed in range(4)]
    rows += [trained("from-scratch", 0.9, seed, 940 + 3 * seed + seed % 2) for seed in range(3)]
    comparison = Summary(STUDY, rows).compare("edge-dendrite", "from-scratch", 0.9)
    assert (comparison.basis, comparison.words) == ("3 seeds", "better")
    assert comparison.difference.value == pytest.approx((10 + 9 + 10) / 3000)


def test_arms_without_a_common_seed_are_not_compared():
    rows = [trained("edge-dendrite", 0.9, 0, 950), trained("from-scratch", 0.9, 1, 940)]
    assert Summary(STUDY, rows).compare("edge-dendrite", "from-scratch", 0.9) is None


def test_validation_data_recommend_whatever_the_test_data_say():
    rows = [
        trained("edge-dendrite", 0.8, 0, 999, val_accuracy=0.95),
        trained("edge-dendrite-gradual", 0.8, 0, 900, val_accuracy=0.96),
    ]
    assert Summary(STUDY, rows).recommended(0.8) == "edge-dendrite-gradual"
    assert "`edge-dendrite-gradual` (the better one of ours on validation data)" in markdown(Summary(STUDY, rows))
    rows.append(trained("edge-dendrite", 0.8, 1, 999, val_accuracy=0.99))
    # One arm has more seeds: then there is nothing to choose, and the one that is better known stands.
    assert Summary(STUDY, rows).recommended(0.8) == "edge-dendrite"
    assert not Summary(STUDY, rows).is_choice(0.8)
    assert Summary(STUDY, rows).recommended(0.6) is None
    assert "the better one of ours" not in markdown(Summary(STUDY, ONE_SEED))


def test_a_control_of_another_shape_is_refused():
    rows = [*ONE_SEED[:2], trained("from-scratch", 0.8, 0, 981, widths={"conv1": 16})]
    with pytest.raises(ValueError, match="from-scratch has another shape than edge-dendrite"):
        Summary(STUDY, rows)


def test_gradual_is_compared_with_a_control_of_its_shape_only():
    other, same = {"conv1": 16}, {"conv1": 24}
    rows = [*ONE_SEED, trained("edge-dendrite-gradual", 0.8, 0, 985, widths=other)]
    against = [one.other for one in Summary(STUDY, rows).comparisons(0.8) if one.arm == "edge-dendrite-gradual"]
    assert "from-scratch" not in against
    assert "is not compared with its own shape from scratch yet" not in markdown(Summary(STUDY, ONE_SEED))
    rows[-1] = trained("edge-dendrite-gradual", 0.8, 0, 985, val_accuracy=0.99, widths=same)
    assert "is not compared with its own shape from scratch yet" in markdown(Summary(STUDY, rows))
    rows.append(trained("from-scratch-gradual", 0.8, 0, 985, widths=same))
    against = [one.other for one in Summary(STUDY, rows).comparisons(0.8) if one.arm == "edge-dendrite-gradual"]
    assert against[0] == "from-scratch-gradual"


def test_the_recipe_stands_beside_its_own_control_also_where_pruning_left_the_same_shape():
    study = find_study("recipe-mnist-gru")
    own, other = {"gru": 8}, {"gru": 16}
    arms = [("edge-dendrite-recipe", 0, own), ("from-scratch-recipe", 0, own)]
    arms += [("edge-dendrite", 0, own), ("from-scratch", 0, own)]
    rows = [trained(arm, 0.75, seed, 980, widths=widths) | {"study": study.name} for arm, seed, widths in arms]
    text = markdown(Summary(study, rows))
    assert "| `edge-dendrite-recipe` | the same shape from scratch (`from-scratch-recipe`) |" in text
    assert "| `edge-dendrite` | the same shape from scratch (`from-scratch`) |" in text
    # Another seed, in which pruning left another shape: no control of the recipe's shape, only of its size.
    later = [("edge-dendrite-recipe", 1, own), ("from-scratch-recipe", 1, own)]
    later += [("edge-dendrite", 1, other), ("from-scratch", 1, other)]
    rows += [trained(arm, 0.75, seed, 980, widths=widths) | {"study": study.name} for arm, seed, widths in later]
    text = markdown(Summary(study, rows))
    assert "| `edge-dendrite-recipe` | the same shape from scratch (`from-scratch-recipe`) |" in text
    assert "| `edge-dendrite-recipe` | `from-scratch` |" in text


def test_the_table_says_what_lost_and_what_did_not_win():
    text = markdown(Summary(STUDY, ONE_SEED), "picture.svg")
    assert "![Accuracy against parameters](picture.svg)" in text
    assert "does not beat the same shape from scratch (`from-scratch`), and is not distinguishable from it" in text
    assert "**is below, in one seed,** `dense`: -1.00 points" in text
    assert "is above, in one seed, `torch-pruning-global-l2`: +3.00 points" in text
    assert (
        "| **`edge-dendrite`** | 0 | 8,215 | 1,000 | 2.00 kB | 90.00 % | 98.00 % | not measured | not measured |"
        in text
    )
    assert "latency is not measured yet" in text
    assert "60 % fewer parameters" not in text  # nothing was trained there


def test_the_table_gives_spreads_and_ranges_over_seeds():
    rows = [trained("edge-dendrite", 0.8, seed, num_right) for seed, num_right in enumerate((970, 980, 990))]
    text = markdown(Summary(STUDY, rows))
    assert "| **`edge-dendrite`** | 0, 1, 2 | 8,213 to 8,215 |" in text
    assert "98.00 % (± 1.00)" in text


@pytest.mark.parametrize(("high", "said"), [(0.95, "of the dense network's: lower."), (1.02, "**not lower**.")])
def test_latency_is_lower_only_with_its_whole_interval(high, said):
    rows = [*ONE_SEED, latency("edge-dendrite", 0.8, 0, 0.9, 0.85, high)]
    assert said in markdown(Summary(STUDY, rows))
    assert f"0.90 (0.85 to {high:.2f}, seed 0)" in markdown(Summary(STUDY, rows))


def test_one_slow_seed_is_enough_not_to_be_lower():
    rows = [trained("edge-dendrite", 0.8, seed, 980) for seed in (0, 1)]
    rows += [latency("edge-dendrite", 0.8, 0, 0.8, 0.7, 0.9), latency("edge-dendrite", 0.8, 1, 1.0, 0.9, 1.1)]
    text = markdown(Summary(STUDY, rows))
    assert "0.90 (0.80 to 1.00 over 2 seeds)" in text
    assert "**not lower** in every seed" in text


def test_the_plot_names_every_arm_and_is_the_same_for_the_same_rows():
    summary = Summary(STUDY, ONE_SEED)
    picture = accuracy_svg(summary)
    words = {element.text.strip() for element in ElementTree.fromstring(picture).iter() if element.text}
    assert {"dense", "edge-dendrite", "from-scratch", "torch-pruning-global-l2", "Parameters"} <= words
    assert "dense-longer" not in words
    assert accuracy_svg(summary) == picture


def test_every_study_has_arms_that_exist():
    from scripts.benchmarks.arms import ARMS

    for study in STUDIES:
        assert {arm for wave in study.waves for arm in wave} <= set(ARMS)
    with pytest.raises(ValueError, match="does not exist; there are pruning-mnist"):
        find_study("pruning-minst")


def test_arms_of_a_study_look_different_in_its_plot():
    for study in STUDIES:
        looks = [LOOKS[arm] for wave in study.waves for arm in wave]
        assert len(set(looks)) == len(looks), study.name


def test_the_method_says_the_epochs_that_the_arms_of_growth_have():
    study = find_study("grow-digits")
    text = training_words(study)
    assert "has 10 epochs in all" in text and "all others have 14" in text
