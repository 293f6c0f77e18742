"""What the tests of boards share: boards of this run, the agent's one file, and bundles to measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_dendrite.ship.agent import build_agent
from virtual_boards import Boards, edge_dendrite


@pytest.fixture(scope="session")
def boards():
    made = Boards()
    yield made
    made.end()


@pytest.fixture(scope="session")
def agent(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("agent") / "edge-bench.pyz"
    build_agent(path)
    return path


@pytest.fixture(scope="session")
def bundles(tmp_path_factory) -> Path:
    """A folder with `dense` and `small`, and a .tar of each: networks of one epoch on the digits, by our programs."""
    folder = tmp_path_factory.mktemp("bundles")
    edge_dendrite(
        "compress", "digits-cnn", "--data", "digits", "--epochs", 1, "--finetune-epochs", 1, "--no-controls",
        "--out", folder / "model",
    )  # fmt: skip
    for model, name in ((folder / "model", "small"), (folder / "model" / "baseline", "dense")):
        edge_dendrite("export", model, "--data", "digits", "--tar", "--out", folder / name)
    return folder
