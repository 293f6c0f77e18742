"""The main job from end to end: train, compress, export, ship to a board, measure there, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from edge_bench.schema import read_measurement
from edge_dendrite.compress.model import CompressedModel, weights_digest
from edge_dendrite.compress.pipeline import Outcome, compress_with_controls
from edge_dendrite.compress.record import read_record
from edge_dendrite.config import CompressConfig, ExportConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import ExportError
from edge_dendrite.export.bundle import export_bundle, is_evaluated_on
from edge_dendrite.export.bundle_files import Bundle
from edge_dendrite.lock import locked
from edge_dendrite.progress import Progress, silent
from edge_dendrite.report.files import write_reports
from edge_dendrite.report.rows import Report, build_report
from edge_dendrite.ship.agent import build_agent
from edge_dendrite.ship.deploy import deploy_rounds
from edge_dendrite.ship.options import RunOptions, SshOptions
from edge_dendrite.train.evaluate import Metric, accuracy

# Every network is measured at this opset; the compressed one is also exported at the lower one, which the software of
# a JetPack 4.6 board reads.
MEASURED_OPSET, PORTABLE_OPSET = 17, 13
NUM_ROUNDS = 3
# A run that another program disturbed is measured again, so often at most in all.
NUM_ATTEMPTS = 3


@dataclass(frozen=True)
class DemoResult:
    """Where everything is, and the report."""

    report: Report
    files: tuple[Path, ...]
    bundles: tuple[Path, ...]


def run_demo(
    factory: Callable[[], nn.Module],
    data: DataSet,
    config: CompressConfig,
    out: Path,
    *,
    source: str,
    target: str = "local",
    options: RunOptions | None = None,
    ssh: SshOptions | None = None,
    metric: Metric = accuracy,
    provenance: dict[str, str] | None = None,
    progress: Progress = silent,
    log: Callable[[str], None] = lambda line: None,
) -> DemoResult:
    """Run all steps into the folder `out`; what is there already and still fits is reused.

    OUT/model, OUT/bundles, OUT/measurements, OUT/edge-bench.pyz and OUT/report.{html,md,json}. Raises the errors of
    the steps; what was finished before stays in `out`.
    """
    with locked(out):
        outcome = compress_with_controls(
            factory, data, config, out / "model", source=source, metric=metric, progress=progress
        )
        bundles = _export_all(outcome.models, data, out / "bundles", metric, progress)
        portable = _export_one(
            outcome.compressed,
            PORTABLE_OPSET,
            data,
            out / "bundles" / f"compressed-opset{PORTABLE_OPSET}",
            metric,
        )
        portable.write_tar(out / f"compressed-opset{PORTABLE_OPSET}.tar")
        build_agent(out / "edge-bench.pyz")
        measured = _measure(bundles, target, out / "measurements", options, ssh, log)
        report = build_report(
            measured,
            title=f"{source} on {data.name}",
            history=_history(outcome),
            provenance=provenance,
            records=[read_record(folder) for folder in (out / "model", out / "model" / "baseline")],
        )
        files = write_reports(report, [out / "report.html", out / "report.md", out / "report.json"])
        return DemoResult(report, tuple(files), (*(bundle.path for bundle in bundles), portable.path))


def _measure(
    bundles: Sequence[Bundle],
    target: str,
    folder: Path,
    options: RunOptions | None,
    ssh: SshOptions | None,
    log: Callable[[str], None],
) -> list[dict[str, Any]]:
    """All rounds; runs that another program disturbed are measured again, within limits."""
    for attempt in range(NUM_ATTEMPTS):
        if attempt > 0:
            log("some runs were not valid (another program was busy?); measuring those again")
        paths = [bundle.path for bundle in bundles]
        files = deploy_rounds(paths, target, folder, num_rounds=NUM_ROUNDS, options=options, ssh=ssh, log=log)
        measurements = [read_measurement(str(path)) for path in files]
        if not any(measurement["invalid"] for measurement in measurements):
            break
    return measurements


def _export_all(
    models: Sequence[CompressedModel], data: DataSet, folder: Path, metric: Metric, progress: Progress
) -> list[Bundle]:
    bundles = []
    for number, model in enumerate(models):
        progress("exporting and testing", number, len(models))
        name = model.role.removeprefix("control:")
        bundles.append(_export_one(model, MEASURED_OPSET, data, folder / name, metric))
    progress("exporting and testing", len(models), len(models))
    return bundles


def _export_one(model: CompressedModel, opset: int, data: DataSet, path: Path, metric: Metric) -> Bundle:
    if (path / "manifest.json").exists():
        try:
            bundle = Bundle.read(path)
        except ExportError as error:
            raise ExportError(f"{error} (here: delete {path} and run the same command again)") from error
        same_network = bundle.manifest.get("weights_sha256") == weights_digest(model.module)
        if same_network and is_evaluated_on(bundle.manifest, data, metric):
            return bundle
    return export_bundle(model, path, ExportConfig(opset=opset), data=data, metric=metric)


def _history(outcome: Outcome) -> list[dict[str, Any]]:
    return [entry for model in outcome.models for entry in model.history]
