"""What an image has to do, tried inside of it as its own user with its own entry point."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge_dendrite.ship.agent import agent_bytes
from scripts.docker_images.build import Built, file_sha256, image_config, payload_folder
from scripts.docker_images.errors import ImageError
from scripts.docker_images.store import Store

_SITE = "/opt/edge-bench/site"


class Inside:
    """Runs commands in a container of an image."""

    def __init__(self, store: Store, container: str, config: dict[str, Any], volumes: dict[Path, str]) -> None:
        self.config = config
        self._store = store
        self._container = container
        self._volumes = [word for path, inside in volumes.items() for word in ("--volume", f"{path}:{inside}:ro")]

    def run(self, *command: str, env: str = "") -> tuple[int, str]:
        """(exit code, stdout)."""
        options = [*self._volumes, *(("--env", env) if env else ())]
        return self._store.buildah_code("run", *options, self._container, "--", *command, log="inside", timeout_s=600)

    def entry(self, *arguments: str, env: str = "") -> tuple[int, str]:
        """The image's entry point with these arguments."""
        return self.run(*self.config["Entrypoint"], *arguments, env=env)

    def json(self, *arguments: str, env: str = "") -> Any:
        """What the entry point prints as JSON. Raises ImageError."""
        code, output = self.entry(*arguments, env=env)
        try:
            return json.loads(output)
        except ValueError as error:
            shown = output.strip()[:200] or "nothing"
            raise ImageError(f"`{shlex.join(arguments)}` ended with {code} and printed {shown!r}") from error


@contextlib.contextmanager
def inside(store: Store, built: Built, volumes: dict[Path, str]) -> Iterator[Inside]:
    """A container of an image, removed afterwards."""
    what = f"starting {built.recipe.name}"
    container = store.buildah(what, "from", "--pull-never", "--arch", built.recipe.architecture, built.image).strip()
    try:
        yield Inside(store, container, image_config(store, built.image)["OCIv1"]["config"], volumes)
    finally:
        store.buildah_code("rm", container)


def check_image(store: Store, built: Built, bundle: Path) -> None:
    """Fill `built.checks`: what was looked at, and what was wrong with it."""
    if built.recipe.name == "cross":
        # Its build verified the bundle, taking the files out compared their sums.
        built.checks["payload whole, bundle verified"] = ""
        built.checks["agent is that of scripts/build-agent"] = _agent(store)
        return
    volumes = {bundle: "/bundle.tar"}
    if built.recipe.replaced:
        # NVIDIA's base would bring TensorRT; here the wheels of the payload run the bundle.
        volumes[payload_folder(store) / "site"] = _SITE
    with inside(store, built, volumes) as box:
        checks: dict[str, Callable[[], str]] = {
            "user is not root": lambda: _user(box),
            "healthcheck": lambda: _health(built, box),
            "labels": lambda: _labels(store, built, box),
        }
        if built.recipe.name == "host":
            checks["edge-dendrite doctor"] = lambda: _host_doctor(box)
            checks["edge-dendrite boards"] = lambda: _boards(box)
            checks["edge-dendrite export"] = lambda: _export(box)
        else:
            checks["edge-bench doctor"] = lambda: _doctor(box)
            checks["edge-bench run"] = lambda: _measure(box)
        for name, one in checks.items():
            try:
                built.checks[name] = one()
            except ImageError as error:
                built.checks[name] = str(error)


def _agent(store: Store) -> str:
    same = (payload_folder(store) / "edge-bench.pyz").read_bytes() == agent_bytes()
    return "" if same else "they differ: another zlib, or sources were edited meanwhile"


def _user(box: Inside) -> str:
    code, output = box.run("id", "-u")
    return "" if code == 0 and output.strip() not in ("", "0") else f"`id -u` said {output.strip()!r}"


def _health(built: Built, box: Inside) -> str:
    command = built.recipe.healthcheck()
    if not command:
        return "there is none that runs without a shell"
    code, _ = box.run(*command)
    return "" if code == 0 else f"{' '.join(command)} ended with {code}"


def _labels(store: Store, built: Built, box: Inside) -> str:
    labels = box.config["Labels"]
    if built.recipe.takes_payload:
        expected = file_sha256(payload_folder(store) / "edge-bench.pyz")
        # Asked inside, so that the label is compared with what is there.
        _, output = box.run("sha256sum", "/usr/local/bin/edge-bench")
        if output.split()[:1] != [expected] or labels.get("edge-dendrite.agent.sha256") != expected:
            return "the label with the agent's sha256 is not that of the agent inside"
    wanted = [f"org.opencontainers.image.{one}" for one in ("title", "version", "licenses", "base.name")]
    missing = [one for one in wanted if not labels.get(one)]
    return f"missing: {', '.join(missing)}" if missing else ""


def _doctor(box: Inside) -> str:
    answer = box.json("doctor", "--json")
    machine = answer["board"]["machine"]
    return "" if machine == "aarch64" else f"it says that it runs on {machine}"


def _measure(box: Inside) -> str:
    # Short: under emulation the numbers mean nothing, and none is kept. They show that all of it works.
    arguments = ("--runs", "20", "--warmup", "0.1", "--power", "none", "--max-other-load", "1", "--json")
    answer = box.json("run", "/bundle.tar", *arguments, env=f"PYTHONPATH={_SITE}")
    check = answer.get("check") or {}
    if not check.get("passed") or not check.get("num_cases"):
        return f"outputs are not those of the bundle: {check}"
    if answer.get("status") != "complete" or not answer.get("latency"):
        return f"the measurement is {answer.get('status')}: {answer.get('invalid')}"
    return ""


def _host_doctor(box: Inside) -> str:
    return missing_parts(box.json("doctor", "--json"))


def missing_parts(parts: list[dict[str, Any]]) -> str:
    """Of what edge-dendrite's doctor says: what it needs and lacks. ssh has to be there too, or nothing is shipped."""
    if not parts:
        return "it named no part"
    needed = [part for part in parts if part["required"] or part["name"] == "ssh"]
    return "; ".join(f"{part['name']}: {part['state']}" for part in needed if not part["works"])


def _boards(box: Inside) -> str:
    answer = box.json("boards", "--json")
    return "" if len(answer) > 3 else f"it knows {len(answer)} boards"


def _export(box: Inside) -> str:
    code, output = box.entry("export", "digits-cnn", "--input-shape", "1,8,8", "--opset", "13", "--out", "/work/digits")
    return "" if code == 0 else f"it ended with {code}: {output.strip()[-300:]}"
