"""Folders of runs against folders of runs: what is compared with what, and what comes out."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import edge_dendrite as ed
from edge_dendrite.errors import ConfigError, DataError
from edge_dendrite.report.comparison.compare import compare, compare_paths

FIVE = {"max_regression": "5%"}


def verdicts(report):
    (one,) = report.comparisons
    return {
        figure.kind.key: judgement and judgement.verdict
        for figure, judgement in zip(one.figures, one.judgements, strict=True)
    }


def test_equal_sides_pass(sides):
    report = ed.compare(*sides(), thresholds={"max_regression": "10%"})
    assert report.verdict == "PASS" and report.is_complete
    assert verdicts(report) == {**dict.fromkeys(verdicts(report), "PASS"), "net_energy": None}


def test_a_slow_one_is_a_regression(sides):
    report = compare(*sides(1.2), thresholds=FIVE)
    found = verdicts(report)
    assert report.verdict == "REGRESSION"
    assert (found["latency"], found["p99"], found["energy"]) == ("REGRESSION",) * 3
    assert (found["memory"], found["accuracy"], found["parameters"]) == ("PASS",) * 3


def test_without_thresholds_nothing_is_judged(sides):
    report = compare(*sides(1.2))
    assert report.verdict is None and report.is_complete
    assert report.comparisons[0].figures[0].outcome == "slower"
    assert set(verdicts(report).values()) == {None}
    assert "one in 20 is called different by chance" in report.chance()


def test_two_runs_that_differ_are_inconclusive(sides):
    report = compare(*sides(1.05, num_runs=2), thresholds=FIVE)
    assert report.verdict == "INCONCLUSIVE"


def test_the_numbers_are_those_of_edge_bench_compare(sides, tmp_path):
    old, new = sides(1.1, new_network="small")
    files = [[str(path) for path in sorted(folder.glob("*.json"))] for folder in (old, new)]
    command = [sys.executable, "-m", "edge_bench", "compare", "--json", *files[0], "--with", *files[1]]
    done = subprocess.run(command, capture_output=True, check=True)
    (theirs,) = json.loads(done.stdout)["comparisons"]
    (ours,) = compare(old, new).to_dict()["comparisons"]
    figures = {figure["label"]: figure for figure in ours["figures"]}
    names = {"a": "baseline", "b": "new"}
    keys = ("difference", "difference_low", "difference_high", "ratio", "ratio_low", "ratio_high", "covers_runs")
    for row in theirs["rows"]:
        figure = figures[row["label"]]
        assert [row[key] for key in (*names, *keys)] == [figure[key] for key in (*names.values(), *keys)]
        assert figure["outcome"] == row["verdict"] and figure["ratio"] is not None
    assert ours["caveats"] == theirs["caveats"]
    assert ours["new"]["board_state"] == theirs["b"]["board_state"]


# --- refused, as edge-bench does


def test_another_state_is_refused_and_forced(make_run, save):
    states = [dict(make_run()["state_before"], power_mode=mode) for mode in ("MAXN", "5W")]
    old = save("old", *(make_run(seed=n, minute=2 * n, state_before=states[0]) for n in range(3)))
    new = save("new", *(make_run(seed=9 + n, minute=2 * n + 1, state_before=states[1]) for n in range(3)))
    report = compare(old, new, thresholds=FIVE)
    (one,) = report.comparisons
    assert report.verdict == "INCONCLUSIVE" and one.refused and not report.is_complete
    assert one.reasons[0].startswith("power mode differs: MAXN in ") and "5W in " in one.reasons[0]
    assert {judgement.reason[:8] for _, _, judgement in report.judged()} == {"refused:"}
    forced = compare(old, new, thresholds=FIVE, force=True)
    assert forced.comparisons[0].forced and forced.comparisons[0].reasons == one.reasons
    assert verdicts(forced)["latency"] == "PASS"


def test_one_run_on_both_sides_is_refused_whatever_is_forced(sides):
    old, _ = sides()
    report = compare(old, old, thresholds=FIVE, force=True)
    assert report.verdict == "INCONCLUSIVE" and report.comparisons[0].refused
    assert "are the same run, on both sides" in report.comparisons[0].reasons[0]


def test_invalid_and_interrupted_runs_are_refused_or_left_out(make_run, save):
    good = [make_run(seed=n, minute=2 * n) for n in range(3)]
    new = [make_run(seed=9 + n, minute=2 * n + 1) for n in range(3)]
    throttled = make_run(seed=20, level=3.0, invalid=["throttled"])
    cut = make_run(seed=21, level=3.0, status="partial")
    for key in ("latency", "backend", "energy", "memory"):
        del cut[key]
    old, new = save("old", *good), save("new", *new, throttled, cut)
    report = compare(old, new, thresholds=FIVE)
    assert report.verdict == "INCONCLUSIVE" and len(report.comparisons) == 1
    assert any("throttled" in reason for reason in report.comparisons[0].reasons)
    assert any("the run is partial" in reason for reason in report.comparisons[0].reasons)
    skipped = compare(old, new, thresholds=FIVE, skip_invalid=True)
    assert skipped.verdict == "PASS" and len(skipped.left_out) == 2
    assert "throttled" in skipped.left_out[0]


def test_nothing_valid_is_left(make_run, save):
    old = save("old", make_run(seed=1))
    new = save("new", make_run(seed=2, invalid=["throttled"]))
    report = compare(old, new, thresholds=FIVE, skip_invalid=True)
    assert report.verdict == "INCONCLUSIVE" and not report.comparisons and not report.is_complete
    assert report.missing[0].blocks
    assert not compare(old, new, skip_invalid=True).is_complete


def test_wrong_outputs_are_a_regression_that_cannot_be_left_out(make_run, save):
    old = save("old", *(make_run(seed=n) for n in range(2)))
    wrong = make_run(seed=9, status="failed")
    wrong["check"]["passed"] = False
    new = save("new", make_run(seed=8), wrong)
    for options in ({}, {"skip_invalid": True}, {"force": True}):
        report = compare(old, new, thresholds=FIVE, **options)
        assert report.verdict == "REGRESSION"
        assert "do not match the bundle's reference" in report.comparisons[0].outputs.reason
    # Where the baseline is as wrong there is nothing to compare with.
    assert compare(new, save("newer", wrong), thresholds=FIVE).verdict == "INCONCLUSIVE"


# --- networks, boards and states


def test_networks_are_matched_by_role_and_name(make_run, save, bundle):
    networks = make_run.networks
    rebuilt = bundle("digits-pruned", "compressed", (9, 14, 20, 10), 352)
    rebuilt["id"] = "e" * 64
    control = bundle("longer", "control:dense-longer", (16, 32, 64, 10), 355)
    old = save(
        "old", *(make_run(one, seed) for seed, one in enumerate([networks["dense"], networks["small"], control]))
    )
    new = save("new", *(make_run(one, 9 + seed) for seed, one in enumerate([rebuilt, networks["dense"]])))
    report = compare(old, new, thresholds={"max_size_regression": "0%"})
    assert [one.network for one in report.comparisons] == ["digits-dense (baseline)", "digits-pruned (compressed)"]
    assert [one.new.id for one in report.comparisons] == [networks["dense"]["id"], "e" * 64]
    (missing,) = report.missing
    assert "longer (control:dense-longer)" in missing.what and missing.blocks
    assert report.verdict == "INCONCLUSIVE"
    assert compare(old, new, thresholds={"max_size_regression": "0%"}, networks=["compressed"]).verdict == "PASS"
    with pytest.raises(ConfigError, match="--network"):
        compare(old, new, networks=["absent"])


def test_a_new_network_beside_one_of_its_name_is_not_passed_over(make_run, save, bundle):
    rebuilt = bundle("digits-dense", "baseline", (16, 32, 99, 10), 355)
    rebuilt["id"] = "e" * 64
    old = save("old", make_run(seed=1))
    new = save("new", make_run(seed=2), make_run(rebuilt, 3))
    report = compare(old, new, thresholds={"max_size_regression": "0%"})
    assert report.verdict == "INCONCLUSIVE" and "give them apart" in report.missing[0].reason


def test_one_network_is_the_reference_of_all_that_have_no_other(make_run, save, bundle):
    tiny = bundle("tiny", "compressed", (2, 2, 2, 10), 300)
    old, new = save("old", make_run("dense", 1)), save("new", make_run("small", 2), make_run(tiny, 3))
    report = compare(old, new)
    assert [one.new.name for one in report.comparisons] == ["digits-pruned", "tiny"]
    assert {one.baseline.name for one in report.comparisons} == {"digits-dense"}
    # Beside its own kind others are only new.
    new = save("all", make_run("dense", 4), make_run("small", 5))
    report = compare(old, new, thresholds={"max_size_regression": "0%"})
    assert report.verdict == "PASS" and [one.blocks for one in report.missing] == [False]


def on(board, run, mode=None):
    run["board"]["model"] = board
    run["state_before"]["power_mode"] = mode
    return run


@pytest.mark.parametrize("as_folders", [False, True])
def test_boards_are_compared_within_themselves(make_run, save, as_folders):
    def side(name, boards, seed):
        runs = {board: [on(board, make_run(seed=seed + n, level=level)) for n in range(2)] for board, level in boards}
        if not as_folders:
            return save(name, *(run for found in runs.values() for run in found))
        for board, found in runs.items():
            folder = save(f"{name}/{board}", *found)
        return folder.parent

    old = side("old", [("Nano", 5.0), ("Orin", 1.0)], 1)
    new = side("new", [("Orin", 1.0), ("Nano", 5.0), ("Pi", 9.0)], 50)
    report = compare(old, new)
    assert [one.board.partition(",")[0] for one in report.comparisons] == ["Nano", "Orin"]
    assert all(0.9 < one.figures[0].ratio < 1.1 for one in report.comparisons)
    (missing,) = report.missing
    assert "Pi" in missing.what and not missing.blocks
    missing = compare(new, old, thresholds=FIVE).missing[0]
    assert "Pi" in missing.what and missing.blocks


def test_two_boards_of_one_kind_are_not_thrown_together(make_run, save):
    for number, name in enumerate(("a", "b")):
        save(f"new/{name}", make_run(seed=10 + number))
    old = save("old", make_run(seed=1), on("other", make_run(seed=2)))
    report = compare(old, old.parent / "new", thresholds=FIVE)
    assert report.verdict == "INCONCLUSIVE"
    assert any("give both sides as folders of boards" in one.reason and "a, b" in one.reason for one in report.missing)


def test_another_board_is_refused(make_run, save):
    report = compare(save("old", make_run(seed=1)), save("new", on("other", make_run(seed=2))))
    assert report.comparisons[0].refused and report.comparisons[0].reasons[0].startswith("board differs")


def test_states_are_compared_one_by_one(make_run, save):
    def side(name, modes, seed):
        return save(name, *(on("Nano", make_run(seed=seed + n), mode) for n, mode in enumerate(modes)))

    old = side("old", ["MAXN", "5W", "MAXN", "5W"], 1)
    report = compare(old, side("new", ["5W", "5W", "MAXN", "MAXN"], 20), thresholds={"max_size_regression": "0%"})
    assert report.verdict == "PASS" and len(report.comparisons) == 2
    assert ["MAXN" in one.baseline.board_state for one in report.comparisons] == [True, False]
    assert all(one.baseline.board_state == one.new.board_state for one in report.comparisons)
    report = compare(old, side("less", ["MAXN"], 40), thresholds={"max_size_regression": "0%"})
    assert report.verdict == "INCONCLUSIVE" and "power mode differs" in report.missing[0].reason


# --- figures that are not there


def test_a_figure_that_was_lost_and_one_that_never_was(make_run, save):
    def side(name, seed, **options):
        return save(name, *(make_run(seed=seed + n, **options) for n in range(3)))

    without, other = side("without", 1, energy=False), side("other", 10, energy=False)
    report = compare(without, other, thresholds={"max_regression": "10%"})
    assert report.verdict == "PASS" and verdicts(report)["energy"] == "NOT MEASURED"
    assert compare(without, other, thresholds={"max_energy_regression": "10%"}).verdict == "INCONCLUSIVE"
    measured = side("with", 20)
    report = compare(measured, without, thresholds={"max_regression": "10%"})
    assert report.verdict == "INCONCLUSIVE" and verdicts(report)["energy"] == "NOT MEASURED"
    assert "no power sensor" in report.comparisons[0].figures[2].reason
    assert compare(without, measured, thresholds={"max_regression": "10%"}).verdict == "PASS"


def test_too_few_samples_for_a_percentile(make_run, save):
    old, new = (
        save(name, *(make_run(seed=seed + n, count=600) for n in range(3))) for name, seed in (("a", 0), ("b", 9))
    )
    report = compare(old, new, thresholds={"max_p99_regression": "10%"})
    assert report.verdict == "INCONCLUSIVE" and "662" in report.judged()[0][2].reason


def test_bundles_that_state_little(make_run, save, bundle):
    bare = {"id": "1" * 64, "name": "model.onnx", "role": "model", "model": {}, "stats": {}}
    foreign = {**bare, "accuracy": {"metric": "mAP", "value": 0.4, "split": "test"}}
    old, new = save("old", make_run(bare, 1)), save("new", make_run({**bare, "id": "2" * 64}, 2))
    report = compare(old, new, thresholds={"max_parameters_regression": "1%", "max_accuracy_drop": 1})
    assert {judgement.verdict for _, _, judgement in report.judged()} == {"NOT MEASURED"}
    old, new = save("old", make_run(foreign, 1)), save("new", make_run({**foreign, "id": "2" * 64}, 2))
    report = compare(old, new, thresholds={"max_accuracy_drop": 1})
    assert "mAP; no interval" in report.judged()[0][2].reason and report.verdict == "INCONCLUSIVE"


# --- what is given


def test_several_new_sides_and_files_of_one(sides, make_run, save):
    old, new = sides()
    newer = save("newer", *(make_run(seed=300 + n, level=2.0) for n in range(3)))
    report = compare_paths([old, new, newer], thresholds=FIVE)
    assert [one.side for one in report.comparisons] == [str(new), str(newer)]
    assert report.verdict == "REGRESSION"
    # The family of figures that are judged together is that of both.
    assert len([figure for _, figure, _ in report.judged() if not figure.is_exact]) == 8
    files = sorted(newer.glob("*.json"))
    report = compare_paths([old, *files])
    assert len(report.comparisons) == 1 and len(report.comparisons[0].new.files) == 3
    report = compare_paths(files, [old / "0.json", old / "1.json"])
    assert [len(side.files) for side in (report.comparisons[0].baseline, report.comparisons[0].new)] == [2, 3]


def test_what_cannot_be_read(sides, tmp_path):
    old, _ = sides()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no measurement"):
        compare(old, tmp_path / "empty")
    with pytest.raises(DataError, match="absent"):
        compare(old, tmp_path / "absent.json")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="schema"):
        compare(old, tmp_path / "x.json")
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare(old)
