"""Verdicts for continuous integration: JUnit XML, a suite per measurement and a case per requirement.

INCONCLUSIVE is an error there and not a skipped case: most servers show skipped cases as green. There is no one
standard: what Jenkins, GitLab and GitHub's reporters read in common is written, and every attribute that one of them
asks for. A time of 0 is of the judging; what was measured before took its own.
"""

import re
import xml.etree.ElementTree as xml
from typing import Any, Dict, List, NamedTuple, Tuple

from edge_bench.render import to_ascii
from edge_bench.verdict.requirements import FAIL, INCONCLUSIVE
from edge_bench.verdict.text import requirement_line

FAILURE, ERROR, SKIPPED = "failure", "error", "skipped"
_ELEMENTS = {FAIL: FAILURE, INCONCLUSIVE: ERROR}
# All that XML 1.0 can hold, not even as a reference; half of a surrogate pair is no character.
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)Z?$")


class Case(NamedTuple):
    """One question. `element`: FAILURE, ERROR or SKIPPED with their verdict and message, or "" where it passed."""

    name: str
    element: str
    verdict: str
    message: str
    output: str


class Suite(NamedTuple):
    """Questions to one thing; names of cases are unique within a class name."""

    name: str
    classname: str
    started_at: str
    properties: List[Tuple[str, str]]
    cases: List[Case]


def junit_xml(result: Dict[str, Any]) -> bytes:
    """The result of `edge-bench validate` as a document."""
    suites = []
    for judged in result["measurements"]:
        name = to_ascii(judged["bundle"]["name"])
        cases = [
            Case(
                entry["requirement"],
                _ELEMENTS.get(entry["verdict"], ""),
                entry["verdict"],
                to_ascii(entry["reason"]),
                to_ascii(requirement_line(entry)),
            )
            for entry in judged["requirements"]
        ]
        state = ("board state", to_ascii(judged["board_state"]))
        title = to_ascii("%s %s" % (judged["bundle"]["name"], judged["measurement"]))
        suites.append(Suite(title, name, judged["started_at"], [state], cases))
    return junit_document("edge-bench validate", suites)


def junit_document(name: str, suites: List[Suite]) -> bytes:
    """Any verdicts as a document; characters that XML cannot hold are left out."""
    root = xml.Element("testsuites", dict(_counts([case for suite in suites for case in suite.cases]), name=name))
    for suite in suites:
        attributes = dict(_counts(suite.cases), name=_text(suite.name))
        found = _TIME.match(suite.started_at)
        if found:  # the schema that Jenkins publishes takes no zone
            attributes["timestamp"] = found.group(1)
        element = xml.SubElement(root, "testsuite", attributes)
        if suite.properties:
            properties = xml.SubElement(element, "properties")
            for key, value in suite.properties:
                xml.SubElement(properties, "property", name=_text(key), value=_text(value))
        for case in suite.cases:
            _add_case(element, suite, case)
    # For this encoding ElementTree writes no declaration.
    return b'<?xml version="1.0" encoding="us-ascii"?>\n' + bytes(xml.tostring(root, encoding="us-ascii"))


def _add_case(element: xml.Element, suite: Suite, case: Case) -> None:
    inner = xml.SubElement(element, "testcase", name=_text(case.name), classname=_text(suite.classname), time="0")
    if case.element == SKIPPED:
        xml.SubElement(inner, SKIPPED, message=_text(case.message))
    elif case.element:
        detail = xml.SubElement(inner, case.element, type=_text(case.verdict), message=_text(case.message))
        # GitLab shows the text of the element, Jenkins the message.
        detail.text = _text(case.message)
    xml.SubElement(inner, "system-out").text = _text(case.output)


def _counts(cases: List[Case]) -> Dict[str, str]:
    elements = [case.element for case in cases]
    return {
        "tests": str(len(elements)),
        "failures": str(elements.count(FAILURE)),
        "errors": str(elements.count(ERROR)),
        "skipped": str(elements.count(SKIPPED)),
        "time": "0",
    }


def _text(value: str) -> str:
    return _FORBIDDEN.sub("", value)
