"""The same comparison as JUnit XML, as Markdown and on a terminal, with names that were made to break them."""

from __future__ import annotations

import copy
import io
import json
import re
import sys
import xml.etree.ElementTree as xml

import pytest
from markdown_it import MarkdownIt

from edge_dendrite.commands.comparison_table import print_comparisons
from edge_dendrite.report.comparison.compare import compare
from edge_dendrite.report.comparison.junit import render_junit
from edge_dendrite.report.comparison.markdown import render_markdown

FIVE = {"max_regression": "5%"}
HOSTILE = "<b>|x| `y` [a](http://e.vil) @all </details>\x00\x1b[31m]]>&amp;\ud800\ufffe\u202e\n# z www.e.vil \u00e4"


@pytest.fixture
def hostile(make_run, save):
    """A comparison in which every text that a file may bring is hostile."""
    runs = []
    for seed in range(4):
        run = make_run(copy.deepcopy(make_run.networks["dense"]), seed, minute=seed)
        run["bundle"].update(name=HOSTILE, role=HOSTILE)
        run["board"].update(model=HOSTILE, cpu=HOSTILE)
        run["backend"].update(name=HOSTILE, version=HOSTILE)
        run["state_before"].update(power_mode=HOSTILE, governors={HOSTILE: HOSTILE})
        run["energy"].update(source=HOSTILE, scope=HOSTILE, rails=[HOSTILE])
        run["started_at"] = HOSTILE
        run["invalid"] = [HOSTILE] if seed == 3 else []
        run["bundle"]["accuracy"]["metric"] = HOSTILE
        runs.append(run)
    return save("old", *runs[:2]), save("new", *runs[2:])


@pytest.mark.parametrize("force", [False, True])
def test_hostile_names_stay_text(hostile, force, capsys):
    report = compare(*hostile, thresholds=FIVE, force=force)
    json.dumps(report.to_dict(), allow_nan=False)
    document = render_junit(report)
    document.decode("ascii")
    for suite in xml.fromstring(document):
        assert "timestamp" not in suite.attrib
        assert {element.tag for element in suite.iter()} <= {
            "testsuite", "properties", "property", "testcase", "failure", "error", "skipped", "system-out",
        }  # fmt: skip
    markdown = render_markdown(report)
    markdown.encode("utf-8")
    assert not re.search(r"(?<!\\)<b>|(?<!\\)</details>(?!\n)|https?://|(?<!\\)@all|www\.e", markdown)
    assert markdown.count("\n</details>\n") == len(report.comparisons)
    for line in markdown.splitlines():
        assert not line.startswith("# ")
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) == 8
    page = MarkdownIt("commonmark").enable("table").render(markdown)
    tags = set(re.findall(r"<([a-z0-9]+)", page))
    assert tags <= {
        "h2",
        "h3",
        "p",
        "ul",
        "li",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "details",
        "summary",
    }
    assert page.count("<td") == (7 * 9 if force else 0)
    assert all(
        "&lt;b&gt;|x| `y` [a](http://e.vil) @all &lt;/details&gt;" in line
        for line in page.splitlines()
        if "<h3" in line
    )
    assert report._repr_markdown_() == markdown
    print_comparisons(report)
    shown = capsys.readouterr().out
    assert all(char == "\n" or char.isprintable() for char in shown)


def test_junit_holds_what_servers_read(sides):
    old, new = sides(1.2)
    report = compare(old, new, new, thresholds={**FIVE, "max_net_energy_regression": "5%"})
    root = xml.fromstring(render_junit(report))
    assert root.tag == "testsuites" and root.get("name") == "edge-dendrite compare"
    suites = list(root)
    assert all(suite.tag == "testsuite" for suite in suites) and len(suites) == 2
    cases = [case for suite in suites for case in suite.iter("testcase")]
    names = [(case.get("classname"), case.get("name")) for case in cases]
    assert len(set(names)) == len(names) == 18
    assert len({suite.get("name") for suite in suites}) == 2
    for holder, inside in [(root, cases), *((suite, list(suite.iter("testcase"))) for suite in suites)]:
        assert int(holder.get("tests")) == len(inside)
        for word, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(holder.get(word)) == sum(case.find(tag) is not None for case in inside)
        assert float(holder.get("time")) == 0.0
    for case in cases:
        assert float(case.get("time")) == 0.0
        # In the order of the schema that Jenkins publishes, one outcome at most.
        tags = [element.tag for element in case]
        assert tags in (["system-out"], ["failure", "system-out"], ["error", "system-out"], ["skipped", "system-out"])
    for suite in suites:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
        assert any("governor" in one.get("value") for one in suite.iter("property"))
    (failed,) = [case for case in suites[0].iter("testcase") if case.get("name") == "latency"]
    assert "allowed is +5 %" in failed.find("failure").get("message") == failed.find("failure").text


def test_junit_of_what_has_no_counterpart_and_of_what_was_never_measured(make_run, save):
    old = save("old", make_run(seed=1, energy=False), make_run("small", 2, energy=False))
    new = save("new", make_run(seed=3, energy=False))
    root = xml.fromstring(render_junit(compare(old, new, thresholds={"max_regression": "20%"})))
    by_name = {case.get("name"): case for case in root.iter("testcase")}
    assert by_name["energy"].find("skipped") is not None
    (lost,) = [case for name, case in by_name.items() if "digits-pruned" in name]
    assert "in the baseline only" in lost.find("error").get("message")
    assert root.get("errors") == str(sum(case.find("error") is not None for case in by_name.values()))


def test_markdown_says_first_what_failed(sides):
    text = render_markdown(compare(*sides(1.2), thresholds=FIVE))
    head, _, rest = text.partition("### ")
    assert head.startswith("## \u274c REGRESSION: 8 figures judged: 3 REGRESSION")
    assert head.count("**REGRESSION**") == 3
    assert "| latency median |" in rest and "\u2705 PASS" in rest and "<details>" in rest and "governor" in rest
    plain = render_markdown(compare(*sides(1.2)))
    assert "PASS" not in plain and "REGRESSION" not in plain and "slower" in plain


def test_what_a_value_of_several_runs_is_stands_beside_the_table(sides, capsys):
    old, new = sides(1.2)
    report = compare(old, new)
    meaning = "of several runs a value here is the mean of theirs"
    print_comparisons(report)
    for shown in (render_markdown(report), report.to_dict()["note"], capsys.readouterr().out):
        assert " ".join(shown.split()).count(meaning) == 1
    medians_s = [json.loads(file.read_bytes())["latency"]["summary"]["median_s"] for file in old.iterdir()]
    assert report.comparisons[0].figures[0].baseline == pytest.approx(sum(medians_s) / 5)


def test_a_summary_stays_below_its_limit(sides, save, make_run):
    old, new = sides()
    slow = save("slow", *(make_run(seed=500 + n, level=3.0) for n in range(5)))
    report = compare(old, *[new] * 5, slow, thresholds={"max_latency_regression": "20%"})
    text = render_markdown(report, 8_000)
    assert len(text.encode("utf-8")) <= 8_000 and "do not fit into a summary" in text
    # What failed stays.
    assert text.count("\u274c REGRESSION |") == 1
    assert len(render_markdown(report, 3_000).encode("utf-8")) <= 3_000


def test_every_figure_stands_with_its_state(sides, capsys):
    report = compare(*sides(), thresholds=FIVE)
    print_comparisons(report)
    shown = capsys.readouterr().out
    assert shown.count("Testboard 1") >= 2 and "governor" in shown
    assert shown.splitlines()[-1].startswith(("PASS", "INCONCLUSIVE"))
    assert "corrected for their number (Holm)" in " ".join(shown.split())


def test_a_narrow_terminal(sides, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    report = compare(*sides(1.2), thresholds=FIVE)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", Terminal())
    print_comparisons(report)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", sys.stdout.getvalue())
    assert max(map(len, shown.splitlines())) <= 80
    # No word of the table is broken.
    assert "latency median" in shown and "REGRESSION\n" in re.sub(" +\n", "\n", shown) and "parameters" in shown
