"""A study whose runs were watched and had their power measured, and what finds a drawing's parts by their tips."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest

from measured_series import energy_of, watch_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def watched_study(study) -> list[dict[str, Any]]:
    """Four networks in four rounds; in the third run a clock drooped and a counter rose, so that it is invalid."""
    for index, run in enumerate(study):
        low_from_s = 2.0 if index == 2 else 1e9
        run["energy"] = energy_of(lambda time_s, index=index: 4.0 + 0.1 * index if time_s > 0.3 else 2.5)
        run["watch"] = watch_of(run["state_before"], low_from_s=low_from_s, low_to_s=low_from_s + 2.0)
        run["state_before"]["temperatures_c"] = {"CPU-therm": 39.0}
        run["state_after"] = copy.deepcopy(run["state_before"])
        run["state_after"]["temperatures_c"] = {"CPU-therm": 48.0 + index}
    study[2]["invalid"] = ["the CPU clock drooped during the run"]
    study[2]["state_before"]["throttle_counts"], study[2]["state_after"]["throttle_counts"] = {"oc1": 0}, {"oc1": 3}
    return study


@pytest.fixture
def find_tips() -> Callable[[str, str], list[ElementTree.Element]]:
    """The elements of an SVG whose tip holds a text."""

    def find(svg: str, text: str) -> list[ElementTree.Element]:
        return [part for part in ElementTree.fromstring(svg).iter() if text in part.get("data-tip", "")]

    return find


@pytest.fixture
def span_of() -> Callable[[ElementTree.Element], tuple[float, float]]:
    """(leftmost, rightmost) of an element's path, in pixels."""

    def span(element: ElementTree.Element) -> tuple[float, float]:
        xs = [
            float(x)
            for path in element.iter(f"{SVG}path")
            for x, _y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d", ""))
        ]
        return min(xs), max(xs)

    return span


@pytest.fixture
def texts_of() -> Callable[[str], list[str]]:
    """What stands in a drawing."""

    def texts(svg: str) -> list[str]:
        return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]

    return texts
