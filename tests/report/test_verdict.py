"""The sentences that come first: they may not promise more than the measurements hold."""

from __future__ import annotations

import pytest

from edge_dendrite.report.rows import build_report
from edge_dendrite.report.verdict import judge

DENSE, SMALL = (16, 32, 64, 10), (9, 14, 22, 10)


@pytest.fixture
def verdict(bundle, measurement):
    """The verdict on four networks with given correct answers of 10,000 and latencies per round in us."""

    def make(compressed=9880, scratch=9700, rounds=((28.0, 14.0), (28.5, 14.1)), drop=(), control_units=SMALL):
        networks = {
            "baseline": bundle("dense", "baseline", DENSE, 9892, 10_000),
            "compressed": bundle("small", "compressed", SMALL, compressed, 10_000),
            "control:from-scratch": bundle("scratch", "control:from-scratch", control_units, scratch, 10_000),
        }
        runs = [
            measurement(made, 1e-6 * (times[0] if role == "baseline" else times[1]), minute)
            for minute, times in enumerate(rounds)
            for role, made in networks.items()
            if role not in drop
        ]
        return judge(build_report(runs, title="t"))

    return make


def findings_of(verdict):
    ((_, findings),) = verdict.groups
    return {finding.topic: finding for finding in findings}


def test_sizes_in_percent_with_both_counts(verdict):
    found = findings_of(verdict())
    assert (found["Parameters"].figure, found["Parameters"].tone) == ("-80.1 %", "gain")
    assert found["Parameters"].text == "2,722 instead of 13,706 parameters."
    assert found["Work per inference"].text == "24,780 instead of 91,776 MACs."
    assert found["ONNX file"].text == "12.7 kB instead of 56.6 kB."


def test_clearly_better_than_the_control_is_said_with_its_limit(verdict):
    made = verdict(compressed=9880, scratch=9700)
    found = findings_of(made)["From-scratch control"]
    assert (found.tone, found.tag, found.figure) == ("gain", "beats it", "+1.80 points")
    assert "small is better than the same shape trained from scratch" in found.text
    assert found.text.endswith("One seed: not a claim.")
    assert "It is better than the same shape trained from scratch (one seed: not a claim)." in made.lead


def test_worse_than_the_control_is_said_first(verdict):
    made = verdict(compressed=9700, scratch=9880)
    found = findings_of(made)["From-scratch control"]
    assert (found.tone, found.tag) == ("cost", "loses to it")
    assert "It is worse than the same shape trained from scratch" in made.lead


def test_a_little_better_than_the_control_is_not_better(verdict):
    made = verdict(compressed=9880, scratch=9875)
    found = findings_of(made)["From-scratch control"]
    assert (found.tone, found.tag) == ("even", "does not beat it")
    assert "is not better than the same shape trained from scratch" in found.text
    assert "It is not better than the same shape trained from scratch" in made.lead


def test_accuracy_names_both_intervals_and_the_samples(verdict):
    found = findings_of(verdict(compressed=9880))["Accuracy"]
    assert found.text == (
        "98.80 % (95 % interval 98.57 to 99.00 %) instead of 98.92 % (98.70 to 99.10 %) on 10,000 test samples. "
        "95 % interval of the difference: -0.42 to +0.18 points."
    )
    assert (found.figure, found.tag, found.tone) == ("-0.12 points", "not distinguishable", "even")


def test_a_loss_of_accuracy_is_a_cost(verdict):
    made = verdict(compressed=9600)
    assert findings_of(made)["Accuracy"].tone == "cost"
    assert "it costs 2.92 points of accuracy" in made.lead


def test_latency_ratio_with_range_rounds_board_and_state(verdict):
    found = findings_of(verdict())["Latency"]
    assert (found.figure, found.tag, found.tone) == ("2.01 times as fast", "faster", "gain")
    assert "(2.00 to 2.02 over 2 rounds)" in found.text
    assert "equal networks would agree like this in 50.0 % of cases" in found.text
    assert found.text.endswith(
        "Measured on Testboard 1, Test CPU 2.0 GHz, 1 thread, CPUExecutionProvider, governor not readable."
    )


def test_slower_is_said_as_such(verdict):
    found = findings_of(verdict(rounds=((10, 12), (10, 12))))["Latency"]
    assert (found.figure, found.tag, found.tone) == ("1.20 times as slow", "slower", "cost")


def test_rounds_that_disagree_are_not_distinguishable(verdict):
    found = findings_of(verdict(rounds=((28, 27), (28, 29), (28, 26))))["Latency"]
    assert (found.tag, found.tone) == ("not distinguishable", "even")
    assert "0.93 to 1.04 times the baseline's over 3 rounds" in found.text


def test_one_round_is_not_enough_however_large_the_difference(verdict):
    found = findings_of(verdict(rounds=((28, 2),)))["Latency"]
    assert (found.tag, found.tone) == ("one round only", "even")
    assert "One round only, at 0.07 times the baseline's: repeat it." in found.text


def test_six_rounds_need_no_word_about_chance(verdict):
    assert "equal networks" not in findings_of(verdict(rounds=((28, 14),) * 6))["Latency"].text


def test_without_a_baseline_the_figures_stand_alone(verdict):
    made = verdict(drop=("baseline",))
    assert made.lead.startswith("No baseline was measured")
    findings = dict(made.groups)["small"]
    assert {finding.tone for finding in findings} == {"open"}
    latency = next(finding for finding in findings if finding.topic == "Latency")
    assert "Test CPU 2.0 GHz" in latency.text


def test_without_a_compressed_network_the_figures_stand_alone(verdict):
    assert verdict(drop=("compressed",)).lead.startswith("No compressed network was measured")


def test_a_missing_control_is_an_open_question(verdict):
    made = verdict(drop=("control:from-scratch",))
    assert findings_of(made)["From-scratch control"].tone == "open"
    assert "Whether it beats the same shape trained from scratch was not measured." in made.lead


def test_a_from_scratch_network_of_another_shape_is_no_control(verdict):
    made = verdict(control_units=(9, 14, 23, 10))
    assert "scratch does not have the shape of small" in findings_of(made)["From-scratch control"].text
    assert "was not measured" in made.lead


def test_another_metric_is_shown_but_not_judged(study):
    for run in study:
        run["bundle"]["accuracy"]["metric"] = "rmse"
    found = findings_of(judge(build_report(study, title="t")))
    assert found["Accuracy"].tag == "not judged"
    assert "No interval is computed for this metric" in found["Accuracy"].text
    assert "is not judged against" in found["From-scratch control"].text


def test_a_network_whose_outputs_are_wrong_says_so_in_the_lead(study):
    for run in study:
        if run["bundle"]["role"] == "compressed":
            run["check"]["passed"] = False
    made = judge(build_report(study, title="t"))
    assert "none of its runs is valid" in made.lead
    assert findings_of(made)["Latency"].tag == "not measured"


def test_energy_is_compared_by_rounds_too(study):
    for run in study:
        joules = 2e-4 if run["bundle"]["role"] == "compressed" else 5e-4
        run["energy"] = {"gross_energy_j": joules, "net_energy_j": joules / 2, "scope": "module input"}
    found = findings_of(judge(build_report(study, title="t")))["Energy"]
    assert (found.figure, found.tone) == ("-60.0 %", "gain")
    assert "instead of 500 uJ (500 to 500 uJ) gross per inference (module input)" in found.text


def test_energies_whose_intervals_hold_no_difference_are_not_told_apart_by_two_rounds(study):
    """The means are 652 and 249 uJ, and both may be below zero: what the rounds show by chance in half of all cases."""
    for number, run in enumerate(study[:8]):
        is_small = run["bundle"]["role"] == "compressed"
        joules = (8.8e-4 if is_small else 2.9e-4) if number < 4 else (4.3e-4 if is_small else 2.1e-4)
        run["energy"] = {"gross_energy_j": joules, "net_energy_j": 0.0, "scope": "module input"}
        run["energy"]["gross_interval_j"] = [-1e-3, 2e-3]
    made = judge(build_report(study[:8], title="t"))
    found = findings_of(made)["Energy"]
    assert (found.tag, found.tone) == ("not distinguishable", "even")
    assert "the intervals allow for no difference" in found.text
    assert "energy per inference: not distinguishable" in made.lead


def test_networks_of_one_name_are_told_apart(study):
    for run in study:
        run["bundle"]["name"] = "digits-cnn"
    report = build_report(study, title="t")
    names = [row.name for row in report.rows]
    assert names == [f"digits-cnn {row.role}" for row in report.rows]
    assert judge(report).groups[0][0] == "digits-cnn compressed against digits-cnn baseline"
    assert {run.name for run in report.runs} == set(names)


def test_networks_of_one_name_and_role_have_their_precision_or_id(study, bundle, measurement):
    one, two = (bundle("cnn", "compressed", SMALL, 350) for _ in range(2))
    two["model"]["precision"] = "int8"
    two["id"] = "f" * 64
    names = {row.name for row in build_report([measurement(one), measurement(two)], title="t").rows}
    assert names == {"cnn fp32", "cnn int8"}
    two["model"]["precision"] = "fp32"
    names = {row.name for row in build_report([measurement(one), measurement(two)], title="t").rows}
    assert names == {f"cnn {one['id'][:12]}", "cnn ffffffffffff"}


def test_several_compressed_networks_get_a_group_each(study, bundle, measurement):
    more = [measurement(bundle(f"small-{n}", "compressed", SMALL, 350), 12e-6, 40 + n) for n in range(6)]
    made = judge(build_report([*study, *more], title="t"))
    assert len(made.groups) == 4
    assert "3 more compressed networks are in the table." in made.lead


def test_energy_says_gross_and_net_with_their_intervals(study):
    for run in study:
        gross = 2e-4 if run["bundle"]["role"] == "compressed" else 5e-4
        run["energy"] = {"gross_energy_j": gross, "net_energy_j": gross / 2, "scope": "module input"}
    text = findings_of(judge(build_report(study, title="t")))["Energy"].text
    # Four runs that agree to the last digit.
    assert "200 uJ (200 to 200 uJ) instead of 500 uJ (500 to 500 uJ) gross" in text
    assert "net of idle power 100 uJ (100 to 100 uJ) instead of 250 uJ" in text


def test_energies_of_two_scopes_are_not_compared(study):
    for run in study:
        scope = "module input" if run["bundle"]["role"] == "compressed" else "CPU package"
        run["energy"] = {"gross_energy_j": 1e-3, "net_energy_j": 1e-3, "scope": scope}
    found = findings_of(judge(build_report(study, title="t")))["Energy"]
    assert (found.tag, found.tone) == ("not comparable", "open")
    assert "module input against CPU package" in found.text


def test_energy_that_nobody_measured_is_open_with_its_reason(study):
    made = judge(build_report(study, title="t"))
    found = findings_of(made)["Energy"]
    assert (found.tag, found.tone, found.figure) == ("not measured", "open", "-")
    assert "no INA3221, no RAPL" in found.text
    assert "its energy was not measured" in made.lead


def test_memory_is_compared_by_rounds(study):
    for number, run in enumerate(study):
        small = run["bundle"]["role"] == "compressed"
        run["memory"]["process_peak_rss_bytes"] = (40 if small else 80) * 1_000_000 + number
    found = findings_of(judge(build_report(study, title="t")))["Peak memory"]
    assert (found.figure, found.tag, found.tone) == ("-50.0 %", "less", "gain")
    assert "40.0 MB instead of 80.0 MB, interpreter and runtime included" in found.text


def test_equal_memory_is_not_distinguishable_and_unread_memory_open(study):
    found = findings_of(judge(build_report(study, title="t")))["Peak memory"]
    assert (found.tag, found.tone) == ("not distinguishable", "even")
    for run in study:
        run["memory"] = {}
    found = findings_of(judge(build_report(study, title="t")))["Peak memory"]
    assert (found.tag, found.tone) == ("not measured", "open")
    assert "VmHWM" in found.text


def test_the_lead_says_what_the_board_said_with_its_state(verdict):
    made = verdict(rounds=((28, 14),) * 3)
    assert "It is 2.00 times as fast in 3 rounds (so by chance in 25.0 % of cases); its energy was not" in made.lead
    assert "measured (Testboard 1, Test CPU 2.0 GHz, 1 thread" in made.lead


def test_an_emulated_board_is_said_before_anything_else(study):
    for run in study:
        run["board"]["emulated"] = "QEMU"
    assert judge(build_report(study, title="t")).lead.startswith("Measured on a processor that QEMU emulates: no time")
    alone = [run for run in study if run["bundle"]["role"] == "compressed"]
    assert judge(build_report(alone, title="t")).lead.startswith("Measured on a processor that QEMU emulates")


def test_every_control_that_is_there_is_answered(study, bundle, measurement):
    roles = ("control:equal-capacity", "control:dendrites-zeroed", "control:my own")
    more = [measurement(bundle(f"net {role}", role, SMALL, 200), 14e-6, 40 + n) for n, role in enumerate(roles)]
    found = findings_of(judge(build_report([*study, *more], title="t")))
    assert found["Equal-capacity control"].tag == "beats it"
    assert "pruned to as many parameters by neurons alone" in found["Equal-capacity control"].text
    assert "itself without what its dendrites add" in found["Dendrites-zeroed control"].text
    assert "is better than net control:my own" in found["Control my own"].text


def test_peers_stand_beside_size_accuracy_and_latency(study, bundle, measurement):
    peer = bundle("slim", "peer:SlimNet", (9, 14, 20, 10), 340)
    runs = [*study, *(measurement(peer, 28e-6, 40 + n) for n in range(4))]
    found = findings_of(judge(build_report(runs, title="t")))["Peer slim"]
    assert (found.tag, found.tone, found.figure) == ("better", "gain", "+3.3 points")
    assert "2,722 against 2,588 parameters" in found.text
    assert "faster in all rounds, on Testboard 1" in found.text


def test_a_peer_of_which_little_is_known_is_not_judged(study, bundle, measurement):
    peer = bundle("slim", "peer:SlimNet", SMALL, 340)
    peer["stats"], peer["accuracy"] = {}, None
    run = measurement(peer, 28e-6, 40)
    run["invalid"] = ["throttled"]
    found = findings_of(judge(build_report([*study, run], title="t")))["Peer slim"]
    assert (found.tag, found.tone, found.figure) == ("not comparable", "open", "-")
    assert "its parameters are not stated" in found.text
