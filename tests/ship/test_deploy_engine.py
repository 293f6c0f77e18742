"""Engines that are built on the board: a fake TensorRT 8.2 and a driver that is compiled here, behind a real sshd."""

from __future__ import annotations

import sys

import pytest

from edge_bench.schema import read_measurement
from edge_dendrite.errors import DeployError
from edge_dendrite.ship.deploy import deploy, plan_rounds
from edge_dendrite.ship.options import RunOptions
from fakes import compile_driver, tensorrt_path

pytestmark = pytest.mark.needs("sshd")
QUICK = RunOptions(num_runs=50, max_other_load=1000)


@pytest.fixture(scope="module")
def jetson_python(tmp_path_factory):
    """A Python that finds TensorRT 8.2 and a GPU, and keeps engines in a folder of the test."""
    folder = tmp_path_factory.mktemp("jetson")
    program = folder / "python3"
    (folder / "cache").mkdir()
    program.write_text(
        f"#!/bin/sh\nexport PYTHONPATH='{tensorrt_path('8.2')}' LD_LIBRARY_PATH='{compile_driver(folder)}'\n"
        f"export XDG_CACHE_HOME='{folder}/cache' $FAKE\nexec '{sys.executable}' \"$@\"\n"
    )
    program.chmod(0o755)
    return program


def test_the_engine_is_built_there_and_run(board, bundle13, tmp_path, jetson_python):
    ssh = board.options(python=str(jetson_python))
    plans, _ = plan_rounds([bundle13.path], board.target, tmp_path / "m", options=QUICK, ssh=ssh)
    assert (plans[0].builds_engine, plans[0].runs_with[:12]) == (True, "TensorRT 8.2")
    for is_first in (True, False):
        lines: list[str] = []
        # The fake computes something else than the network, which the agent finds before it times anything.
        with pytest.raises(DeployError, match="outputs do not match"):
            deploy(bundle13.path, board.target, tmp_path / "m.json", options=QUICK, ssh=ssh, log=lines.append)
        assert read_measurement(str(tmp_path / "m.json"))["backend"]["name"] == "tensorrt"
        assert any("built in" in line for line in lines) == is_first, "its progress is shown, and it is built once"


def test_a_build_that_fails_brings_its_log(board, bundle13, tmp_path, jetson_python):
    failing = jetson_python.parent / "failing"
    failing.write_text(
        jetson_python.read_text().replace("$FAKE", "FAKE_TENSORRT=no-plan XDG_CACHE_HOME=" + str(tmp_path))
    )
    failing.chmod(0o755)
    ssh = board.options(python=str(failing))
    with pytest.raises(DeployError, match=r"the engine could not be built there: .*its log: .*m\.build\.log"):
        deploy(bundle13.path, board.target, tmp_path / "m.json", options=QUICK, ssh=ssh)
    assert (tmp_path / "m.build.log").read_text()
