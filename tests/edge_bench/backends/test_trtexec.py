"""Engines run by a program that behaves like trtexec: of two releases, with both forms of its times. No GPU ran it."""

import array
import json
import os
import time

import pytest

from edge_bench.backends import trtexec
from edge_bench.engine.trtexec import find_trtexec
from edge_bench.errors import BackendError

PLAN = {"inputs": [["input", "FLOAT", [-1, 4]]], "outputs": [["output", "FLOAT", [-1, 4]]]}
INPUTS = [{"name": "input", "dtype": "float32", "shape": [-1, 4]}]
OUTPUTS = [{"name": "output", "dtype": "float32", "shape": [-1, 4]}]
VALUES = array.array("f", [1, 2, 3, 4]).tobytes()


@pytest.fixture
def opened(with_trtexec):
    kept = []

    def open_it(release="10.3", mode="", plan=PLAN, inputs=INPUTS, outputs=OUTPUTS, batch=1):
        with_trtexec(release, mode)
        program, reason = find_trtexec()
        assert reason == ""
        content = json.dumps(plan).encode()
        kept.append(trtexec.TrtexecBackend(content, program, "Orin", inputs, outputs, batch))
        return kept[-1]

    yield open_it
    for one in kept:
        one.close()
        assert not os.path.exists(one._work)


@pytest.mark.parametrize("release, version", [("8.2", "8.2.1"), ("10.3", "10.3.0")])
def test_outputs_come_back_for_the_inputs_that_were_set(opened, release, version):
    backend = opened(release, batch=2)
    backend.set_inputs([VALUES])
    backend.infer()
    assert backend.read_outputs() == [[3.0, 5.0, 7.0, 9.0] * 2]
    assert (backend.name, backend.version, backend.providers) == ("trtexec", version, ["Orin"])
    assert backend.in_bulk is True and backend.timed_by == "trtexec (CUDA events)"


@pytest.mark.parametrize("release", ["8.2", "10.3"])
def test_the_warm_up_is_cut_in_both_generations(opened, release):
    """The first hundred queries take ten times as long; the first 200 are warm-up."""
    backend = opened(release)
    backend.set_inputs([VALUES])
    samples = []
    backend.time_slice(samples, None, 0.5)
    assert len(samples) == len(backend.device_samples_s) == 800  # a whole second of queries, less the warm-up
    assert max(samples) < 1e-4
    assert samples[0] == pytest.approx(backend.device_samples_s[0] + 3e-5)
    backend.time_slice(samples, 300, 60.0)
    assert len(samples) == len(backend.device_samples_s) == 1100
    backend.time_slice(samples, 1500, 60.0)  # more than it does in the time of the warm-up
    assert len(samples) == len(backend.device_samples_s) == 2600


def test_when_it_ran_is_known_on_our_clock(opened):
    backend = opened()
    before = time.monotonic()
    backend.time_slice([], None, 0.5)
    began, ended = backend.window_s
    assert before + 0.2 < began < ended <= time.monotonic()  # the program's start and warm-up are not in it


def test_tensors_of_the_manifest(opened):
    backend = opened(inputs=[dict(INPUTS[0], dtype="int32")], plan={"inputs": [["input", "INT32", [1, 2]]]})
    backend.bind([{"name": "input", "dtype": "int64", "shape": [1, 4]}], [dict(OUTPUTS[0], shape=[1, 4])])
    with pytest.raises(BackendError, match="its manifest names other float32"):
        backend.bind([{"name": "other", "dtype": "float32", "shape": [1, 4]}], OUTPUTS)


def test_a_release_without_inputs_cannot_be_checked(opened):
    backend = opened("8.2", "no-inputs")
    with pytest.raises(BackendError, match="takes no inputs, so its outputs cannot be checked"):
        backend.set_inputs([VALUES])
    backend.time_slice([], 5, 1.0)


@pytest.mark.parametrize("mode, words", [("fails", "Failed to parse"), ("crashes", "trtexec ended with signal 11")])
def test_a_failing_program_is_an_error(opened, mode, words):
    backend = opened("8.2", mode)
    with pytest.raises(BackendError, match=words):
        backend.time_slice([], 5, 1.0)
    assert backend.window_s is None


def test_a_name_that_its_command_line_cannot_carry(opened):
    with pytest.raises(BackendError, match="takes no input of the name 'a:b,c'"):
        opened(inputs=[dict(INPUTS[0], name="a:b,c")])


def test_outputs_that_are_no_numbers_are_an_error(opened, tmp_path):
    for text in ("", "[", '[{"name": "output", "values": [nan]}]', '{"name": 1}', '[{"name": "x", "values": ["y"]}]'):
        path = tmp_path / "output.json"
        path.write_text(text)
        with pytest.raises(BackendError, match="outputs cannot be read"):
            trtexec._read_outputs(str(path))
