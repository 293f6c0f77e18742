"""The compatibility table: each outcome it can show is told from the others, and what is committed is what was run."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from zoo import NETWORKS

from scripts.benchmarks import compat_case, compatibility
from scripts.benchmarks.compat_case import OURS, THEIRS, Outcome, run_case
from scripts.benchmarks.compat_values import NotComparable, surviving, surviving_error
from scripts.benchmarks.compatibility import RESULTS, markdown, run_apart, words


def test_surviving_indices_are_found_again():
    rng = np.random.default_rng(0)
    original = rng.normal(size=(7, 5, 3)).astype(np.float32)
    original[:, :, 1] = 0.5  # equal values tell nothing
    kept = [np.array([0, 2, 6]), np.array([1, 4]), np.arange(3)]
    found = surviving("w", original, original[np.ix_(*kept)])
    assert all(np.array_equal(one, other) for one, other in zip(found, kept, strict=True))


@pytest.mark.parametrize("change", ["other values", "one value", "dimensions"])
def test_what_is_no_block_of_the_original_is_said(change):
    original = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    pruned = original[:3, :2].copy()
    if change == "other values":
        pruned += 1
    elif change == "one value":
        pruned[0, 0] = original[5, 3]
    else:
        pruned = pruned.ravel()
    with pytest.raises(NotComparable):
        surviving("w", original, pruned)


@pytest.mark.parametrize("name", ["plain CNN", "LSTM", "ConvNeXt"])
def test_our_engine_gets_to_the_end(name):
    outcome = run_case(name, OURS)
    assert outcome.stage == "done", outcome
    assert 0 < outcome.parameters_after < outcome.parameters_before
    assert outcome.value_error < 1e-4
    assert outcome.onnx_error < 1e-4


def test_outcomes_of_torch_pruning_are_told_apart():
    assert run_case("plain CNN", THEIRS).stage == "done"
    assert run_case("LSTM", THEIRS).stage == "prune"
    assert run_case("HF GPT-2", THEIRS).stage == "no-op"
    assert run_case("mask in a buffer", THEIRS).stage == "forward"


def test_a_cut_that_runs_and_is_wrong_is_found(monkeypatch):
    """A network whose kept weights are the right ones, in a place where they do not belong."""
    right = compat_case._prune_ours

    def wrong(network, module):
        pruned = right(network, module)
        pruned.norm1.eps = 0.5
        return pruned

    monkeypatch.setattr(compat_case, "_prune_ours", wrong)
    outcome = run_case("plain CNN", OURS)
    assert outcome.stage == "values"
    assert outcome.value_error > 1e-3
    assert "values differ by" in words(outcome)


def test_an_uncut_network_is_its_own_equal():
    network = NETWORKS["ConvNeXt"]
    original = network.build()
    assert surviving_error(original, copy.deepcopy(original), network.sample(2), 1e-4) == 0


def test_a_case_without_end_is_ended(monkeypatch):
    def forever(name, engine):
        while True:
            pass

    monkeypatch.setattr(compatibility, "run_case", forever)
    monkeypatch.setattr(compatibility, "LIMIT_S", 1)
    outcome = run_apart("plain CNN", THEIRS)
    assert words(outcome) == "no end after 1 s of processor time"


def test_a_crash_is_an_outcome(monkeypatch):
    def crash(name, engine):
        import os

        os._exit(3)

    monkeypatch.setattr(compatibility, "run_case", crash)
    assert words(run_apart("plain CNN", THEIRS)) == "the process ended with code 3"


@pytest.mark.parametrize(
    ("values", "cell"),
    [
        ({"stage": "done", "value_error": 0.0, "onnx_error": 0.0}, "pruned 52 %, values equal, ONNX equal"),
        ({"stage": "onnx", "value_error": 0.0, "onnx_error": 0.5}, "pruned 52 %, values equal, ONNX differs by 0.5"),
        ({"stage": "onnx", "value_error": 0.0, "message": "no"}, "pruned 52 %, values equal, ONNX fails: no"),
        ({"stage": "values", "value_error": 0.25}, "pruned 52 %, values differ by 0.25"),
        ({"stage": "values", "message": "no block"}, "pruned 52 %, values differ: no block"),
        ({"stage": "forward", "message": "no"}, "fails at the next forward: no"),
        ({"stage": "no-op"}, "silent no-op"),
        ({"stage": "prune", "message": "no"}, "fails in prune: no"),
        ({"stage": "prune", "refused": True, "message": "no"}, "refused: no"),
        ({"stage": "prune", "message": "x" * 500}, "fails in prune: " + "x" * 107 + "..."),
    ],
)
def test_cells(values, cell):
    assert words(Outcome("a", OURS, parameters_before=100, parameters_after=48, **values)) == cell


def test_the_committed_table_is_that_of_the_committed_results():
    results = json.loads((RESULTS / "compatibility.json").read_text())
    assert (RESULTS / "compatibility.md").read_text() == markdown(results)
    seen = {(one["architecture"], one["engine"]) for one in results["outcomes"]}
    assert seen == {(name, engine) for name in NETWORKS for engine in (OURS, THEIRS)}
    assert torch.__version__.startswith(results["versions"]["torch"].partition("+")[0])
