"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from edge_bench.atomic import write_bytes
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.data.source import load_data
from edge_dendrite.errors import EdgeDendriteError
from scripts.benchmarks.latency import Protocol, measure_missing
from scripts.benchmarks.memory import MemoryProtocol, measure_memory
from scripts.benchmarks.noise import measure_noise
from scripts.benchmarks.plot import accuracy_svg
from scripts.benchmarks.rows import Row, latency_s, read_rows
from scripts.benchmarks.studies import STUDIES, Study, find_study
from scripts.benchmarks.summary import Summary
from scripts.benchmarks.table import markdown
from scripts.benchmarks.train import cases, train_missing

ROOT = Path(__file__).parent.parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done, 1 failed, 2 usage, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        options.command(options)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except (EdgeDendriteError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/benchmarks/run", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train what is missing of a study; a killed run goes on where it was")
    _add_common(train)
    _add_seeds(train)
    train.add_argument("--arms", type=_names, help="with commas; default all of the study")
    train.add_argument("--budgets", type=_fractions, help="fractions to remove, with commas; default all of the study")
    train.set_defaults(command=_train, parser=train)
    latency = commands.add_parser("latency", help="time the trained networks of seeds; the machine must be quiet")
    _add_common(latency)
    _add_seeds(latency)
    latency.add_argument(
        "--max-other-load",
        type=float,
        default=Protocol.max_other_load,
        help="share of all processor time that other programs may take (default %(default)s)",
    )
    latency.set_defaults(command=_latency)
    noise = commands.add_parser("noise", help="test the trained networks of seeds under noise")
    _add_common(noise)
    _add_seeds(noise)
    noise.set_defaults(command=_noise)
    memory = commands.add_parser("memory", help="measure the peak memory of the trained networks of seeds")
    _add_common(memory)
    _add_seeds(memory)
    memory.set_defaults(command=_memory)
    table = commands.add_parser("table", help="write the table (.md) and the plot (.svg) of a study from its rows")
    _add_common(table)
    table.set_defaults(command=_table)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=_study, metavar="STUDY", help=", ".join(study.name for study in STUDIES))
    parser.add_argument("--results", type=Path, default=ROOT / "scripts" / "results", help="folder of the rows")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "benchmarks", help="folder of networks")


def _add_seeds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=_integers, default=[0], help="with commas; default 0")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the data sets")


def _train(options: argparse.Namespace) -> None:
    study: Study = options.study
    known = [arm for wave in study.waves for arm in wave]
    arms = options.arms or known
    if unknown := [arm for arm in arms if arm not in known]:
        options.parser.error(f"arm {unknown[0]!r} does not exist in {study.name}; there are {', '.join(known)}")
    wanted = list(cases(study, options.seeds, arms, options.budgets or study.budgets))
    ticker = Ticker()
    data = _load(study, options.data, ticker)
    for row in train_missing(study, wanted, data, results_path(options.results, study), options.work, ticker):
        print(
            f"{time.strftime('%H:%M:%S')} {_name(row)}: {row['num_parameters']:,} parameters, "
            f"validation {100 * row['val_accuracy']:.2f} %, test {100 * row['test_accuracy']:.2f} %",
            flush=True,
        )


def _latency(options: argparse.Namespace) -> None:
    study, results, ticker = options.study, results_path(options.results, options.study), Ticker()
    protocol = Protocol(max_other_load=options.max_other_load)
    data = _load(study, options.data, ticker)
    for seed in options.seeds:
        for row in measure_missing(study, seed, data, results, options.work, protocol, ticker):
            ratio = row["ratio_to_dense"]["value"]
            print(f"{_name(row)}: {1e6 * latency_s(row):.1f} us, {ratio:.3f} of dense")


def _noise(options: argparse.Namespace) -> None:
    study, results, ticker = options.study, results_path(options.results, options.study), Ticker()
    data = _load(study, options.data, ticker)
    for seed in options.seeds:
        for row in measure_noise(study, seed, data, results, options.work, ticker):
            cells = [f"{100 * one['test_accuracy']:.2f} % at {one['sigma']:g}" for one in row["noise"]]
            print(f"{time.strftime('%H:%M:%S')} {_name(row)}: {', '.join(cells)}", flush=True)


def _memory(options: argparse.Namespace) -> None:
    study, results, ticker = options.study, results_path(options.results, options.study), Ticker()
    data = _load(study, options.data, ticker)
    for seed in options.seeds:
        for row in measure_memory(study, seed, data, results, options.work, MemoryProtocol(), ticker):
            above, dense = row["above_floor_bytes"], row["dense_above_floor_bytes"]
            print(f"{_name(row)}: {above / 1e3:,.0f} kB above the floor, where dense is {dense / 1e3:,.0f} kB")


def _name(row: Row) -> str:
    size = "" if row["budget"] is None else f" -{100 * row['budget']:g} %"
    return f"{row['study']} seed {row['seed']} {row['arm']}{size}"


def _table(options: argparse.Namespace) -> None:
    study: Study = options.study
    rows = read_rows(results_path(options.results, study))
    if not rows:
        raise ValueError(f"{results_path(options.results, study)}: no rows yet; make some with `train {study.name}`")
    summary = Summary(study, rows)
    for path, text in (
        (options.results / f"{study.name}.svg", accuracy_svg(summary)),
        (options.results / f"{study.name}.md", markdown(summary, f"{study.name}.svg")),
    ):
        write_bytes(str(path), text.encode("utf-8"))
        print(path)


def results_path(folder: Path, study: Study) -> Path:
    """The rows of a study."""
    return folder / f"{study.name}.jsonl"


def _load(study: Study, folder: Path, ticker: Ticker) -> DataSet:
    source = study.data if study.data == "digits" else f"{study.data}:{folder / study.data}"
    data = load_data(source, progress=ticker)
    if study.train_share == 1.0:
        return data
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    return replace(data, train=data.train.subset(order[: round(study.train_share * len(data.train))]))


class Ticker:
    """Says every so often how far it is: each second on a terminal, in a log each minute."""

    def __init__(self) -> None:
        self._interval = 1.0 if sys.stderr.isatty() else 60.0
        self._next = 0.0

    def __call__(self, description: str, done: int, total: int, /) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._interval
            print(f"{time.strftime('%H:%M:%S')} {description}: {done:,} of {total:,}", file=sys.stderr, flush=True)


def _study(name: str) -> Study:
    try:
        return find_study(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _names(text: str) -> list[str]:
    return text.split(",")


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _fractions(text: str) -> list[float]:
    values = [float(part) for part in text.split(",")]
    if not all(0 < value < 1 for value in values):
        raise argparse.ArgumentTypeError("fractions to remove lie between 0 and 1")
    return values


if __name__ == "__main__":
    sys.exit(main())
