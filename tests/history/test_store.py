"""What goes in comes out again, once; changes are whole or have not happened."""

from __future__ import annotations

import pytest

from edge_bench.atomic import canonical_json
from edge_bench.stats import median, percentile
from edge_dendrite.errors import ConfigError, DataError
from edge_dendrite.history.filters import Filter, read_day
from edge_dendrite.history.store import COMPLETED, KNOWN, History, RefusedError


def test_a_measurement_comes_out_byte_for_byte(history, measurement):
    made = measurement()
    added = history.add(made, board_name="orin-1", tags=["weekly"])
    assert history.measurement(added.id) == canonical_json(made)
    run = history.run(added.id)
    assert (run.facts.network, run.facts.role, run.facts.precision) == ("digits-cnn", "as given", "fp32")
    assert (run.board(), run.facts.board_where, run.tags) == ("orin-1", "Testboard 1, Test CPU", ("weekly",))
    assert run.facts.started_at == "2026-08-03T09:00:00Z"
    samples = made["latency"]["samples_s"]
    assert run.facts.figures["latency"].value == median(samples)
    assert run.facts.figures["p99"].value == percentile(samples, 99.0)
    low, value, high = (getattr(run.facts.figures["latency"], key) for key in ("low", "value", "high"))
    assert min(samples) < low < value < high < max(samples)
    assert run.facts.figures["throughput"].value == pytest.approx(len(samples) / sum(samples))
    assert run.facts.state["power mode"] == "15W"
    assert "energy" not in run.facts.figures  # not measured is no row, and no zero


def test_the_same_measurement_is_kept_once(history, measurement):
    first = history.add(measurement())
    assert history.add(measurement(), tags=["again"]).outcome == KNOWN
    assert history.count() == 1
    assert history.run(first.id).tags == ("again",)
    without_id = {key: value for key, value in measurement().items() if key != "run_id"}
    assert history.add(without_id).outcome == "added"  # it names no run, and its content is another one
    assert history.add(without_id).outcome == KNOWN


def test_a_changed_measurement_of_a_known_run_is_refused(history, measurement):
    history.add(measurement())
    changed = measurement() | {"load_s": 9.0}
    with pytest.raises(RefusedError, match="another content under the run_id of run 1"):
        history.add(changed)
    assert history.count() == 1


def test_a_whole_run_replaces_what_a_cut_off_one_had_left(history, measurement):
    whole = measurement()
    cut = {key: value for key, value in whole.items() if key != "latency"} | {"status": "partial"}
    first = history.add(cut, tags=["kept"])
    assert history.run(first.id).facts.status == "partial"
    assert "latency" not in history.run(first.id).facts.figures
    assert history.add(whole) == type(first)(first.id, COMPLETED)
    assert history.run(first.id).facts.status == "valid"
    assert history.run(first.id).tags == ("kept",)
    assert history.measurement(first.id) == canonical_json(whole)
    assert history.add(cut).outcome == KNOWN
    assert history.run(first.id).facts.status == "valid"


def test_runs_that_are_not_valid_keep_their_reasons(history, measurement):
    history.add(measurement(invalid=["the processor throttled"]))
    wrong = measurement("2026-08-04T09:00:00Z")
    wrong["check"]["passed"] = False
    history.add(wrong)
    newest, oldest = history.runs()
    assert oldest.facts.status == newest.facts.status == "invalid"
    assert oldest.facts.reasons == ("the processor throttled",)
    assert "do not match" in newest.facts.reasons[0]


def test_removing_takes_everything_and_no_number_comes_back(history, measurement):
    for day in (3, 4):
        history.add(measurement(f"2026-08-0{day}T09:00:00Z"), tags=["x"])
    with pytest.raises(DataError, match="no run 7"):
        history.remove([1, 7])
    assert history.count() == 2  # all of them, or none
    history.remove([2])
    tables = ("runs", "figures", "tags", "measurements")
    for table in tables:
        column = "id" if table == "runs" else "run"
        assert history._connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall() == [(1,)]
    assert history.add(measurement("2026-08-05T09:00:00Z")).id == 3


def test_tags(history, measurement):
    id_ = history.add(measurement()).id
    history.tag(id_, " after\nthe kernel ")
    history.tag(id_, "after the kernel")
    assert history.run(id_).tags == ("after the kernel",)
    history.untag(id_, "after the kernel")
    assert history.run(id_).tags == ()
    with pytest.raises(DataError, match="has no tag"):
        history.untag(id_, "after the kernel")
    for text in ("", " \n", "\x1b", "x" * 101):
        with pytest.raises(ConfigError, match="1 to 100 characters"):
            history.tag(id_, text)


FILTERS = [
    ({}, 5),
    ({"board": "testboard"}, 4),
    ({"board": "ORIN-LAB"}, 1),
    ({"board": "%"}, 0),
    ({"network": "DIGITS"}, 3),
    ({"network": "' OR 1=1 --"}, 0),
    ({"network": "\udcff"}, 0),
    ({"role": "as given"}, 5),
    ({"role": "as"}, 0),
    ({"precision": "fp32"}, 5),
    ({"status": "invalid"}, 1),
    ({"tag": "nightly"}, 1),
    ({"since": read_day("--since", "2026-08-04")}, 2),
    ({"until": read_day("--until", "2026-08-04", is_end=True)}, 3),
    ({"until": read_day("--until", "2026-08-04T09:00", is_end=True)}, 3),
    ({"until": read_day("--until", "2026-08-04T09:00+02:00", is_end=True)}, 2),
    ({"network": "digits", "since": read_day("--since", "2026-08-04")}, 2),
]


@pytest.mark.parametrize(("words", "count"), FILTERS, ids=lambda value: str(value))
def test_filters(history, measurement, words, count):
    history.add(measurement("2026-08-03T09:00:00Z"), tags=["nightly"])
    history.add(measurement("2026-08-03T10:00:00Z", network="resnet"))
    history.add(measurement("2026-08-04T09:00:00Z", invalid=["hot"]))
    history.add(measurement("2026-08-05T09:00:00Z", board="Jetson"), board_name="orin-lab")
    history.add(measurement("1970-01-01T00:00:07Z", network="resnet"))
    found = history.runs(Filter(**words))
    assert len(found) == history.count(Filter(**words)) == count
    times = [run.facts.started_at for run in found if run.facts.started_at]
    assert times == sorted(times, reverse=True)
    assert all(run.facts.started_at is None for run in found[len(times) :])  # a clock that was not set


def test_a_bundle_is_found_by_the_beginning_of_its_id(history, measurement):
    made = measurement()
    history.add(made)
    assert history.count(Filter(bundle=made["bundle"]["id"][:8])) == 1
    assert history.count(Filter(bundle=made["bundle"]["id"][1:9])) == 0


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "9999-12-31", "2026-08-21T10:00Zx"])
def test_a_day_that_is_none(text):
    with pytest.raises(ConfigError, match="write a day"):
        read_day("--until", text, is_end=True)


def test_what_stands_in_a_file_of_others_is_not_believed(history, path, measurement):
    history.add(measurement())
    spoil = {
        "network": "UPDATE runs SET network = char(27) || '[2J' || network",
        "figures": "UPDATE figures SET value = 'x' WHERE metric = 'p99'",
        "content": "UPDATE measurements SET content = x'789cabae0500017500f9'",
    }
    history._connection.execute(spoil["network"])
    assert history.run(1).facts.network == "[2Jdigits-cnn"
    history._connection.execute(spoil["content"])
    with pytest.raises(DataError, match="damaged: the measurement of run 1"):
        history.measurement(1)
    history._connection.execute(spoil["figures"])
    with pytest.raises(DataError, match="damaged: a figure is no number"):
        history.runs()


def test_hostile_texts_are_one_clean_line(history, measurement):
    made = measurement(network="<b>\x1b[31mnet\u202e\nwork</b>", run_id="\ud800" * 8)
    made["board"]["model"] = "'; DROP TABLE runs; --"
    history.add(made, board_name="\x07bell")
    run = history.run(1)
    assert run.facts.network == "<b> [31mnet work</b>"
    assert run.facts.board_where.startswith("'; DROP TABLE runs; --")
    assert (run.board_name, run.facts.run_id) == ("bell", None)
    assert history.measurement(1) == canonical_json(made)


@pytest.mark.parametrize("run_id", [None, 7, "", "x" * 300, ["a"]])
def test_a_run_id_that_is_none_identifies_nothing(history, measurement, run_id):
    history.add(measurement(run_id=run_id))
    history.add(measurement("2026-08-09T09:00:00Z", run_id=run_id))
    assert history.count() == 2


def test_samples_that_no_clock_gave_make_no_figures(history, measurement):
    made = measurement()
    made["latency"]["samples_s"] = [5e-324] * 700
    history.add(made)
    assert history.run(1).facts.status == "invalid"
    assert not {"latency", "p99", "throughput"} & history.run(1).facts.figures.keys()


def test_the_numbers_that_python_has_and_sqlite_has_not(history):
    with pytest.raises(DataError, match="no run"):
        history.run(1 << 80)


def test_it_is_there_after_closing(path, measurement):
    with History.open(path, create=True) as history:
        history.add(measurement())
    assert [one.name for one in path.parent.iterdir() if one.name.startswith("history")] == ["history.sqlite"]
    with History.open(path) as history:
        assert history.count() == 1
