"""scripts/docker-images: what it refuses, keeps, compares and leaves behind. No image is built here."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from parts import ROOT
from scripts.docker_images import machine
from scripts.docker_images.build import Built, stage_context
from scripts.docker_images.checks import missing_parts
from scripts.docker_images.compare import describe, what_differs
from scripts.docker_images.errors import CannotRun, ImageError
from scripts.docker_images.programs import check, last_lines, run
from scripts.docker_images.recipes import RECIPES, choose
from scripts.docker_images.render import as_json, as_text
from scripts.docker_images.store import Store
from scripts.docker_images.wheels import locks

CROSS, ARM64, HOST = RECIPES[0], RECIPES[1], RECIPES[-1]


def docker_images(*arguments, path=None):
    env = dict(os.environ, PATH=path) if path else None
    command = [str(ROOT / "scripts" / "docker-images"), *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("arguments", [(), ("bake",), ("build", "arm46"), ("lock", "--json"), ("test", "--cache")])
def test_wrong_words_are_usage_errors(arguments):
    result = docker_images(*arguments)
    assert result.returncode == 2
    assert "usage: docker-images" in result.stderr


def test_an_unknown_image_is_answered_with_those_that_there_are():
    assert "'arm46' is none of cross, arm64, jetson-r32" in docker_images("build", "arm46").stderr


def test_where_it_cannot_run_it_says_so_in_one_line_with_a_code_of_its_own(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for program in ("bash", "env", "dirname", "python3"):
        (tools / program).symlink_to(next(p for d in os.get_exec_path() if (p := Path(d, program)).exists()))
    result = docker_images("build", "--cache", tmp_path / "cache", path=str(tools))
    assert result.returncode == 77, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("cannot run here: ")
    assert result.stdout == ""


def test_without_root_the_command_with_root_is_named(monkeypatch):
    monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)
    with pytest.raises(CannotRun, match="not root.*sudo"):
        machine.require_builder()


def test_without_programs_the_packages_are_named(monkeypatch):
    monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    with pytest.raises(CannotRun, match="buildah, mmdebstrap, apt not installed: apt-get install"):
        machine.require_builder()


def test_without_emulation_the_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_BINFMT", tmp_path / "none")
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    with pytest.raises(CannotRun, match="no binfmt handler.*qemu-user-static"):
        machine.require_emulation()


def test_an_emulator_that_images_would_have_to_hold_is_refused(monkeypatch, tmp_path):
    (tmp_path / "register").touch()
    (tmp_path / "qemu-aarch64").write_text("enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: P\n")
    monkeypatch.setattr(machine, "_BINFMT", tmp_path)
    with pytest.raises(CannotRun, match="lacks the flag F"):
        machine.require_emulation()


def test_two_at_once_are_refused_and_the_first_keeps_what_it_has(tmp_path):
    store = Store(tmp_path / "cache")
    with store.opened():
        (store.work / "half").touch()
        result = docker_images("lock", "--cache", store.folder)
        assert result.returncode == 1
        assert "another docker-images works there" in result.stderr
        assert docker_images("clean", "--cache", store.folder).returncode == 1
        assert (store.work / "half").exists()


def test_what_an_interrupted_run_left_goes_and_what_was_fetched_stays(tmp_path):
    store = Store(tmp_path / "cache")
    with store.opened():
        (store.wheels / "kept").mkdir()
    (store.work / "context-old").mkdir()
    with store.opened():
        assert list(store.work.iterdir()) == []
        assert (store.wheels / "kept").exists()
    assert docker_images("clean", "--cache", store.folder).returncode == 0
    assert not store.folder.exists()
    # Once more: there is nothing to remove, which is what was asked for.
    assert docker_images("clean", "--cache", store.folder).returncode == 0


def test_nothing_is_deleted_through_a_mount(tmp_path, monkeypatch):
    store = Store(tmp_path / "cache")
    with store.opened():
        pass
    (store.work / "sys").mkdir()
    monkeypatch.setattr(Store, "mounts", lambda self: [f"{self.work}/sys"])
    with pytest.raises(ImageError, match="unmount them first"), store.opened():
        pass
    with pytest.raises(ImageError, match="unmount first"):
        store.clean()
    assert (store.work / "sys").exists()


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    result = docker_images("lock", "--cache", tmp_path / "file" / "cache")
    assert result.returncode == 1
    assert "Not a directory; give a folder with --cache" in result.stderr


def test_a_failed_program_is_said_with_the_end_of_its_log(tmp_path):
    log = tmp_path / "logs" / "one.log"
    with pytest.raises(ImageError, match=r"(?s)making it failed: sh ended with 3.*no space left") as error:
        check("making it", ["sh", "-c", "printf 'a\\033[2Jb\\n' >&2; echo no space left >&2; exit 3"], log)
    assert "\033" not in str(error.value)
    assert "a[2Jb" in last_lines(log)


def test_without_a_network_nothing_is_wrong_with_the_images(tmp_path):
    line = "Err:1 http://mirror bookworm InRelease: Temporary failure resolving 'mirror'"
    with pytest.raises(CannotRun, match="no network: making it failed"):
        check("making it", ["sh", "-c", f'echo "{line}" >&2; exit 100'], tmp_path / "log")
    # The network came back, and something else fails: the old lines of the log do not count.
    with pytest.raises(ImageError):
        check("making it", ["false"], tmp_path / "log")


def test_a_program_that_does_not_end_is_ended_with_its_children(tmp_path):
    mark = tmp_path / "pid"
    with pytest.raises(ImageError, match="was not done after"):
        run(["sh", "-c", f"sleep 600 & echo $! > {mark}; wait"], tmp_path / "log", timeout_s=1)
    child = Path("/proc", mark.read_text().strip())
    for _ in range(100):
        if not child.exists() or "Z" in (child / "stat").read_text().split()[2:3]:
            return
        time.sleep(0.05)
    pytest.fail("the child of the program still runs")


def test_the_second_build_sees_the_same_bytes_under_other_dates_and_rights(tmp_path):
    store = Store(tmp_path / "cache")
    with store.opened():
        first, second = (stage_context(store, HOST, None, turn) for turn in (1, 2))
        left, right = describe(first), describe(second)
    assert left.keys() == right.keys()
    assert [name for name in left if left[name][-1] != right[name][-1]] == []
    assert all(left[name][0] != right[name][0] for name in ("pyproject.toml", "edge_dendrite/__init__.py"))
    assert all(left[name][2] != right[name][2] for name in ("pyproject.toml", "edge_dendrite/__init__.py"))
    assert not [name for name in left if "__pycache__" in name]


def test_a_board_image_without_payload_says_what_to_build(tmp_path):
    store = Store(tmp_path / "cache")
    with store.opened(), pytest.raises(ImageError, match="build `cross` first"):
        stage_context(store, ARM64, None, 1)


def test_a_file_that_differs_is_named_with_what_differs(tmp_path):
    for name, text in (("one", "a"), ("other", "b")):
        (tmp_path / name / "etc").mkdir(parents=True)
        (tmp_path / name / "etc" / "date").write_text(text)
        (tmp_path / name / "same").write_text("same")
        os.utime(tmp_path / name / "etc" / "date", (1, 1))
        os.utime(tmp_path / name / "same", (1, 1))
    (tmp_path / "other" / "log").touch()
    found = what_differs(describe(tmp_path / "one"), describe(tmp_path / "other"))
    assert found == ["/etc/date: content", "/log: only in one of them"]


def test_images_are_chosen_in_the_order_in_which_they_build():
    assert [one.name for one in choose(["arm64", "cross"], slow=False)] == ["cross", "arm64"]
    assert HOST not in choose([], slow=False)
    assert choose([], slow=True)[-1] == HOST
    assert choose(["host"], slow=False) == [HOST]


def test_the_result_says_what_failed_and_that_a_base_was_replaced():
    jetson = next(recipe for recipe in RECIPES if recipe.name == "jetson-r32")
    good = Built(CROSS, "a", ["sha256:1", "sha256:1"], [1.0, 2.0], 10, 2)
    bad = Built(jetson, "b", ["sha256:1", "sha256:2"], [1.0, 2.0], 10, 2, differences=["/etc/date: content"])
    sick = Built(ARM64, "c", ["sha256:1", "sha256:1"], [1.0, 2.0], 10, 2, checks={"healthcheck": "ended with 1"})
    answer = json.loads(as_json("test", ["docker/x:1 DL1"], [good, bad, sick]))
    assert [one["passed"] for one in answer["images"]] == [True, False, False]
    assert "base is replaced" in answer["images"][1]["note"]
    text = as_text([], [good, bad, sick])
    for part in ("same digest", "DIGESTS DIFFER", "/etc/date: content", "failed  healthcheck: ended with 1"):
        assert part in text


def test_a_workstation_that_lacks_what_it_needs_is_found_out():
    answer = [
        {"name": "torch", "works": True, "required": True, "state": "2.13.0+cpu"},
        {"name": "tensorrt", "works": False, "required": False, "state": "missing"},
        {"name": "ssh", "works": True, "required": False, "state": "/usr/bin/ssh"},
    ]
    assert missing_parts(answer) == ""
    answer[2]["works"] = answer[0]["works"] = False
    assert missing_parts(answer) == "torch: 2.13.0+cpu; ssh: /usr/bin/ssh"
    assert missing_parts([]) == "it named no part"


def test_the_lists_of_wheels_follow_what_pyproject_asks_for():
    host = locks()[1]
    assert {"torch", "onnxruntime", "typer", "setuptools"} <= set(host.packages)
