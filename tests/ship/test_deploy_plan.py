"""What is refused before a bundle travels, and what is only said."""

from __future__ import annotations

import dataclasses
import json

import pytest

from edge_bench.doctor.diagnose import diagnose_runtimes
from edge_bench.engine import sidecar
from edge_dendrite.errors import DeployError
from edge_dendrite.ship.ask import BoardFacts, Runtime, parse_diagnosis
from edge_dendrite.ship.bundle_files import ShippedFile
from edge_dendrite.ship.options import RunOptions
from edge_dendrite.ship.plan import check_fit, describe_copies, plan_copies

ORT = Runtime(works=True, version="1.20.1", providers=("CPUExecutionProvider",))
NO_ORT = Runtime(reason="ModuleNotFoundError: No module named 'onnxruntime'", install="python3 -m pip install it")
NANO = {"name": "NVIDIA Tegra X1", "compute_capability": "5.3"}
PI = BoardFacts("Raspberry Pi 5", "Debian 12", "aarch64", "3.11.2", 4 << 30, ORT, Runtime(reason="none"), None)
NANO_FACTS = dataclasses.replace(PI, tensorrt=Runtime(works=True, version="8.2.1.8"), gpu=NANO)
RECIPE = {
    "version": 1,
    "precision": "fp16",
    "workspace_bytes": None,
    "batch": None,
    "version_compatible": False,
    "allow_tf32": False,
    "timing_cache": True,
    "min_tensorrt": "8.2",
    "needs": {"opset 13": "8.2"},
    "unsupported": [],
}


class Bundle:
    """As much of a bundle as is asked for here."""

    def __init__(self, opset=13, ir_version=8, num_bytes=1000, recipe=RECIPE, engine=None):
        self.manifest = {
            "model": {"path": "model.onnx", "opset": opset, "ir_version": ir_version},
            "files": {"model.onnx": {"num_bytes": num_bytes}},
            "engine_recipe": recipe,
        }
        self._engine = engine
        if engine is not None:
            self.manifest["files"][sidecar.SIDECAR] = {"num_bytes": 1}

    def read(self, name):
        return json.dumps(self._engine).encode()


def engine(version="8.6.0", compute_capability="9.0", platform="linux-aarch64"):
    tensor = {"name": "x", "dtype": "float32", "shape": [1]}
    return {
        "schema": sidecar.SCHEMA,
        "version": 1,
        "tensorrt_version": version,
        "gpu": {"name": "GPU", "compute_capability": compute_capability},
        "platform": platform,
        "precision": "fp16",
        "sha256": "a" * 64,
        "num_bytes": 1,
        "onnx_sha256": "b" * 64,
        "inputs": [tensor],
        "outputs": [tensor],
        "version_compatible": False,
        "settings": {},
        "built_with": {},
    }


def fit(bundle, facts, **options):
    return check_fit(bundle, facts, "nano", RunOptions(**options))


def test_onnxruntime_where_nothing_else_is():
    found = fit(Bundle(), PI)
    assert (found.builds_engine, found.runs_with, found.notices) == (False, "onnxruntime 1.20.1", ())


def test_tensorrt_is_preferred_and_its_engine_is_built():
    found = fit(Bundle(), NANO_FACTS)
    assert (found.builds_engine, found.runs_with) == (True, "TensorRT 8.2.1.8")


def test_a_provider_of_onnxruntime_builds_nothing():
    assert not fit(Bundle(), NANO_FACTS, provider="CPUExecutionProvider").builds_engine


def test_an_engine_of_another_release_and_gpu_is_named_and_built_there():
    found = fit(Bundle(engine=engine()), NANO_FACTS)
    assert found.builds_engine
    assert found.notices == (
        "engine built with TensorRT 8.6.0 for sm_90; this board has 8.2.1.8, sm_53; edge-bench will build it there",
    )


def test_an_engine_that_loads_is_not_built_again():
    found = fit(Bundle(engine=engine("8.2.1", "5.3")), NANO_FACTS)
    assert (found.builds_engine, found.runs_with) == (False, "TensorRT 8.2.1.8")


def test_an_older_tensorrt_leaves_it_to_onnxruntime_and_says_so():
    recipe = dict(RECIPE, min_tensorrt="8.4", needs={"opset 17": "8.4"})
    found = fit(Bundle(recipe=recipe), NANO_FACTS)
    assert found.runs_with == "onnxruntime 1.20.1"
    assert "needs TensorRT 8.4 (opset 17), this board has 8.2.1.8" in found.notices[0]


@pytest.mark.parametrize(
    ("bundle", "facts", "message"),
    [
        (Bundle(), dataclasses.replace(PI, onnxruntime=NO_ORT), "No module named 'onnxruntime'.*pip install it"),
        (
            Bundle(opset=17),
            dataclasses.replace(PI, onnxruntime=Runtime(True, "1.10.0")),
            "opset 17, and onnxruntime 1.10.0 there loads at most 15; export it for that board, with --target",
        ),
        (
            Bundle(ir_version=10),
            dataclasses.replace(PI, onnxruntime=Runtime(True, "1.10.0")),
            "IR version 10, and onnxruntime 1.10.0 there loads at most 8",
        ),
        (Bundle(num_bytes=5 << 30), PI, "its model has 5,369 MB, and 4,295 MB of memory are available"),
    ],
)
def test_what_cannot_load_is_refused_with_the_remedy(bundle, facts, message):
    with pytest.raises(DeployError, match=message):
        fit(bundle, facts)


def test_a_provider_that_is_not_there_is_refused():
    with pytest.raises(DeployError, match="has no CUDAExecutionProvider; it has CPUExecutionProvider"):
        fit(Bundle(), PI, provider="CUDAExecutionProvider")


@pytest.mark.parametrize("version", ["1.11.0", "1.31.1", None, "nightly"])
def test_what_is_not_known_of_a_release_is_left_to_the_run(version):
    assert not fit(Bundle(opset=99), dataclasses.replace(PI, onnxruntime=Runtime(True, version))).builds_engine


def test_equal_contents_are_copied_once_and_what_is_there_not_again():
    files = [ShippedFile(name, size, name[0] * 64) for name, size in (("a", 10), ("again a", 10), ("b", 20), ("c", 5))]
    copies = plan_copies(files, {"a" * 64: 0, "b" * 64: 8})
    assert [(copy.name, copy.num_there) for copy in copies] == [("a", 0), ("b", 8)]
    assert describe_copies(copies) == "copying 22 bytes: a, b (goes on after 8 bytes)"


def test_the_agent_says_what_decides_in_the_words_that_are_read_here():
    facts = parse_diagnosis(json.dumps(diagnose_runtimes()).encode(), "board")
    assert facts.onnxruntime.works
    assert "CPUExecutionProvider" in facts.onnxruntime.providers
    assert facts.memory_available_bytes
