"""A baseline and new measurements: what changed, and for a build server whether it got worse."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_dendrite.commands.guard import EXIT_FAILED, EXIT_INVALID, explain
from edge_dendrite.errors import ConfigError, DataError
from edge_dendrite.inputs import refuse_idle_flags, refuse_outputs
from edge_dendrite.options import JsonOption
from edge_dendrite.terminal import TerminalProgress, say

if TYPE_CHECKING:
    from edge_dendrite.report.comparison.result import ComparisonReport
    from edge_dendrite.report.comparison.thresholds import Thresholds


def _share(flag: str, what: str) -> Any:
    return typer.Option(flag, metavar="PERCENT", help=f"of {what}, instead of --max-regression")


def compare(
    measurements: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|DIR...",
            help="the baseline, then what is new: measurements, or folders of them. Each new folder is a side of its "
            "own, new files together are one",
        ),
    ],
    baseline: Annotated[
        list[Path] | None,
        typer.Option(
            "--baseline", metavar="FILE|DIR", help="the baseline; all others are new. Repeat for several runs"
        ),
    ] = None,
    max_regression: Annotated[
        str | None,
        typer.Option(
            "--max-regression",
            metavar="PERCENT",
            help='how much worse a figure may be, like "5%"; of accuracy as many points. Without thresholds nothing is '
            "judged",
        ),
    ] = None,
    latency: Annotated[str | None, _share("--max-latency-regression", "the median latency")] = None,
    p99: Annotated[str | None, _share("--max-p99-regression", "the 99th percentile of the latency")] = None,
    energy: Annotated[str | None, _share("--max-energy-regression", "gross energy per inference")] = None,
    net_energy: Annotated[
        str | None,
        typer.Option(
            "--max-net-energy-regression",
            metavar="PERCENT",
            help="of energy net of idle, which --max-regression leaves out",
        ),
    ] = None,
    memory: Annotated[str | None, _share("--max-memory-regression", "peak memory")] = None,
    accuracy: Annotated[
        str | None,
        typer.Option("--max-accuracy-drop", metavar="POINTS", help="of accuracy: 0.5 allows 98.0 % after 98.5 %"),
    ] = None,
    parameters: Annotated[str | None, _share("--max-parameters-regression", "parameters")] = None,
    macs: Annotated[str | None, _share("--max-macs-regression", "multiply-accumulates")] = None,
    size: Annotated[str | None, _share("--max-size-regression", "the ONNX file's bytes")] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(
            "--thresholds",
            metavar="FILE",
            help='.toml or .json with the same names: max_regression = "5%", max_accuracy_drop = 0.5; flags win',
        ),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option("--network", metavar="NAME|ROLE", help="compare only networks of this name or role; repeatable"),
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="leave out invalid and interrupted runs, which are refused otherwise")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="compare what is not comparable, labelled so; as in `edge-bench compare`")
    ] = False,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="also write JUnit XML")] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="FILE",
            help="also write Markdown; $GITHUB_STEP_SUMMARY is appended to, other files are replaced",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare measurements with a baseline, with 95 % intervals; with thresholds PASS or REGRESSION, for CI.

    PASS only where the whole interval is within what is allowed, REGRESSION where it is beyond, else INCONCLUSIVE with
    what would decide. Exit code: 0 PASS (or compared without thresholds), 1 REGRESSION, 2 usage, 4 INCONCLUSIVE,
    refused (other boards, states, invalid runs), unreadable, or a file that could not be written.
    """
    from edge_dendrite.report.comparison.compare import compare_paths
    from edge_dendrite.report.comparison.thresholds import Thresholds, read_thresholds

    shares = {
        "latency": latency, "p99": p99, "energy": energy, "net_energy": net_energy, "memory": memory,
        "parameters": parameters, "macs": macs, "size": size,
    }  # fmt: skip
    given = {f"max_{key}_regression": value for key, value in shares.items()}
    given |= {"max_regression": max_regression, "max_accuracy_drop": accuracy}
    flags = {name: value for name, value in given.items() if value is not None}
    allowed = Thresholds.from_dict(read_thresholds(thresholds), f"--thresholds {thresholds}") if thresholds else None
    allowed = _merged(allowed, Thresholds.from_dict(flags, "command line"))
    refuse_idle_flags({"--junit goes with thresholds: without one nothing is judged": bool(junit) and not allowed})
    if thresholds and not allowed:
        raise ConfigError(f"--thresholds {thresholds}: holds none; write one, or leave the file out")
    if len(measurements) < (1 if baseline else 2):
        raise ConfigError(f"{measurements[0]}: has nothing to be compared with; give the baseline, then what is new")
    refuse_outputs({"--junit": junit, "--markdown": markdown}, [*measurements, *(baseline or [])])
    try:
        with TerminalProgress() as progress:
            report = compare_paths(
                measurements,
                baseline or [],
                thresholds=allowed,
                networks=network or [],
                skip_invalid=skip_invalid,
                force=force,
                progress=progress,
            )
    except DataError as error:
        # 1 would say that something got worse.
        say(f"error: {error}")
        raise typer.Exit(EXIT_INVALID) from None
    code = _exit_code(report)
    try:
        _write(report, junit, markdown)
    except OSError as error:  # a full disk takes no verdict away, and makes no REGRESSION
        say(f"error: {explain(error)}")
        code = code or EXIT_INVALID
    _print(report, as_json)
    if code:
        raise typer.Exit(code)


def _merged(file: Thresholds | None, flags: Thresholds) -> Thresholds:
    """Flags win over the file, name by name."""
    if file is None:
        return flags
    overall = file.overall if flags.overall is None else flags.overall
    return type(flags)(overall, {**file.by_figure, **flags.by_figure})


def _print(report: ComparisonReport, as_json: bool) -> None:
    from edge_dendrite.commands.comparison_table import print_comparisons

    if as_json:
        typer.echo(json.dumps(report.to_dict(), sort_keys=True))
    else:
        print_comparisons(report)


def _write(report: ComparisonReport, junit: Path | None, markdown: Path | None) -> None:
    from edge_bench.atomic import write_bytes
    from edge_dendrite.report.comparison.junit import render_junit
    from edge_dendrite.report.comparison.markdown import MAX_BYTES, render_markdown

    if junit is not None:
        write_bytes(str(junit), render_junit(report))
    if markdown is None:
        return
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary and markdown.exists() and markdown.resolve() == Path(summary).resolve():
        # All commands of a step share it.
        size = markdown.stat().st_size
        text = render_markdown(report, max(10_000, MAX_BYTES - size))
        with markdown.open("ab") as stream:
            stream.write((b"\n" if size else b"") + text.encode("utf-8"))
        return
    write_bytes(str(markdown), render_markdown(report).encode("utf-8"))


def _exit_code(report: ComparisonReport) -> int:
    if report.verdict is None:
        return 0 if report.is_complete else EXIT_INVALID
    return {"PASS": 0, "REGRESSION": EXIT_FAILED}.get(report.verdict, EXIT_INVALID)
