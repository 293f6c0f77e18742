"""A machine with a driver, and TensorRT of a release: both stand-ins, because no test has a GPU."""

from __future__ import annotations

import os

import pytest

import fakes


@pytest.fixture(scope="session")
def driver_folder(tmp_path_factory):
    return fakes.compile_driver(tmp_path_factory.mktemp("cuda"))


@pytest.fixture
def with_tensorrt(driver_folder, monkeypatch):
    """A function that gives children a driver and the fake of a TensorRT release, in a mode of failing."""

    def choose(release: str, mode: str = "") -> None:
        monkeypatch.setenv("LD_LIBRARY_PATH", driver_folder)
        monkeypatch.setenv(
            "PYTHONPATH", f"{fakes.tensorrt_path(release)}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        )
        monkeypatch.setenv("FAKE_TENSORRT", mode)

    return choose
