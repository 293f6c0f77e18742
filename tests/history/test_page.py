"""Pictures of a history: files that stand alone, say what they leave out, and take no text for markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from edge_dendrite.errors import ConfigError, DataError
from edge_dendrite.history.chart import MAX_LINES, MAX_MARKS, MAX_TIPS, metric_svg, numbered_changes
from edge_dendrite.history.gather import add_files, find_files
from edge_dendrite.history.metrics import METRICS, find_metric
from edge_dendrite.history.page import render_page, write_picture
from edge_dendrite.history.trends import build_lines

P99 = find_metric("p99")


@pytest.fixture
def lines(history, measurement):
    """Six weeks of two boards, one of which changes its power mode; a run that is not valid, one without p99."""
    for week in range(6):
        day = f"2026-0{7 + week // 4}-{1 + 7 * (week % 4):02d}T09:00:00Z"
        for board in ("Orin", "Pi"):
            mode = "MAXN" if week > 3 and board == "Orin" else "15W"
            changes = {"invalid": ["the processor throttled"]} if week == 2 else {}
            size = 100 if week == 1 and board == "Pi" else 700
            history.add(
                measurement(day, board=board, power_mode=mode, median_s=1e-3 + 1e-5 * week, num_samples=size, **changes)
            )
    return build_lines(history.runs(), P99)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_a_page_says_what_a_person_needs(lines):
    page = Page(render_page(lines, P99, 2))
    text = " ".join(" ".join(page.texts).replace("\N{NO-BREAK SPACE}", " ").split())
    assert "12 runs of 1 network on 2 boards, 2026-07-01 to 2026-08-08 (UTC)." in text
    assert "power mode 15W \N{RIGHTWARDS ARROW} MAXN" in text
    assert "Hollow: not valid (2 runs)." in text
    assert "Crosses at the foot: without this figure (1 run)." in text
    assert "Not drawn: 2 runs on a board whose clock was not set." in text
    assert "invalid; the processor throttled" in text
    assert "not measured" in text
    assert "power mode MAXN, governor schedutil" in text
    assert "run 12, 2026-08-08 09:00 UTC" in text  # the title of a mark
    names = [name for name, _ in page.tags]
    assert not {"script", "iframe", "img", "object"} & set(names)
    assert all(attrs.get("href", "#").startswith(("#", "data:")) for _, attrs in page.tags)
    assert names.count("h1") == 1
    assert next(attrs for name, attrs in page.tags if name == "svg")["aria-label"].startswith("p99 of the latency over")


def test_files_of_every_kind(lines, history, tmp_path):
    for ending in ("svg", "html", "png"):
        write_picture(lines, P99, tmp_path / "new" / f"p99.{ending}", 0)
    svg = (tmp_path / "new" / "p99.svg").read_text("utf-8")
    root = ElementTree.fromstring(svg)
    assert float(root.attrib["width"]) == 960
    assert "var(" not in svg  # Inkscape and others know no CSS variables
    assert "data-tip" not in svg
    titles = re.findall("<title>(run [^<]*)</title>", svg)
    assert len(titles) == len(set(titles)) == 11
    png = (tmp_path / "new" / "p99.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    write_picture(lines, P99, tmp_path / "again.svg", 0)
    assert (tmp_path / "again.svg").read_text("utf-8") == svg
    with pytest.raises(ConfigError, match=r"ends in \.svg, \.html, \.png"):
        write_picture(lines, P99, tmp_path / "p99.pdf", 0)
    with pytest.raises(DataError, match="no run of those has energy"):
        write_picture(build_lines(history.runs(), energy := find_metric("energy")), energy, tmp_path / "e.svg", 0)
    assert not (tmp_path / "e.svg").exists()


def test_a_png_has_the_colours_that_the_stand_ins_mean(lines, tmp_path):
    from PIL import Image

    write_picture(lines, P99, tmp_path / "p.png", 0)
    picture = Image.open(tmp_path / "p.png").convert("RGB")
    colours = {colour for _, colour in picture.getcolors(1 << 24)}
    assert picture.getpixel((2, 2)) == (255, 255, 255)
    assert (0x00, 0x72, 0xB2) in colours
    assert not {(1, 1, number) for number in range(32)} & colours


def test_hostile_names_are_text(history, measurement, tmp_path):
    name = "</title><script>alert(1)</script>\"'><img src=x> $x_1^2$ \u202e]]>"
    for day in (1, 2):
        history.add(measurement(f"2026-07-0{day}T09:00:00Z", network=name, board=name, power_mode=f"{name}{day}"))
    lines = build_lines(history.runs(), P99)
    page = Page(render_page(lines, P99, 0))
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert any("<script>alert(1)</script>" in text for text in page.texts)
    write_picture(lines, P99, tmp_path / "h.svg", 0)
    root = ElementTree.fromstring((tmp_path / "h.svg").read_text("utf-8"))
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        *("svg", "title", "g", "rect", "path", "defs", "use", "text", "clipPath")
    }


def test_many_lines_and_many_points(history, measurement):
    for number in range(MAX_LINES + 2):
        history.add(measurement(f"2026-07-{1 + number:02d}T09:00:00Z", network=f"net{number}"))
    page = render_page(build_lines(history.runs(), P99), P99, 0)
    assert f"Not drawn: 2 lines (at most {MAX_LINES}" in page.replace("\N{NO-BREAK SPACE}", " ")
    run = history.runs(limit=1)[0]
    many = build_lines([run] * (MAX_TIPS + 1), P99)
    assert "data-tip" not in metric_svg(many, P99)
    assert metric_svg([], P99) is None
    crowd = build_lines([run] * (MAX_MARKS + 1), P99)
    assert len(metric_svg(crowd, P99)) < len(metric_svg(many, P99))
    assert f"Of so many runs ({MAX_MARKS + 1:,}) no marks" in render_page(crowd, P99, 0)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_measurements_of_earlier_versions(history, data, metric):
    """Agents before run_id, before named memory, before the watch: taken, listed, drawn on one line."""
    gathered = add_files(history, find_files([data[0].parent]))
    assert [one.error for one in gathered] == ["", "", ""]
    oldest, middle, newest = reversed(history.runs())
    assert (oldest.facts.run_id, len(middle.facts.run_id)) == (None, 32)
    assert {run.facts.status for run in history.runs()} == {"valid"}
    assert [history.measurement(run.id) for run in (oldest, middle, newest)] == [path.read_bytes() for path in data]
    (line,) = build_lines(history.runs(), metric)
    assert line.changes == ()
    known = metric.name not in ("p99", "energy", "net-energy", "accuracy")  # 70 samples, no sensor, no test data
    assert [point.figure is not None for point in line.points] == [known] * 3
    assert (metric_svg([line], metric) is not None) is known
    again = add_files(history, find_files([data[0].parent]))
    assert {one.added.outcome for one in again} == {"known"}


def test_lines_that_change_together_share_a_number(lines):
    (change,) = numbered_changes(lines)
    assert (change.number, change.board, change.words) == (1, "Orin, Test CPU", "power mode 15W -> MAXN")
