"""What the arguments of several commands have in common: their types, and what is asked for in the same words."""

import argparse
from typing import Any, NoReturn, Optional, Sequence

from edge_bench import schema

BACKENDS = ("auto", "onnxruntime", "tensorrt", "trtexec")
BUFFERS = ("ctypes", "pycuda", "cuda-python")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; a dozen lines of usage above it would hide it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, "%s: error: %s; see %s --help\n" % (self.prog, message, self.prog))


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults that say something; "(default: None)" does not."""

    def _get_help_string(self, action: argparse.Action) -> Optional[str]:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


class RawFormatter(Formatter, argparse.RawDescriptionHelpFormatter):
    """The same, with the lines of a description as they are."""


def add_backend(parser: Any, backends: Sequence[str] = BACKENDS) -> None:
    """`--backend`, `--threads`, `--provider`, `--buffers`: what runs the network, in every command that runs one."""
    add = parser.add_argument
    add("--backend", choices=backends, help="what runs the network (default: auto)")
    add("--threads", type=num_threads, metavar="N", help="intra-op threads of onnxruntime (default: 1)")
    add("--provider", metavar="NAME", help="onnxruntime provider, else the one that the runtime prefers")
    add("--buffers", choices=BUFFERS, help="what moves data to a GPU for TensorRT (default: ctypes)")


def check_backend(given: argparse.Namespace) -> None:
    """Ends with a line on usage where a flag would say something to a runtime that another flag leaves out."""
    if given.backend in ("tensorrt", "trtexec"):
        refuse_given(given, "--backend %s" % given.backend, "provider", "threads")
    if given.backend in ("onnxruntime", "trtexec"):
        refuse_given(given, "--backend %s" % given.backend, "buffers")
    if given.provider is not None:
        refuse_given(given, "--provider, which is onnxruntime's,", "buffers")


def refuse_given(given: argparse.Namespace, beside: str, *names: str) -> None:
    """End with a line on usage where one of these arguments was given; None is what was not."""
    flags = ["--" + name.replace("_", "-") for name in names if getattr(given, name) is not None]
    if flags:
        means = "mean" if len(flags) > 1 else "means"
        given.fail("%s %s nothing beside %s; leave one or the other out" % (" and ".join(flags), means, beside))


def add_root(parser: argparse.ArgumentParser) -> None:
    """`--root`: for containers that have the board's /proc and /sys somewhere else."""
    parser.add_argument("--root", default="/", metavar="DIR", help="where the board's /proc and /sys are mounted")


MAX_THREADS = 256


def num_threads(text: str) -> int:
    """A runtime makes as many as it is told, and fills the memory with their stacks."""
    value = positive_int(text)
    if value > MAX_THREADS:
        raise argparse.ArgumentTypeError("%s threads are more than %d" % (text, MAX_THREADS))
    return value


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`: for machines."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("%s is not a positive number" % text)
    return value


def positive_int(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise argparse.ArgumentTypeError("%s is not a positive whole number" % text)
    return value


def num_runs(text: str) -> int:
    value = positive_int(text)
    if value > schema.MAX_SAMPLES:
        raise argparse.ArgumentTypeError("a measurement holds at most %d samples" % schema.MAX_SAMPLES)
    return value


def not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("%s is not a number of 0 or more" % text)
    return value
