"""Verdicts for continuous integration: JUnit XML, a suite per measurement and a case per requirement.

INCONCLUSIVE is an error there and not a skipped case: most servers show skipped cases as green.
"""

import xml.etree.ElementTree as xml
from typing import Any, Dict

from edge_bench.render import to_ascii
from edge_bench.verdict.requirements import FAIL, INCONCLUSIVE
from edge_bench.verdict.text import requirement_line

_ELEMENTS = {FAIL: "failure", INCONCLUSIVE: "error"}


def junit_xml(result: Dict[str, Any]) -> bytes:
    """The result of `edge-bench validate` as a document."""
    root = xml.Element("testsuites", name="edge-bench validate")
    for judged in result["measurements"]:
        verdicts = [entry["verdict"] for entry in judged["requirements"]]
        suite = xml.SubElement(
            root,
            "testsuite",
            name=to_ascii("%s %s" % (judged["bundle"]["name"], judged["measurement"])),
            tests=str(len(verdicts)),
            failures=str(verdicts.count(FAIL)),
            errors=str(verdicts.count(INCONCLUSIVE)),
            timestamp=to_ascii(judged["started_at"]),
        )
        state = xml.SubElement(xml.SubElement(suite, "properties"), "property", name="board state")
        state.set("value", to_ascii(judged["board_state"]))
        for entry in judged["requirements"]:
            case = xml.SubElement(
                suite, "testcase", name=entry["requirement"], classname=to_ascii(judged["bundle"]["name"])
            )
            if entry["verdict"] in _ELEMENTS:
                detail = xml.SubElement(case, _ELEMENTS[entry["verdict"]], type=entry["verdict"])
                detail.set("message", to_ascii(entry["reason"]))
            xml.SubElement(case, "system-out").text = to_ascii(requirement_line(entry))
    # For this encoding ElementTree writes no declaration.
    return b'<?xml version="1.0" encoding="us-ascii"?>\n' + bytes(xml.tostring(root, encoding="us-ascii"))
