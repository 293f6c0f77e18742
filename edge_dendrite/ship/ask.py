"""What a board says of itself: the answer of `edge-bench doctor --runtimes`, data until it was checked here."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from edge_bench.atomic import parse_json
from edge_dendrite.errors import DeployError
from edge_dendrite.ship.process import printable

_SCHEMA = "edge-dendrite.doctor"
_VERSION = 1
MAX_DIAGNOSIS_BYTES = 1 << 20
_MAX_TEXT = 300


@dataclass(frozen=True)
class Runtime:
    """What runs networks on the board. version: None when it does not work, or does not say; reason, install: then."""

    works: bool = False
    version: str | None = None
    reason: str = ""
    install: str = ""
    providers: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoardFacts:
    """What decides whether a bundle loads on a board; None and empty where the board does not say."""

    model: str | None
    system: str | None
    machine: str
    python: str
    memory_available_bytes: int | None
    onnxruntime: Runtime
    tensorrt: Runtime
    trtexec: str | None
    gpu: dict[str, Any] | None = field(default=None)

    @property
    def tensorrt_version(self) -> str | None:
        """Of what runs engines there: TensorRT's Python module, else trtexec; None where no GPU answers."""
        if self.gpu is None:
            return None
        return self.tensorrt.version if self.tensorrt.works else self.trtexec

    @property
    def platform(self) -> str:
        """As engines are bound to it."""
        return f"linux-{self.machine}"

    def line(self) -> str:
        """What the board is, in a line."""
        runtimes = [f"onnxruntime {self.onnxruntime.version or '?'}"] if self.onnxruntime.works else []
        if self.tensorrt_version is not None and self.gpu is not None:
            runtimes.append(f"TensorRT {self.tensorrt_version} on {self.gpu['name']}")
        parts = [self.model or "board", self.machine, self.system or "", f"Python {self.python}"]
        return ", ".join(part for part in [*parts, " and ".join(runtimes) or "nothing that runs networks"] if part)


def parse_diagnosis(content: bytes, board: str) -> BoardFacts:
    """What counts of a diagnosis. Raises DeployError naming the key when it is not what `edge-bench doctor` says."""
    try:
        answer = parse_json(content)
    except ValueError as error:
        raise DeployError(f"{board}: what it says of itself is no JSON: {str(error)[:_MAX_TEXT]}") from error
    answers = _Answers(board)
    answers.check(
        isinstance(answer, dict) and answer.get("schema") == _SCHEMA and answer.get("version") == _VERSION, "schema"
    )
    described, state = answers.object(answer, "board"), answers.object(answer, "state")
    driver = answers.object(answer, "driver")
    runtimes = {one.get("name"): one for one in answers.objects(answer, "runtimes")}
    programs = {one.get("name"): one for one in answers.objects(answer, "programs")}
    devices = answers.objects(driver, "devices")
    machine = answers.text(described, "machine")
    return BoardFacts(
        model=answers.text_or_none(described, "model"),
        system=answers.text_or_none(described, "system"),
        machine=machine or "?",
        python=answers.text(described, "python"),
        memory_available_bytes=answers.size_or_none(state, "memory_available_bytes"),
        onnxruntime=_runtime(answers, runtimes.get("onnxruntime", {})),
        tensorrt=_runtime(answers, runtimes.get("tensorrt", {})),
        trtexec=answers.text_or_none(programs.get("trtexec", {}), "version"),
        gpu=_gpu(answers, devices[0]) if devices else None,
    )


def _runtime(answers: _Answers, row: dict[str, Any]) -> Runtime:
    if not row:
        return Runtime(reason="the board does not speak of it")
    answers.check(isinstance(row.get("works"), bool), "runtimes.works")
    providers = row.get("providers") or []
    answers.check(isinstance(providers, list) and all(isinstance(one, str) for one in providers), "runtimes.providers")
    return Runtime(
        works=row["works"],
        version=answers.text_or_none(row, "version"),
        reason=answers.text_or_none(row, "reason") or "",
        install=answers.text_or_none(row, "install") or "",
        providers=tuple(answers.plain(one) for one in providers[:100]),
    )


def _gpu(answers: _Answers, device: dict[str, Any]) -> dict[str, Any]:
    return {key: answers.text(device, key) for key in ("name", "compute_capability")}


class _Answers:
    """Reads keys of what a board said, each checked; texts are cut and of printable characters."""

    def __init__(self, board: str) -> None:
        self._board = board

    def check(self, is_right: bool, key: str) -> None:
        if not is_right:
            raise DeployError(
                f"{self._board}: what it says of itself is not what edge-bench doctor says ({key}); its agent was "
                "replaced, or something else answers there"
            )

    def object(self, parent: dict[str, Any], key: str) -> dict[str, Any]:
        self.check(isinstance(parent.get(key), dict), key)
        return dict(parent[key])

    def objects(self, parent: dict[str, Any], key: str) -> list[dict[str, Any]]:
        value = parent.get(key)
        self.check(isinstance(value, list) and all(isinstance(one, dict) for one in value), key)
        return list(parent[key])[:100]

    def text(self, parent: dict[str, Any], key: str) -> str:
        value = self.text_or_none(parent, key)
        self.check(value is not None, key)
        return value or ""

    def text_or_none(self, parent: dict[str, Any], key: str) -> str | None:
        value = parent.get(key)
        self.check(value is None or isinstance(value, str), key)
        return None if value is None else self.plain(value)

    def plain(self, text: str) -> str:
        return " ".join(printable(text.encode("utf-8", "replace")).split())[:_MAX_TEXT]

    def size_or_none(self, parent: dict[str, Any], key: str) -> int | None:
        value = parent.get(key)
        self.check(value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0), key)
        return value


def after_mark(output: bytes, token: str, board: str) -> bytes:
    """What a program wrote after the line of its token: before it a login shell may have talked."""
    _, mark, content = output.partition(f"\n{token}\n".encode())
    if not mark:
        raise DeployError(f"{board}: its agent gave no answer; look at the board, then run this again")
    return content


def new_token() -> str:
    """A word that nothing else writes by chance."""
    return secrets.token_hex(16)
