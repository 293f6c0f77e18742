"""What is drawn fits the terminal, says the same as the numbers, and is plain ASCII."""

import pytest

from edge_bench.images import big_text
from edge_bench.images.classifier import Result, to_confidences
from edge_bench.images.image import Image
from edge_bench.images.source import Item
from edge_bench.images.tally import Tally
from edge_bench.images.view import View, bar, shades

LABELS = ["zero", "one", "a label that is far too long for any terminal of eighty columns, and then some more of it"]


def result(top=((1, 0.9), (0, 0.08), (2, 0.02)), total_s=0.012, truth=None, fitted=None, name="x.pgm"):
    times = {"wait_s": 0.0, "decode_s": 0.001, "preprocess_s": 0.002, "inference_s": 0.008, "total_s": total_s}
    item = Item(name, lambda _: None, truth)
    return Result(item, list(top), times, fitted or Image(8, 8, 1, bytes(bytearray(range(0, 256, 4)))))


def drawn(columns=100, rows=30, deadline_s=None, preview=True, num_dropped=None, **values):
    tally = Tally(deadline_s)
    shown = result(**values)
    tally.add(shown)
    return View("the title", LABELS.__getitem__, tally, preview).draw(shown, num_dropped, columns, rows)


@pytest.mark.parametrize("columns", [1, 2, 5, 20, 40, 41, 79, 80, 81, 120, 400])
@pytest.mark.parametrize("rows", [1, 2, 5, 10, 16, 24, 60])
def test_it_fits_any_terminal(columns, rows):
    for number in range(3):
        for truth in (None, 2):
            lines = drawn(columns, rows, 0.01, top=((number, 0.5), (0, 0.4), (1, 0.1)), truth=truth, num_dropped=3)
            assert len(lines) <= max(rows - 1, 1)
            assert all(len(line) <= max(columns - 1, 1) for line in lines)
            assert all(" " <= char <= "~" for line in lines for char in line)


def test_in_a_small_terminal_the_numbers_are_still_there():
    """Of 24 rows, and of 14, nothing is cut off at the end; of fewer the preview and the last classes go first."""
    for rows in (24, 14):
        lines = drawn(80, rows, 1.0, num_dropped=0)
        assert "dropped 0" in lines[-1] and "inference" in lines[-2] and sum(" %" in line for line in lines[:-1]) == 3
    assert "dropped 0" in drawn(80, 12, 1.0, num_dropped=0)[-1]


def test_it_says_what_was_found():
    text = "\n".join(drawn(deadline_s=0.01, truth=0, num_dropped=7))
    for part in ("the title", "one", " 90.0 %", "  8.0 %", "12 ms", "10 ms MISSED", "inference 8 ms", "dropped 7"):
        assert part in text, part
    assert "WRONG, is zero" in text and "missed 1 (100.0 %)" in text and "accuracy 0.00 %" in text
    text = "\n".join(drawn(deadline_s=0.02, truth=1))
    assert " met" in text and "correct" in text and "MISSED" not in text and "dropped" not in text
    assert "deadline" not in "\n".join(drawn()) and "accuracy" not in "\n".join(drawn())


def test_the_label_is_large_where_it_fits():
    lines = drawn(preview=False)
    assert sum("##" in line for line in lines[1:6]) == 5
    assert any(LABELS[2][:60] in line for line in drawn(preview=False, top=((2, 1.0),)))


def test_names_cannot_steer_the_terminal():
    text = "\n".join(drawn(name="\x1b[2J\n\xff.pgm"))
    assert "\x1b" not in text and "?" in text


def test_big_letters():
    lines = big_text.big_text("1", 80)
    assert lines == ["  ##  ", "####  ", "  ##  ", "  ##  ", "######"]
    assert big_text.big_text("1", 3) == [" # ", "## ", " # ", " # ", "###"]
    assert big_text.big_text("1", 2) == ["", "", "1", "", ""]
    assert big_text.big_text("caf?", 80)[2] == "caf?" and big_text.big_text("", 80)[2] == ""
    for char in big_text._CHARACTERS:  # each has a form, and no two the same
        assert len(big_text.big_text(char, 80)) == 5 and len(big_text.big_text(char, 80)[0]) == 6
    forms = [tuple(big_text.big_text(char, 80)) for char in big_text._CHARACTERS]
    assert len(set(forms)) == len(forms)


def test_the_preview_keeps_proportion_and_light():
    wide = shades(Image(40, 10, 1, bytes(400)), 40, 16)
    assert {len(line) for line in wide} == {40} and len(wide) == 5
    left_dark = Image(2, 1, 3, b"\x00\x00\x00\xff\xff\xff")
    assert shades(left_dark, 4, 1) == ["  @@"]
    assert shades(Image(1, 1, 1, b"\x80"), 8, 4) == ["++++++++"] * 4
    assert shades(Image(1, 500, 1, bytes(500)), 30, 16) == [" "] * 16
    assert shades(Image(500, 1, 1, bytes(500)), 30, 16) == [" " * 30]


def test_bars():
    assert bar(0.5, 4) == "##.." and bar(0.0, 3) == "..." and bar(7.0, 3) == "###" and bar(-1.0, 2) == ".."


# --- confidences and counts, which the view shows


def test_confidences():
    assert to_confidences([0.25, 0.75]) == [0.25, 0.75]
    assert to_confidences([0.0, 0.0]) == [0.5, 0.5]
    assert to_confidences([1000.0, 1000.0, -1000.0]) == pytest.approx([0.5, 0.5, 0.0])
    assert to_confidences([1.0, 2.0, 3.0]) == pytest.approx([0.09003057, 0.24472847, 0.66524096])
    assert to_confidences([1.5, -0.5]) == pytest.approx([0.88079708, 0.11920292])  # sums to 1, but is no probability
    for bad in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(Exception, match="not finite"):
            to_confidences([0.0, bad])


def test_counts():
    tally = Tally(0.01)
    for total_s, truth in ((0.005, 1), (0.02, 0), (0.01, None)):
        tally.add(result(total_s=total_s, truth=truth))
    tally.add_failure()
    summary = tally.summary(4)
    assert summary["num_images"] == 3 and summary["num_failed"] == 1 and summary["num_dropped"] == 4
    assert summary["num_missed"] == 1 and summary["miss_ratio"] == pytest.approx(1 / 3)
    assert (summary["num_labelled"], summary["num_correct"], summary["accuracy"]) == (2, 1, 0.5)
    assert summary["times"]["total"]["median_s"] == 0.01 and summary["times"]["total"]["p90_s"] is None
    empty = Tally().summary(None)
    assert empty["times"] == {} and empty["accuracy"] is None and empty["num_missed"] is None


def test_a_camera_may_run_for_days(monkeypatch):
    monkeypatch.setattr("edge_bench.images.tally.MAX_SAMPLES", 10)
    tally = Tally()
    for number in range(25):
        tally.add(result(total_s=float(number + 1)))
    summary = tally.summary(None)
    assert summary["num_images"] == 25 and summary["times"]["total"]["num_samples"] == 10
    assert summary["times"]["total"]["min_s"] == 16.0 and summary["times"]["total"]["max_s"] == 25.0
