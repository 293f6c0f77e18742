"""A board behind ssh, for as long as it is needed: asked once what it is, then given bundles to measure."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from edge_bench.bundle import Bundle
from edge_dendrite.errors import DeployError
from edge_dendrite.progress import Progress
from edge_dendrite.ship.agent import agent_bytes
from edge_dendrite.ship.ask import MAX_DIAGNOSIS_BYTES, BoardFacts, after_mark, new_token, parse_diagnosis
from edge_dendrite.ship.board_files import BoardFiles
from edge_dendrite.ship.bundle_files import agent_file, files_of
from edge_dendrite.ship.keeper import Keeper
from edge_dendrite.ship.options import RunOptions, SshOptions
from edge_dendrite.ship.plan import DeployPlan, check_fit, describe_copies, plan_copies
from edge_dendrite.ship.process import Result, run_logged, without_prefix
from edge_dendrite.ship.remote import SshConnection
from edge_dendrite.ship.target import SshTarget

_DOCTOR_TIMEOUT_S = 600.0
# Bundles that stay on a board for the next time.
NUM_KEPT_BUNDLES = 10


class RemoteBoard:
    """A board that is connected, has the agent, and has said what it is; a context manager."""

    def __init__(
        self,
        target: SshTarget,
        ssh: SshOptions,
        bundles: Sequence[Bundle],
        log: Callable[[str], None],
        progress: Progress,
        clean: bool,
    ) -> None:
        self._target, self._ssh, self._bundles = target, ssh, bundles
        self._log, self._progress, self._clean = log, progress, clean
        self._token, self._num_runs = new_token(), 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> RemoteBoard:
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
            packed = pool.submit(agent_bytes)  # while ssh connects
            self._connection = stack.enter_context(SshConnection(self._target, self._ssh.python, self._ssh.ssh_config))
            self._files = stack.enter_context(BoardFiles(self._connection, self._token))
            agent = agent_file(packed.result())
            to_come = {file.sha256: file for bundle in self._bundles for file in files_of(bundle)}
            self._files.open(self._ssh.remote_dir, [agent, *to_come.values()])
            stack.callback(self._tidy_up)  # also when what follows fails
            # Its hash is checked there before anything of it runs.
            self._agent = self._files.bring_agent(agent, self._progress)
            self._facts = self._ask()
            self._log(f"{self._target}: {self._facts.line()}; folder {self._files.folder}")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _tidy_up(self) -> None:
        for bundle in self._bundles if self._clean else ():
            self._files.count(bundle.id, files_of(bundle))
        try:
            self._files.end(self._clean)
        except DeployError as error:
            left = "all of this deploy" if self._clean else "its temporary files"
            self._log(f"{error}; {left} may be left in {self._files.folder}")
        except KeyboardInterrupt:
            self._log(f"{self._target}: not tidied up; the next deploy removes the temporary files there")

    def __str__(self) -> str:
        return str(self._target)

    def _ask(self) -> BoardFacts:
        result = self._run_agent(
            ["doctor", "--runtimes", "--json"],
            max_output_bytes=MAX_DIAGNOSIS_BYTES,
            timeout_s=_DOCTOR_TIMEOUT_S,
            log=lambda line: None,
        )
        what = "asking the board what it is"
        if result.problem:
            raise DeployError(f"{self._target}: {what}: {result.problem}")
        if result.code != 0:
            raise self._connection.why_ended(result.code, result.errors, what)
        return parse_diagnosis(after_mark(result.output, self._token, str(self._target)), str(self._target))

    def plan(self, bundle: Bundle, options: RunOptions) -> DeployPlan:
        """What measuring this bundle will do there. Raises DeployError when nothing there can load it."""
        fit = check_fit(bundle, self._facts, str(self._target), options)
        files = files_of(bundle)
        seen = self._files.look(bundle.id, files)
        return DeployPlan(
            board=str(self._target),
            facts=self._facts.line(),
            folder=self._files.folder,
            bundle=bundle.path,
            bundle_id=bundle.id,
            copies=plan_copies(files, seen.missing),
            num_files=len(files),
            builds_engine=fit.builds_engine,
            runs_with=fit.runs_with,
            notices=fit.notices,
        )

    def measure(self, bundle: Bundle, options: RunOptions, keeper: Keeper) -> Result:
        """Bring a bundle, build its engine where there is TensorRT, run, and hand the measurement to `keeper`.

        After Ctrl-C the run there is ended first and what it has comes back before KeyboardInterrupt goes on. Raises
        DeployError when the board does not answer, refuses, or answers more than a measurement can be.
        """
        fit = check_fit(bundle, self._facts, str(self._target), options)
        for notice in fit.notices:
            self._log(notice)
        files = files_of(bundle)
        seen = self._files.look(bundle.id, files)
        copies = plan_copies(files, seen.missing)
        if copies:
            self._log(describe_copies(copies))
        self._files.bring(bundle.id, seen, NUM_KEPT_BUNDLES, self._progress)
        path = self._files.bundle_path(bundle.id)
        if fit.builds_engine:
            self._build(path, keeper)
        self._num_runs += 1
        output = f"measurement-{self._num_runs}.json"  # what an earlier run wrote must not pass for that of this one
        command = ["run", path, "--output", f"{self._files.run}/{output}", *options.to_arguments()]
        try:
            result = self._run_agent(command, log=self._log, alone=True)
        except KeyboardInterrupt:
            with contextlib.suppress(DeployError):
                keeper.keep(self._files.fetch_measurement(output))
            raise
        if result.problem:
            raise DeployError(f"{self._target}: the run failed: {result.problem}")
        if result.code == 255:
            raise self._connection.why_ended(result.code, result.errors, "the run")
        keeper.keep(self._files.fetch_measurement(output))
        return result

    def _build(self, path: str, keeper: Keeper) -> None:
        self._files.begin_build()
        result = self._run_agent(["build", path], log=self._log, alone=True)
        if result.code == 255:
            raise self._connection.why_ended(result.code, result.errors, "building the engine")
        if result.code != 0 or result.problem:
            place = keeper.keep_build_log(self._files.fetch_build_log())
            log = f" (its log: {place})" if place else ""
            reason = result.problem or without_prefix(result.errors) or f"exit code {result.code}"
            raise DeployError(
                f"{self._target}: the engine could not be built there: {reason}{log}; --provider CPUExecutionProvider "
                "measures with onnxruntime instead"
            )

    def _run_agent(
        self,
        words: list[str],
        *,
        log: Callable[[str], None],
        max_output_bytes: int = 0,
        timeout_s: float | None = None,
        alone: bool = False,
    ) -> Result:
        argv, program = self._connection.start("watch", self._token)
        request = {
            "argv": [self._ssh.python, self._agent, *words],
            "folder": self._files.folder,
            "run": self._files.run,
            "own_cache": self._clean,
            "output": max_output_bytes > 0,
            "alone": alone,
        }
        return run_logged(
            argv,
            log,
            request=program + json.dumps(request).encode("ascii") + b"\n",
            max_output_bytes=max_output_bytes,
            timeout_s=timeout_s,
        )
