"""Measurements made of a real one, and a history that is not the user's."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_bench.schema import measurement_problem
from edge_bench.summary import summarise
from edge_dendrite.history.store import History

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def no_history_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGE_DENDRITE_HISTORY", str(tmp_path / "default" / "history.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def make_measurement(
    started_at: str = "2026-08-03T09:00:00Z",
    *,
    median_s: float = 1e-3,
    network: str = "digits-cnn",
    board: str = "Testboard 1",
    power_mode: str | None = "15W",
    num_samples: int = 700,
    **changes: Any,
) -> dict[str, Any]:
    """As the agent writes it; two calls differ in their run_id unless one is given."""
    made = json.loads((DATA / "agent-with-named-memory.json").read_text("utf-8"))
    text = f"{started_at}{median_s}{network}{board}{power_mode}{num_samples}"
    rng = random.Random(text)
    samples = [median_s * rng.uniform(0.95, 1.05) for _ in range(num_samples)]
    made["started_at"], made["run_id"] = started_at, f"{rng.getrandbits(128):032x}"
    made["latency"] |= {"samples_s": samples, "summary": summarise(samples)}
    made["bundle"] |= {"name": network, "id": f"{random.Random(network).getrandbits(256):064x}"}
    made["board"]["model"] = board
    for state in ("state_before", "state_after"):
        made[state] = copy.deepcopy(made[state]) | {"power_mode": power_mode, "governors": {"cpu0": "schedutil"}}
    made |= changes
    assert measurement_problem(made) == ""
    return made


@pytest.fixture
def measurement() -> Callable[..., dict[str, Any]]:
    return make_measurement


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.fixture
def history(path):
    with History.open(path, create=True) as opened:
        yield opened


@pytest.fixture
def data() -> list[Path]:
    """Measurements by agents of earlier versions, the oldest first."""
    names = ("first-agent", "agent-with-run-id", "agent-with-named-memory")
    return [DATA / f"{name}.json" for name in names]
