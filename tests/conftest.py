"""Parts of the system that tests need, trained networks that they share, and a table of what was covered."""

from __future__ import annotations

import os

# Many small networks: threads that wait for each other cost more than they give, above all on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections import Counter  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

from parts import PARTS, find_part, why_missing  # noqa: E402

REQUIRE_ALL = os.environ.get("EDGE_DENDRITE_REQUIRE_ALL") == "1"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(part): a system part; without it the test skips, or fails in .ci/run")


def pytest_runtest_setup(item: pytest.Item) -> None:
    parts = [marker.args[0] for marker in item.iter_markers("needs")]
    # Goes with the report, also when that comes from another process.
    item.user_properties += [("needs", part) for part in parts]
    for part in parts:
        if find_part(part) is None:
            if REQUIRE_ALL:
                pytest.fail(why_missing(part), pytrace=False)
            pytest.skip(why_missing(part))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes = Counter(
        (part, "failed" if outcome == "error" else outcome)
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
        for name, part in getattr(report, "user_properties", [])
        if name == "needs"
    )
    terminalreporter.section("covered by this run")
    for part in PARTS:
        counts = [f"{outcomes[part, one]} {one}" for one in ("passed", "failed", "skipped") if outcomes[part, one]]
        state = "present" if find_part(part) else "MISSING"
        terminalreporter.write_line(f"{part:<30} {state:<8} {', '.join(counts) or 'no test of it in this run'}")


@pytest.fixture(scope="session")
def python36() -> Path:
    """Python 3.6 with onnxruntime 1.10; tests that use it are marked as needing it."""
    found = find_part("python3.6 + onnxruntime 1.10")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def digits():
    from edge_dendrite.data.digits import read_digits

    return read_digits()


@pytest.fixture(scope="session")
def trained(digits):
    """A digits-cnn after a few epochs: good enough that scores and accuracies mean something."""
    import torch

    from edge_dendrite.config import FitConfig
    from edge_dendrite.models.convnets import DigitsCNN
    from edge_dendrite.train.fit import fit

    torch.manual_seed(0)
    module = DigitsCNN()
    fit(module, digits, FitConfig(epochs=6, batch_size=32))
    return module


@pytest.fixture(scope="session")
def saved_baseline(digits, trained):
    from edge_dendrite.compress.model import CompressedModel
    from edge_dendrite.roles import BASELINE

    return CompressedModel.describe(trained, digits, name="digits-cnn baseline", source="digits-cnn", role=BASELINE)


@pytest.fixture(scope="session")
def bundle13(tmp_path_factory, saved_baseline, digits):
    """A bundle at opset 13, which every runtime from onnxruntime 1.10 on reads. Read only."""
    from edge_dendrite.config import ExportConfig
    from edge_dendrite.export.bundle import export_bundle

    return export_bundle(saved_baseline, tmp_path_factory.mktemp("b") / "digits", ExportConfig(opset=13), data=digits)
