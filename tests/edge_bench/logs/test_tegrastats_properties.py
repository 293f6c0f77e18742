"""Any text, and any line that is composed of tokens of the eight kinds."""

import json

import pytest

from edge_bench.logs.tegrastats import parse_line

pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

NAMES = st.from_regex(r"\AQ[A-Za-z0-9_]{0,10}\Z")
COUNTS = st.integers(0, 10**9 - 1)


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_any_text(text):
    json.dumps(parse_line(text), allow_nan=False)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(NAMES, st.tuples(COUNTS, COUNTS, COUNTS), max_size=8),
    st.dictionaries(NAMES, st.decimals(-200, 200, places=3), max_size=8),
    st.lists(st.none() | st.tuples(st.integers(0, 100), COUNTS), min_size=1, max_size=16),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_composed_lines_give_back_what_they_were_composed_of(rails, zones, cores, num_figures, rng):
    """In any order of tokens."""
    tokens = ["CPU [%s]" % ",".join("off" if one is None else "%d%%@%d" % one for one in cores)]
    tokens += ["%s@%sC" % zone for zone in zones.items()]
    for name, figures in rails.items():
        tokens.append("%s %s" % (name, "/".join("%dmW" % figure for figure in figures[:num_figures])))
    rng.shuffle(tokens)
    found = parse_line(" ".join(tokens))
    assert found["temperature_c"] == {name: float(value) for name, value in zones.items()}
    assert found["cpu"] == [None if one is None else {"load_percent": one[0], "clock_mhz": one[1]} for one in cores]
    for name, figures in rails.items():
        expected = [figure / 1000 for figure in figures[:num_figures]] + [None] * (3 - num_figures)
        assert [found["power_w"][name][key] for key in ("current", "average", "maximum")] == expected
    assert found["other"] == {} and len(found["power_w"]) == len(rails)
