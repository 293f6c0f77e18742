"""What TensorRT reads, by the published tables: one source for targets and for recipes of engines."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from edge_dendrite.export.tensorrt_support import TensorRTSupport

PROFILES = Path(__file__).parents[2] / "profiles"


@pytest.mark.parametrize(
    ("operator", "release", "answer"),
    [
        ("Relu", "8.0.1", True),
        ("Einsum", "8.0.1", False),
        ("Shrink", "8.2.1", False),
        ("Mod", "8.4", False),
        ("Mod", "8.5.2", True),
        ("Mod", "11.4", True),
        ("LayerNormalization", "8.5.2", False),
        ("LayerNormalization", "8.6.2", True),
        ("GroupNormalization", "8.6.2", True),
        ("Gelu", "8.5.3", False),
        ("Gelu", "10.3", None),  # between a table without it and one that has it
        ("Gelu", "10.15", True),
        ("Hardmax", "10", True),
        ("STFT", "10", None),  # some of them do
        ("Unique", "10.3", False),  # neither before nor after
        ("Unique", "10.15.1", False),
        ("Unique", "12.0", None),  # newer than every table
    ],
)
def test_support_by_release(operator, release, answer):
    assert TensorRTSupport.load().reads(operator, release) is answer


def test_what_a_network_needs_is_the_oldest_release_that_may_read_it():
    support = TensorRTSupport.load()
    needs = support.needs({"Relu", "Mod", "Gelu"}, 17)
    assert needs == {"Mod": "8.5", "Gelu": "8.6", "opset 17": "8.4"}  # after 8.5, which is known to have no Gelu
    assert support.oldest_of(needs) == "8.6" and support.oldest_of({}) == "8.0"
    assert support.needs({"Relu"}, 13) == {}
    assert support.needs(set(), 99) == {"opset 99": "12.0"}


def test_the_tables_are_in_order_and_repeat_nothing():
    tables = json.loads((PROFILES / "software/tensorrt-operators.json").read_bytes())
    groups = tables["operators"]
    names = [name for group in groups for name in group["names"]]
    assert len(names) == len(set(names)) > 150
    first = [tuple(int(part) for part in group["first"].split(".")) for group in groups]
    assert first == sorted(first)
    assert all(one["source"] for one in (*groups, *tables["opsets"], tables["complete_until"]))
    schemas = {one.name for one in onnx.defs.get_all_schemas_with_history()}
    old = {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}  # of before opset 9, and still in the tables
    assert set(names) - schemas <= old


@pytest.mark.parametrize("system", [path.stem for path in sorted(PROFILES.glob("software/jetpack-*.json"))])
def test_profiles_and_tables_agree_on_opsets(system):
    figures = json.loads((PROFILES / f"software/{system}.json").read_bytes())["figures"]
    release, opset = figures["tensorrt"]["value"], figures["max_opset"]["value"]
    known = [highest for highest, first in TensorRTSupport.load().opsets if _numbers(first) <= _numbers(release)]
    assert opset == known[-1]


def _numbers(release):
    return (*(int(part) for part in release.split(".")), 0, 0)[:3]
