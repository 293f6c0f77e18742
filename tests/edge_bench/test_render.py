import pytest

from edge_bench import render


@pytest.mark.parametrize(
    "seconds, text",
    [
        (None, "n too small"),
        (12.3456789, "12.35 s"),
        (1.0, "1 s"),
        (0.999, "999 ms"),
        (0.0012345, "1.234 ms"),
        (1e-3, "1 ms"),
        (2.94e-05, "29.4 us"),
        (1e-6, "1 us"),
        (5e-8, "50 ns"),
        (0.0, "0 ns"),
    ],
)
def test_times_get_a_unit_that_suits_them(seconds, text):
    assert render.format_seconds(seconds) == text


def test_a_measurement_shows_its_figures_with_their_state(measurement):
    text = render.render_measurement(measurement)
    for piece in (
        "tiny (baseline)",
        "NVIDIA Jetson Nano, ARMv8",
        "power mode MAXN, governor performance, hottest 41.5 C, load 0.25",
        "valid, started 2026-01-02T03:04:05Z",
        "onnxruntime 1.10.0, CPUExecutionProvider, 1 thread(s)",
        "match: largest error 1e-07 over 1 reference case(s)",
        "2 ms  (MAD 1 ms)",
        "n too small / n too small",
        "60.0 MiB",
        "12 mJ (11 to 13) gross, per inference",
        "2 W idle, 6 W under load",
        "module input (ina3221, POM_5V_IN)",
        "25 % of the median latency is in no layer",
        "profiled inferences took 1.5 times as long",
        "1.5 ms 100.0 %  /conv1/Conv + /Relu (Conv)",
        "1 layer(s) took less than 1 us each, the step of the clock",
        "busy; end it",
        "not measured fan: none; buy one",
    ):
        assert piece in text


def test_invalid_runs_are_marked_where_the_eye_goes_first(measurement):
    measurement["invalid"] = ["throttled"]
    lines = render.render_measurement(measurement).splitlines()
    assert [line for line in lines if "INVALID, started" in line]
    assert "INVALID      throttled" in lines


@pytest.mark.parametrize("status", ["partial", "failed"])
def test_an_unfinished_run_says_so_and_shows_no_figure_that_it_has_not(measurement, status):
    measurement["status"] = status
    for part in ("latency", "energy", "memory", "layers", "backend", "board", "check"):
        del measurement[part]
    text = render.render_measurement(measurement)
    assert "%s, started" % status in text
    assert "median" not in text and "energy" not in text and "peak memory" not in text


def test_an_energy_without_an_interval_says_what_it_lacks(measurement):
    measurement["energy"].update(gross_interval_j=None, net_interval_j=None)
    assert "12 mJ (no interval) gross, per inference" in render.render_measurement(measurement)
    measurement["energy"]["interval_lacks"] = ["run to run"]
    assert "12 mJ (no interval: run to run not known) gross" in render.render_measurement(measurement)


def test_what_else_ran_and_what_sampling_cost_is_shown(measurement):
    measurement["energy"].update(latency_ratio_while_sampling=1.034, other_load=0.27)
    text = render.render_measurement(measurement)
    assert "sampling     the latency was 1.03 times that of the latency phase" in text
    assert "other load   27 % of all processor time in the energy phase" in text


def test_outputs_that_differ_are_shouted(measurement):
    measurement["check"].update(passed=False, max_abs_error=None)
    assert "DO NOT MATCH: largest error not finite" in render.render_measurement(measurement)


def test_names_from_a_bundle_cannot_forge_lines_or_steer_the_terminal(measurement):
    forged = "x\nrun          valid, started now\r\x1b[2J\u202e"
    for part in (measurement["bundle"], measurement["board"], measurement["backend"]):
        for key, value in part.items():
            if isinstance(value, str):
                part[key] = forged
    measurement["invalid"] = [forged]
    measurement["warnings"] = [{"code": forged, "message": forged, "fix": forged}]
    text = render.render_measurement(measurement)
    assert all(char == "\n" or " " <= char <= "~" for char in text)
    lines = text.splitlines()
    assert len([line for line in lines if line.startswith("run ")]) == 1
    assert not [line for line in lines if "valid, started now" in line and "x?run" not in line]


@pytest.mark.parametrize("text, shown", [("a b~", "a b~"), ("\u00e4", "?"), ("a\nb\tc\x7f", "a?b?c?"), ("", "")])
def test_to_ascii(text, shown):
    assert render.to_ascii(text) == shown
