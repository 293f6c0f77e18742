"""What the page of a study says about noise, memory and latency, from given rows."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.benchmarks.latency_table import latency_method, latency_sentence
from scripts.benchmarks.memory_table import claim
from scripts.benchmarks.rows import pack_bits
from scripts.benchmarks.studies import find_study
from scripts.benchmarks.summary import Summary
from scripts.benchmarks.table import markdown

STUDY = find_study("pruning-mnist")
NUM_SAMPLES = 1000


def base(kind, arm, seed):
    budget = None if arm.startswith("dense") else 0.8
    return {"study": STUDY.name, "kind": kind, "arm": arm, "budget": budget, "seed": seed}


def outcome(num_right):
    return {"test_accuracy": num_right / NUM_SAMPLES, "test_correct": pack_bits(np.arange(NUM_SAMPLES) < num_right)}


def trained(arm, seed, num_right):
    counts = {"widths": {"conv1": 8}, "num_parameters": 1000, "num_macs": 1000, "onnx_bytes": 2000}
    source = {"source": {"commit": None, "sha256": "0" * 64}}
    environment = {"cpu": "a processor", "num_threads": 1, "python": "3.11", "packages": {}, **source}
    return {
        **base("trained", arm, seed),
        **counts,
        **outcome(num_right),
        "val_accuracy": 0.9,
        "environment": environment,
    }


def noise(arm, seed, *num_right, digest="same"):
    results = zip((0.1, 0.4), num_right, strict=False)
    entries = [{"sigma": sigma, **outcome(number), "images_sha256": digest} for sigma, number in results]
    return {**base("noise", arm, seed), "noise": entries}


NOISY = [
    row
    for seed in range(3)
    for row in (
        trained("dense", seed, 990),
        trained("edge-dendrite", seed, 980),
        trained("from-scratch", seed, 980),
        noise("dense", seed, 900 + seed, 500),
        noise("edge-dendrite", seed, 850 + 2 * seed, 400 + 50 * (seed % 2)),
        noise("from-scratch", seed, 800 + seed, 400 + 60 * (seed // 2)),
    )
]


def test_without_rows_there_are_no_sections():
    text = markdown(Summary(STUDY, [row for row in NOISY if row["kind"] == "trained"]))
    assert "Under noise" not in text and "## Memory" not in text and "peak memory" not in text


def test_under_noise_arms_are_compared_pair_by_pair_at_each_sigma():
    summary = Summary(STUDY, NOISY)
    text = markdown(summary)
    assert "### 80 % fewer parameters, under noise" in text and "60 % fewer parameters" not in text
    assert "| `edge-dendrite` | 0, 1, 2 | 98.00 % (± 0.00) | 85.20 % (± 0.20) | 41.67 % (± 2.89) |" in text
    weak = summary.compare("edge-dendrite", "from-scratch", 0.8, 0.1)
    assert (weak.words, weak.basis) == ("better", "3 seeds")
    assert weak.difference.value == pytest.approx((50 + 51 + 52) / 3000)
    assert "| the same shape from scratch (`from-scratch`) | 3 seeds | +5.10 points (+4.85 to +5.35): better |" in text
    # Without noise all seeds differ alike; under much of it they do not agree.
    assert summary.compare("edge-dendrite", "from-scratch", 0.8, 0.4).words == "not distinguishable"
    assert "-0.33 points (-14.01 to +13.35): not distinguishable |" in text
    assert summary.compare("edge-dendrite", "dense", 0.8, 0.1).words == "worse"


def test_what_lacks_a_sigma_is_not_measured_there():
    rows = [row for row in NOISY if row["kind"] == "trained" or row["arm"] == "from-scratch"]
    rows += [noise("edge-dendrite", seed, 850 + 2 * seed) for seed in range(3)]
    text = markdown(Summary(STUDY, rows))
    assert "| `edge-dendrite` | 0, 1, 2 | 98.00 % (± 0.00) | 85.20 % (± 0.20) | not measured |" in text
    assert ": better | not measured |" in text


def test_results_under_other_noise_are_not_paired():
    rows = [*NOISY[:5], noise("from-scratch", 0, 800, 400, digest="other")]
    with pytest.raises(ValueError, match="edge-dendrite and from-scratch were tested under different noise"):
        markdown(Summary(STUDY, rows))


def memory(arm, seed, above, dense=1000, floors=(490, 500, 510)):
    above_bytes = {"above_floor_bytes": above, "dense_above_floor_bytes": dense, "ratio_to_dense": above / dense}
    peaks = {"process_peaks_bytes": [500 + above] * 3, "floor_process_peaks_bytes": list(floors)}
    return {
        **base("memory", arm, seed),
        **above_bytes,
        **peaks,
        "peak_bytes": 500 + above,
        "floor_bytes": 500,
        "num_calls": 50,
    }


@pytest.mark.parametrize(
    ("above", "said"),
    [
        (400, "yes"),
        (420, "not distinguishable from 0.43"),
        (440, "not distinguishable from 0.43"),
        (460, "no"),
        (970, "no"),
        (985, "hidden by the floor"),
        (1015, "hidden by the floor"),
        (1100, "no"),
    ],
)
def test_the_claim_is_answered_as_far_as_the_floor_lets_it_be_seen(above, said):
    assert claim([memory("edge-dendrite", 0, above)]) == said


def test_all_seeds_have_to_agree():
    assert claim([memory("edge-dendrite", seed, 300 + seed) for seed in range(3)]) == "yes"
    rows = [memory("edge-dendrite", 0, 300), memory("edge-dendrite", 1, 600)]
    assert claim(rows) == "differs between seeds: no, yes"


def test_the_page_has_the_floor_and_what_lies_above_it():
    rows = [row for row in NOISY if row["kind"] == "trained"]
    rows += [memory("dense", 0, 1000), memory("edge-dendrite", 0, 300), memory("edge-dendrite", 1, 340)]
    text = markdown(Summary(STUDY, rows))
    assert "identity network: 500 B, and its repeats differ by up to 20 B" in text
    assert "| `dense` | - | 0 | 1.50 kB | 1.00 kB | 1.00 | - |" in text
    assert "| `edge-dendrite` | 80 % | 0, 1 | 820 B | 320 B | 0.32 (0.30 to 0.34) | yes |" in text
    assert "of the dense network's: 0.32 (0.30 to 0.34) (seeds 0, 1); at most 0.43: yes." in text


def latency(arm, seed, statistic=None, floors=None):
    row = {**base("latency", arm, seed), "ratio_to_dense": {"value": 0.5, "low": 0.4, "high": 0.6}}
    new = {} if statistic is None else {"statistic": statistic, "inputs": "validation"}
    return {**row, **new, f"{statistic or 'median'}_s": 2e-5, **({"floor_round_medians_s": floors} if floors else {})}


def test_the_floor_of_latency_is_told_where_it_was_measured():
    old = Summary(STUDY, [latency("dense", 0)])
    text = " ".join(latency_method(old))
    assert "floor" not in text and "Inputs" not in text
    rows = [latency("dense", 0), latency("dense", 1, "median", [6.3e-6, 6.4e-6, 9e-6])]
    text = " ".join(latency_method(Summary(STUDY, rows)))
    assert "an identity network of the same input: 6.40 us." in text
    assert "validation images; in 1 older rows, random numbers." in text
    rows.append(latency("dense", 2, "median", [6.6e-6]))
    assert "6.50 us (6.40 us to 6.60 us)." in " ".join(latency_method(Summary(STUDY, rows)))


def test_a_mean_is_called_a_mean():
    rows = [trained("dense", 0, 990), trained("edge-dendrite", 0, 980), latency("dense", 0, "median")]
    summary = Summary(STUDY, [*rows, latency("edge-dendrite", 0, "mean")])
    text = markdown(summary)
    assert "| 20.0 us (mean) | 0.50 (0.40 to 0.60, seed 0) |" in text
    assert "| 20.0 us | 0.50" in text
    assert "The input decides the work of `edge-dendrite`" in text
    assert latency_sentence(summary, "edge-dendrite", 0.8).startswith("batch-1 mean latency 0.50")


def test_aims_are_said_reached_or_missed():
    study = find_study("recipe-mnist")
    arm, control = "edge-dendrite-recipe", "from-scratch-recipe"
    rows = []
    for seed in range(2):
        rows += [
            trained("dense", seed, 990) | {"onnx_bytes": 20_000},
            trained(arm, seed, 989),
            trained(control, seed, 985),
        ]
    rows += [
        latency(one, seed) | {"ratio_to_dense": {"value": value, "low": value, "high": value}}
        for seed in range(2)
        for one, value in (("dense", 1.0), (arm, 0.7))
    ]
    text = markdown(Summary(study, [row | {"study": study.name, "budget": row["budget"] and 0.9} for row in rows]))
    assert "aim, at most 0.12 points below `dense`: reached (-0.10 points)." in text
    assert "aim, latency at most 0.60 of the dense network's: **missed** (0.70 (0.70 to 0.70 over 2 seeds))." in text
    assert "aim, ONNX file at most 0.10 of the dense network's: reached (0.100)." in text


def test_growth_is_to_cut_the_error_of_as_many_epochs():
    study = find_study("grow-mnist")
    rows = [
        trained(arm, seed, number)
        for seed in range(2)
        for arm, number in (("dense", 990), ("reduced", 900), ("reduced-longer", 960), ("grown", 966))
    ]
    text = markdown(Summary(study, [row | {"study": study.name, "budget": row["budget"] and 0.9} for row in rows]))
    assert "aim, at least 15 % less error than `reduced-longer`: reached (15.0 % less over 2 seeds)." in text
    assert "| `grown` | `reduced` (8 epochs fewer) |" in text
    assert text.index("`reduced-longer`, and") < text.index("`reduced` (8 epochs fewer)")
    assert "Validation data chose the weights and dendrites of `grown`, so they flatter it" in text
    assert "are not the same" not in text


def test_what_the_trials_took_and_settings_that_changed_are_said():
    study, arm = find_study("recipe-mnist"), "edge-dendrite-recipe"
    rows = [trained("dense", 0, 990) | {"study": study.name}]
    for seed, method in enumerate(("prune", "prune", "branch, grow")):
        recipe = {"widths": [8], "grow": {"num_layers": 4}} if seed else {"widths": [8], "grow": {}}
        steps = [{"method": "as it came"}, {"method": method}]
        rows.append(trained(arm, seed, 980) | {"study": study.name, "budget": 0.9, "steps": steps, "recipe": recipe})
    text = markdown(Summary(study, rows))
    assert "the trials took: prune (seeds 0, 1); branch, grow (seed 2). Dendrites in 1 of 3 seeds." in text
    assert "`grow.num_layers` is not the same in all seeds: not there yet (seed 0), 4 (seeds 1, 2)." in text
    assert "the setting `widths` is [8, 4, 2] by now; here it was [8]." in text
    assert "Means are over each network's own seeds, which are not the same" in text
