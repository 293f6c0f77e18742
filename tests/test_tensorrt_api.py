"""What we use of TensorRT is what was looked up in the real module; and, with it at hand, is looked up again.

The real one is 820 MB and for Python 3.10, so its test is marked `tensorrt`: ./scripts/check-tensorrt makes the
environment, then ./scripts/test -m tensorrt runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from parts import ROOT
from scripts.check_tensorrt import FAKE, all_used, fake_attributes, used_attributes

RESULT = json.loads((ROOT / "scripts/results/tensorrt-api.json").read_text("utf-8"))


def test_nothing_is_used_or_faked_that_was_not_looked_up_in_the_real_module():
    used, optional = all_used()
    remedy = "run ./scripts/check-tensorrt, and commit its result"
    assert sorted(used) == RESULT["used"], remedy
    assert sorted(optional) == RESULT["asked_for_first"], remedy
    assert sorted(fake_attributes(FAKE.read_text("utf-8"))) == RESULT["fake"], remedy


def test_the_real_module_had_all_of_it():
    assert RESULT["tensorrt"] == "8.6.0"
    assert RESULT["missing"] == RESULT["only_in_fake"] == RESULT["other_numbers_in_fake"] == []
    # What only TensorRT 10 has is asked for first.
    assert set(RESULT["absent_and_asked_for_first"]) <= set(RESULT["asked_for_first"])
    assert len(RESULT["used"]) > 40


@pytest.mark.parametrize(
    "line, used, optional",
    [
        ("trt.Builder(logger)", {"Builder"}, set()),
        (
            "config.set_flag(trt.BuilderFlag.FP16)",
            {"IBuilderConfig.set_flag", "BuilderFlag", "BuilderFlag.FP16"},
            set(),
        ),
        ("tensor.dtype.name", {"ITensor.dtype", "DataType.name"}, set()),
        ("hasattr(config, 'new') and config.new()", {"IBuilderConfig.new"}, {"IBuilderConfig.new"}),
        ("hasattr(trt.BuilderFlag, 'X')", {"BuilderFlag", "BuilderFlag.X"}, {"BuilderFlag.X"}),
        ("builder.max_threads = 1", {"Builder.max_threads"}, set()),
        ("self._engine.num_bindings", {"ICudaEngine.num_bindings"}, set()),
        ("self.version", set(), set()),
    ],
)
def test_attributes_are_found_in_the_source(line, used, optional):
    assert used_attributes(line) == (used, optional)


@pytest.mark.parametrize("line", ["other.num_io_tensors", "trt_module.Builder", "make().parse", "self._other.parse"])
def test_an_attribute_of_something_unknown_is_not_passed_over(line):
    with pytest.raises(ValueError, match="not said what it belongs to"):
        used_attributes(line)


@pytest.mark.tensorrt
def test_against_the_real_module(tmp_path):
    venv = Path(os.environ.get("TENSORRT_VENV", ROOT / ".venv-tensorrt"))
    if not (venv / "installed-8.6.0").exists():
        pytest.fail("run ./scripts/check-tensorrt once: it makes the environment with TensorRT 8.6.0")
    command = [venv / "bin/python", ROOT / "scripts/check_tensorrt.py", "check", tmp_path / "found.json"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, env={})
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    for changing in ("python", "machine"):
        assert found.pop(changing)
    assert found == {key: value for key, value in RESULT.items() if key in found}
