"""The table: every column, values computed here by hand, dashes with footnotes, and tables of one or a hundred rows."""

from __future__ import annotations

import math

import pytest

from edge_bench.verdict import figures
from edge_dendrite.history.facts import read_facts
from edge_dendrite.report import pool
from edge_dendrite.report.rows import build_report
from edge_dendrite.report.table import COLUMNS, build_table

UNITS = (9, 14, 22, 10)


def cells_of(report, row=0):
    return dict(zip(COLUMNS, build_table(report).rows[row], strict=True))


@pytest.fixture
def one_run(bundle, measurement):
    return measurement(bundle("a", "baseline", UNITS, 350), 20e-6)


def test_throughput_is_examples_over_the_sum_of_all_samples(one_run, measurement):
    other = measurement(one_run["bundle"], 40e-6, 1)
    for run, samples in ((one_run, [1e-3, 2e-3, 3e-3]), (other, [4e-3, 10e-3])):
        run["latency"]["samples_s"] = samples
        run["backend"]["batch"] = 4
    report = build_report([one_run, other], title="t")
    # Five inferences of four examples in 20 ms.
    assert report.rows[0].latency.throughput_per_s == pytest.approx(1000.0)
    cell = cells_of(report)["Throughput"]
    assert (cell.text, cell.detail) == ("1,000 /s", "batch 4")
    assert "mean latency x batch 4" in cell.tooltip


def test_batches_that_differ_are_named_and_not_one_number(one_run, measurement):
    other = measurement(one_run["bundle"], 20e-6, 1)
    one_run["backend"]["batch"], other["backend"]["batch"] = 1, 2
    assert cells_of(build_report([one_run, other], title="t"))["Throughput"].detail == "batches of several sizes"


def test_nonzero_is_shown_where_it_differs(one_run):
    cell = cells_of(build_report([one_run], title="t"))["Non-zero"]
    assert (cell.text, cell.tooltip) == ("all", "2,722 non-zero parameters")
    one_run["bundle"]["stats"]["num_nonzero"] = 1361
    cell = cells_of(build_report([one_run], title="t"))["Non-zero"]
    assert (cell.text, cell.detail) == ("1,361", "50.0 % of them")


def energy(gross, net, gross_interval=None, net_interval=None):
    return {
        "source": "ina3221",
        "scope": "module input",
        "rails": ["VDD_IN"],
        "idle_power_w": 1.0,
        "load_power_w": 2.0,
        "gross_energy_j": gross,
        "net_energy_j": net,
        "gross_interval_j": gross_interval,
        "net_interval_j": net_interval,
    }


def test_the_energy_of_one_run_has_its_own_interval(one_run):
    one_run["energy"] = energy(4.2e-3, 0.9e-3, [4.0e-3, 4.5e-3], [0.7e-3, 1.1e-3])
    cells = cells_of(build_report([one_run], title="t"))
    assert (cells["Gross energy"].text, cells["Gross energy"].detail) == ("4.20 mJ", "4.00 to 4.50 mJ")
    assert (cells["Net energy"].text, cells["Net energy"].detail) == ("900 uJ", "0.700 to 1.10 mJ")
    assert "per inference; ina3221, module input, VDD_IN" in cells["Gross energy"].tooltip


def test_an_energy_without_an_interval_says_so(one_run):
    one_run["energy"] = energy(4.2e-3, -1e-5)
    cells = cells_of(build_report([one_run], title="t"))
    assert cells["Gross energy"].detail == cells["Net energy"].detail == "no interval"
    assert cells["Net energy"].text == "-10.0 uJ"


def test_energies_of_several_runs_have_students_interval():
    # Mean 5, standard deviation 1, three runs: t(0.975, 2) = 4.30265.
    low, high = pool.pool_interval([4.0, 5.0, 6.0], [None, None, None])
    assert (low, high) == (pytest.approx(5 - 4.30265 / math.sqrt(3), abs=1e-4), pytest.approx(7.48414, abs=1e-4))


def test_runs_that_agree_by_chance_keep_what_each_of_them_did_not_know():
    low, high = pool.pool_interval([5.0, 5.0], [(4.0, 5.5), (4.4, 5.7)])
    assert (low, high) == (pytest.approx(4.2), pytest.approx(5.6))


@pytest.mark.parametrize("wrong", [None, 3, [1.0], ["a", "b"], [float("nan"), 1.0], [2.0, 1.0], {"low": 1}])
def test_an_interval_that_is_none_counts_as_unknown(one_run, wrong):
    one_run["energy"] = energy(4.2e-3, 0.9e-3, wrong, wrong)
    assert build_report([one_run], title="t").rows[0].energy.gross_interval_j is None


@pytest.mark.parametrize("gross_j", [0.0, -4.2e-3, 1e12])
def test_an_energy_that_no_board_takes_is_none_in_a_report_a_history_and_a_comparison(one_run, gross_j):
    one_run["energy"] = energy(gross_j, 0.9e-3)
    row = build_report([one_run], title="t").rows[0]
    assert row.energy is None and row.missing["energy"]
    assert not {"energy"} & set(read_facts(one_run).figures)
    assert figures.energy(one_run, "gross").value is None


def test_a_history_has_the_medians_of_edge_bench(one_run):
    own = {name: figure.value for name, figure in read_facts(one_run).figures.items()}
    assert own["latency"] == figures.latency(one_run, 50.0, 1.0).value
    assert own["throughput"] == figures.throughput(one_run).value
    latency = build_report([one_run], title="t").rows[0].latency
    assert (own["latency"], own["throughput"]) == (latency.median_s, pytest.approx(latency.throughput_per_s))


def test_a_row_of_which_nothing_is_known_has_a_reason_in_every_cell(one_run):
    one_run["bundle"]["stats"], one_run["bundle"]["accuracy"] = {}, None
    one_run["bundle"]["model"] = {}
    one_run["invalid"] = ["throttled"]
    table = build_table(build_report([one_run], title="t"))
    _, *figures = table.rows[0]
    assert {cell.text for cell in figures} == {"-"}
    assert all(0 < cell.note <= len(table.notes) for cell in figures)


def test_a_hundred_rows_keep_their_order_and_their_own_figures(bundle, measurement):
    runs = [
        measurement(bundle(f"n{n}", "compressed", (4, 4, n + 1, 10), 300), minute=n % 60, num=70) for n in range(100)
    ]
    report = build_report(runs, title="t")
    table = build_table(report)
    assert len(table.rows) == 100
    for row, cells in zip(report.rows, table.rows, strict=True):
        number = int(row.name[1:])
        sizes = 4 * 9 + 4 + 4 * 4 * 9 + 4 + 16 * (number + 1) + number + 1 + (number + 1) * 10 + 10
        assert cells[COLUMNS.index("Parameters")].text == f"{sizes:,}"
