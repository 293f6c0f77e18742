"""Where figures come from, and the commands that make them again: from what measurements and model records say.

The commands are for copying, so every word that stands in a file is quoted for a POSIX shell and has no line end.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_dendrite.report import fields
from edge_dendrite.report.format import clean_text, plural
from edge_dendrite.report.runs import Measurement, Run
from edge_dendrite.roles import BASELINE, COMPRESSED, CONTROL

Examined = Sequence[tuple[Run, Measurement]]
# The page is for reading; what is beyond these stands in the measurement files.
_MAX_NETWORKS, _MAX_IDS, _MAX_VALUE, _MAX_LINE = 24, 64, 2400, 8000
# Flags of `edge-bench run` by the setting's key, and what turns its value into the flag's unit.
_FLAGS = (
    ("--runs", "num_runs", 1.0),
    ("--duration", "duration_s", 1.0),
    ("--warmup", "warmup_s", 1.0),
    ("--threads", "num_threads", 1.0),
    ("--provider", "provider", None),
    ("--backend", "backend", None),
    ("--batch", "batch", 1.0),
    ("--buffers", "buffers", None),
    ("--deadline-ms", "deadline_s", 1e3),
    ("--period-ms", "period_s", 1e3),
    ("--idle-s", "idle_s", 1.0),
    ("--energy-s", "energy_s", 1.0),
    ("--power", "power", None),
    ("--power-cmd", "power_command", None),
    ("--power-interval", "power_interval_s", 1.0),
    ("--max-other-load", "max_other_load", 1.0),
    ("--root", "root", None),
)
# What the agent does without the flag, and where it refuses it.
_USUAL = {"backend": "auto", "buffers": "ctypes", "power": "auto", "root": "/"}
# What `edge-dendrite deploy` can ask for, and what it leaves as the agent does it.
_OF_DEPLOY = ("num_runs", "duration_s", "num_threads", "provider", "max_other_load")
_LEFT_BY_DEPLOY = {**_USUAL, "warmup_s": 0.5, "idle_s": 3.0, "energy_s": 10.0}
_NOT_OF_COMMANDS = ("backend", "provider", "num_threads", "buffers", "batch")


@dataclass(frozen=True)
class Command:
    """What it makes, the line for a shell, and what the reader has to put in; `note` may be empty."""

    what: str
    line: str
    note: str = ""


def describe_origin(examined: Examined) -> dict[str, str]:
    """Versions, hashes and run ids that the measurements name, as terms and values."""
    found: dict[str, list[str]] = {}

    def add(term: str, value: str | None) -> None:
        if value and value not in found.setdefault(term, []):
            found[term].append(value)

    for run, measurement in examined:
        bundle, agent = measurement["bundle"], measurement["agent"]
        python = fields.text(agent, "python")
        add("agent", _joined("edge-bench", fields.text(agent, "version"), python and f"on Python {python}"))
        add("runtime", run.condition.runtime)
        tools = fields.mapping(bundle, "tools")
        add("exported with", ", ".join(f"{clean_text(key)} {clean_text(tools[key])}" for key in sorted(tools)[:12]))
        add("test data (sha256)", fields.text(fields.mapping(bundle, "accuracy"), "data_sha256"))
        add(f"bundle of {run.name}", run.bundle_id)
        add(f"ONNX file of {run.name} (sha256)", fields.text(bundle, "model_sha256"))
        engine = fields.text(fields.mapping(measurement, "backend"), "engine_sha256")
        add(f"engine of {run.name} (sha256)", engine)
    for run, measurement in examined:
        add(f"runs of {run.name}", fields.text(measurement, "run_id"))
    return {term: _some(values) for term, values in found.items() if values}


def _joined(*parts: str | None) -> str:
    return " ".join(part for part in parts if part) if parts[1] else ""


def _some(values: Sequence[str]) -> str:
    more = f" and {len(values) - _MAX_IDS} more" if len(values) > _MAX_IDS else ""
    return clean_text(", ".join(values[:_MAX_IDS]), _MAX_VALUE) + more


def describe_model(record: Mapping[str, Any]) -> dict[str, str]:
    """What the record of a compressed model adds: its weights, its training data, seed and settings."""
    recipe = fields.mapping(record, "recipe")
    config = fields.mapping(recipe, "config")
    seed = fields.whole(fields.mapping(config, "fit"), "seed")
    known = {
        "weights (sha256)": fields.text(record, "weights_sha256"),
        "training data": " ".join(
            filter(None, (fields.text(record, "data"), _in_brackets(fields.text(recipe, "data"))))
        ),
        "network's source (sha256)": fields.text(recipe, "network"),
        "seed": None if seed is None else str(seed),
        "settings": json.dumps(config, sort_keys=True) if config else None,
    }
    return {term: clean_text(value, _MAX_VALUE) for term, value in known.items() if value}


def _in_brackets(text: str | None) -> str:
    return f"(sha256 {text})" if text else ""


def measuring_commands(examined: Examined, title: str, *, has_model: bool) -> tuple[Command, ...]:
    """One line of `edge-dendrite deploy` where that does all of it, else a line of `edge-bench run` for each network
    and each way of measuring it; then one for the report. has_model: whether the compressed model is at hand.
    """
    words = ["edge-dendrite", "report", "measurements", *(("--model", "model") if has_model else ()), "--title", title]
    report = Command("make this report", shlex.join([*words, "--out", "report.html"]))
    return _not_too_long([*(_deploy(examined) or _runs(examined)), report])


def _deploy(examined: Examined) -> list[Command]:
    """All networks in turns, as they were measured; none where that is not what was done."""
    names = {run.bundle_id: run.name for run, _ in examined}
    asked = {_run_line(run, measurement, _OF_DEPLOY) for run, measurement in examined}
    flags = {line.partition(" --")[2].partition(" --output")[0] for line in asked}
    plain = all(_is_plain(measurement) for _, measurement in examined)
    if not plain or len(flags) > 1 or len(names) > _MAX_NETWORKS or len(set(map(slug, names.values()))) < len(names):
        return []
    first, *others = (f"bundles/{slug(name)}" for name in names.values())
    words = ["edge-dendrite", "deploy", first, "TARGET", *(word for one in others for word in ("--beside", one))]
    rounds = max(run.round for run, _ in examined)
    line = f"{shlex.join([*words, '--rounds', str(rounds)])} --{flags.pop()} --out measurements"
    note = "TARGET: the board, user@host or local; its state as in 'Board and its state'; bundles by their ids above"
    return [Command(f"measure all {len(names)} networks in turns", line, note)]


def _is_plain(measurement: Measurement) -> bool:
    """Whether `deploy` can ask for all of it."""
    settings = measurement["settings"]
    kind = fields.text(fields.mapping(measurement, "source"), "kind") or "bundle"
    left = [key for _, key, _ in _FLAGS if key not in _OF_DEPLOY]
    return kind == "bundle" and all(settings.get(key) in (None, _LEFT_BY_DEPLOY.get(key)) for key in left)


def _runs(examined: Examined) -> list[Command]:
    runs: dict[str, tuple[Run, int]] = {}
    for run, measurement in examined:
        line = _run_line(run, measurement)
        runs[line] = (run, runs.get(line, (run, 0))[1] + 1)
    commands = []
    for line, (run, number) in list(runs.items())[:_MAX_NETWORKS]:
        times = f", {plural(number, 'time')} in turns with the others" if number > 1 else ""
        note = f"on the board; the bundle is the one with id {run.bundle_id}"
        commands.append(Command(f"measure {run.name}{times}", line, note))
    return commands


def _not_too_long(commands: Sequence[Command]) -> tuple[Command, ...]:
    """A line that is cut off would do something else, so one that nobody would copy is left out whole."""
    return tuple(command for command in commands if len(command.line) <= _MAX_LINE)


def _run_line(run: Run, measurement: Measurement, keys: Sequence[str] | None = None) -> str:
    """With the flags of all settings, or of those in `keys`."""
    source, settings = fields.mapping(measurement, "source"), measurement["settings"]
    kind = fields.text(source, "kind") or "bundle"
    words, name = source.get("words"), slug(run.name)
    parts = ["edge-bench", "run"]
    layers = ["--layers"] if settings.get("layers") is True else []
    if kind == "command" and isinstance(words, list) and words:
        parts += ["--cmd", shlex.join(_one_line(word) for word in words)]
    else:
        parts.append({"onnx": f"{name}.onnx", "engine": f"{name}.engine"}.get(kind, f"bundles/{name}"))
    for flag, key, factor in _FLAGS:
        value = _setting(settings, key, factor, kind)
        if value is not None and (keys is None or key in keys):
            parts += [flag, value]
    return shlex.join([*parts, *layers, "--output", f"measurements/{name}-1.json"])


def _setting(settings: Mapping[str, Any], key: str, factor: float | None, kind: str) -> str | None:
    """The flag's value, None where the agent does it without the flag or would refuse it."""
    without_power = settings.get("power") == "none" and key in ("idle_s", "energy_s", "power_interval_s")
    if without_power or (kind == "command" and key in _NOT_OF_COMMANDS):
        return None
    if (key == "duration_s" and fields.whole(settings, "num_runs")) or settings.get(key) == _USUAL.get(key, ...):
        return None
    if (key, settings.get("backend")) in (("warmup_s", "trtexec"), ("period_s", "trtexec")):
        return None
    if kind == "engine" and key in ("provider", "num_threads"):
        return None
    if key == "power" and settings.get("power_command") is not None:
        return None
    if factor is None:
        value = settings.get(key)
        return _one_line(value) if isinstance(value, str) and value else None
    number = fields.number(settings, key)
    return None if number is None else f"{number * factor:.12g}"


def _one_line(word: object) -> str:
    """A word of a command with nothing that steers a terminal; blanks inside stay as they are."""
    return "".join(char if char.isprintable() else " " for char in str(word)[:_MAX_LINE])


def slug(name: str) -> str:
    """A name as a file: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:60] or "network"


def making_commands(
    record: Mapping[str, Any], rows: Sequence[tuple[str, str, Mapping[str, Any]]]
) -> tuple[Command, ...]:
    """How the networks were compressed and exported. rows: (name, role, the bundle as a measurement tells of it)."""
    recipe = fields.mapping(record, "recipe")
    config, source = fields.mapping(recipe, "config"), fields.text(record, "source", 500)
    if not config or source is None:
        return ()
    data, data_note = _data_word(fields.text(record, "data"))
    metric = fields.text(recipe, "metric") or "accuracy"
    words = ["edge-dendrite", "compress", source, "--data", data, "--config", "settings.json"]
    notes = [data_note]
    max_epochs = fields.whole(recipe, "max_epochs")
    words += ["--max-epochs", str(max_epochs)] if max_epochs is not None else []
    if metric != "accuracy":
        words += ["--metric", metric]
        notes.append("give the metric as package.module:function")
    if fields.text(fields.mapping(recipe, "baseline"), "weights"):
        words += ["--weights", "trained.safetensors"]
        notes.append("trained.safetensors: the network that was brought trained")
    settings = json.dumps(config, sort_keys=True)
    commands = [
        Command("write down the settings", f"printf %s {shlex.quote(settings)} > settings.json"),
        Command("train and compress", shlex.join([*words, "--out", "model"]), "; ".join(filter(None, notes))),
    ]
    exports = [_export_command(name, role, bundle, data) for name, role, bundle in rows[:_MAX_NETWORKS]]
    return _not_too_long([*commands, *exports])


def _data_word(name: str | None) -> tuple[str, str]:
    """The value of --data, as far as it is known, and what the reader has to put in."""
    if name == "digits":
        return "digits", ""
    if name in ("mnist", "cifar10", "images"):
        return f"{name}:DIR", "DIR: the folder of the data"
    return "DATA", f"DATA: the data called {name}" if name else "DATA: as it was given then, which is not recorded"


def _export_command(name: str, role: str, bundle: Mapping[str, Any], data: str) -> Command:
    model = fields.mapping(bundle, "model")
    folder = {BASELINE: "model/baseline", COMPRESSED: "model"}.get(role)
    if role.startswith(CONTROL):
        folder = f"model/controls/{slug(role.removeprefix(CONTROL))}"
    words = ["edge-dendrite", "export", folder or f"{slug(name)}.onnx"]
    target, precision = fields.text(bundle, "target"), fields.text(model, "precision")
    opset = fields.whole(model, "opset")
    words += ["--target", target] if target else []
    words += ["--opset", str(opset)] if opset and folder else []
    words += ["--precision", precision] if precision and precision != "fp32" else []
    words += ["--dynamic-batch"] if model.get("dynamic_batch") is True else []
    words += ["--role", role] if not folder else []
    words += ["--data", data] if fields.mapping(bundle, "accuracy") else []
    return Command(f"export {name}", shlex.join([*words, "--out", f"bundles/{slug(name)}"]))
