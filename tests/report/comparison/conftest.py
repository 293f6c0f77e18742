"""Runs with known latencies, made up: the numbers are no results."""

from __future__ import annotations

import random

import pytest

from edge_bench import stats
from edge_bench.atomic import write_json


@pytest.fixture
def make_run(measurement, bundle):
    """A function that makes a run with latencies around `level` ms; `between` is the spread from run to run."""
    networks = {
        "dense": bundle("digits-dense", "baseline", (16, 32, 64, 10), 355),
        "small": bundle("digits-pruned", "compressed", (9, 14, 22, 10), 352),
    }

    def make(network="dense", seed=0, level=1.0, *, minute=0, between=0.0, energy=True, count=700, **changes):
        base = networks[network] if isinstance(network, str) else network
        run = measurement(base, 1e-3, minute, 10)
        rng = random.Random(seed)
        factor = level * rng.lognormvariate(0, between)
        samples = [1e-3 * factor * rng.lognormvariate(0, 0.1) for _ in range(count)]
        run["latency"].update(samples_s=samples, summary=stats.summarise(samples))
        run["run_id"] = f"{rng.getrandbits(128):032x}"
        run["memory"]["process_peak_rss_bytes"] = int(60e6 * rng.lognormvariate(0, 0.002))
        if energy:
            gross_j = 0.012 * factor * rng.lognormvariate(0, 0.005)
            run["energy"] = {
                "source": "ina3221",
                "rails": ["POM_5V_IN"],
                "scope": "module input",
                "idle_power_w": 2.0,
                "load_power_w": 6.0,
                "gross_energy_j": gross_j,
                "net_energy_j": gross_j * 0.6,
                "gross_interval_j": [gross_j * 0.99, gross_j * 1.01],
                "net_interval_j": [gross_j * 0.58, gross_j * 0.62],
            }
        run.update(changes)
        return run

    make.networks = networks
    return make


@pytest.fixture
def save(tmp_path):
    """A function that writes runs into a folder and gives its path."""

    def write(folder, *runs):
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for number, run in enumerate(runs):
            write_json(str(place / f"{number}.json"), run)
        return place

    return write


@pytest.fixture
def sides(make_run, save):
    """A function that writes two folders of five runs of one network; the new ones are slower by a factor."""

    def write(factor=1.0, network="dense", new_network=None, num_runs=5, **options):
        numbers = range(num_runs)
        old = [make_run(network, n, minute=2 * n, between=0.005, **options) for n in numbers]
        new = [
            make_run(new_network or network, 100 + n, factor, minute=2 * n + 1, between=0.005, **options)
            for n in numbers
        ]
        return save("old", *old), save("new", *new)

    return write
