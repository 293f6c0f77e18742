"""Every number that a report shows goes through format.py."""

from __future__ import annotations

import pytest

from edge_dendrite.report import format as fmt


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        (28.53e-6, "28.5 us"),
        (999.9e-6, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (1.0, "1.00 s"),
        (123.4, "123 s"),
        (5e-9, "5.00 ns"),
    ],
)
def test_seconds(value_s, text):
    assert fmt.seconds(value_s) == text


def test_seconds_like_keeps_the_unit_of_the_other():
    assert fmt.seconds_like(0.39e-6, 14.6e-6) == "0.39 us"


@pytest.mark.parametrize(("value_s", "text"), [(15e-6, "15 us"), (1.5e-3, "1.5 ms"), (2.0, "2 s"), (0.1, "100 ms")])
def test_tick_seconds(value_s, text):
    assert fmt.tick_seconds(value_s) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(812, "812 B"), (56624, "56.6 kB"), (999_999, "1.00 MB"), (61_000_000, "61.0 MB")]
)
def test_file_size(num_bytes, text):
    assert fmt.file_size(num_bytes) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (41076, 16430, "-60.0 %"),
        (100, 125, "+25.0 %"),
        (100, 100, "0.0 %"),
        (10_000_000, 9_999_999, "0.0 %"),
        (10_000_000, 1, "more than -99.9 %"),
        (10, 0, "-100.0 %"),
    ],
)
def test_change(before, after, text):
    assert fmt.change(before, after) == text


def test_change_in_words():
    assert fmt.change_in_words(41076, 16430, "fewer", "more") == "60.0 % fewer"
    assert fmt.change_in_words(100, 125, "fewer", "more") == "25.0 % more"
    assert fmt.change_in_words(100, 100, "fewer", "more") == "no change"


def test_points_have_a_sign_and_never_a_negative_zero():
    assert fmt.points(-0.0083) == "-0.8 points"
    assert fmt.points(0.0012, 2) == "+0.12 points"
    assert fmt.points(-0.0001) == "0.0 points"


def test_accuracy_gets_a_second_decimal_where_samples_carry_it():
    assert fmt.percent(0.9892, fmt.accuracy_decimals(10_000)) == "98.92 %"
    assert fmt.percent(0.9892, fmt.accuracy_decimals(360)) == "98.9 %"
    assert fmt.percent(0.9892, fmt.accuracy_decimals(None)) == "98.9 %"


@pytest.mark.parametrize(
    ("number", "text"), [(9_999, "9,999"), (37_400, "37.4 k"), (999_999, "1.00 M"), (11_334_240, "11.3 M")]
)
def test_compact_count(number, text):
    assert fmt.compact_count(number) == text


def test_clean_text_drops_what_could_steer_a_reader():
    assert fmt.clean_text("a\x1b[31mb\nc\u202ed\ud800e") == "a [31mb c d e"
    assert len(fmt.clean_text("x" * 1000)) == 200


def test_squeeze_keeps_both_ends():
    assert fmt.squeeze("digits-pruned-to-40-percent", 15) == "digits-p...cent"
    assert fmt.squeeze("short", 15) == "short"


def test_typographic_changes_numbers_only():
    assert fmt.typographic("-0.8 points, 14.6 us") == "\u22120.8\u00a0points, 14.6\u00a0\u00b5s"
    assert fmt.typographic("digits-3 uses 4 units") == "digits-3 uses 4 units"
    assert fmt.typographic("-") == "\u2013"
