"""Real images: buildah, Debian, emulation. Minutes, as root; ./scripts/test -m board."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from parts import ROOT
from scripts.docker_images import build
from scripts.docker_images.build import build_twice
from scripts.docker_images.recipes import Recipe
from scripts.docker_images.store import Store, default_cache

pytestmark = pytest.mark.board
CANNOT_RUN = 77


@pytest.fixture(scope="module")
def tested():
    """What ./scripts/test-images says."""
    command = [str(ROOT / "scripts" / "test-images"), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if result.returncode == CANNOT_RUN:
        reason = result.stderr.strip().splitlines()[-1]
        if os.environ.get("EDGE_DENDRITE_REQUIRE_ALL") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    assert result.stdout, result.stderr
    return json.loads(result.stdout)


def test_each_image_built_twice_is_the_same(tested):
    assert [image["name"] for image in tested["images"]] == ["cross", "arm64"]
    for image in tested["images"]:
        assert image["same"], image["differences"]
        assert len(image["digests"]) == 2


def test_doctor_and_a_bundle_run_inside(tested):
    assert tested["lint"] == []
    checks = tested["images"][1]["checks"]
    assert {"edge-bench doctor", "edge-bench run", "healthcheck", "labels", "user is not root"} <= checks.keys()
    assert {name: problem for name, problem in checks.items() if problem} == {}


def test_no_mount_and_no_container_is_left(tested):
    store = Store(default_cache())
    assert store.mounts() == []
    with store.opened():
        assert store.buildah("listing", "containers", "--quiet").split() == []


def test_an_image_that_is_not_the_same_twice_is_found_out(tested, tmp_path, monkeypatch):
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "random.Dockerfile").write_text(
        "ARG BASE=none:none\nFROM ${BASE}\nRUN head -c 16 /dev/urandom > /etc/random\n"
    )
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "SOURCES", ("docker",))
    store = Store(default_cache())
    with store.opened():
        built = build_twice(store, Recipe("random", "amd64"), None)
    assert not built.same
    assert not built.passed
    assert built.differences == ["/etc/random: content"]


def test_without_a_network_it_says_that_it_cannot_run(tested, tmp_path):
    command = ["unshare", "--net", str(ROOT / "scripts" / "docker-images"), "build", "cross", "--cache", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == CANNOT_RUN, result.stderr
    assert "cannot run here: no network" in result.stderr


def test_interrupted_it_leaves_nothing_and_the_same_command_goes_on(tested):
    command = [str(ROOT / "scripts" / "docker-images"), "build", "arm64"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    # In the middle of the first build.
    assert "building it twice" in process.stderr.readline()
    store = Store(default_cache())
    for _ in range(600):
        if any(store.work.glob("buildah*")):
            break
        time.sleep(0.1)
    # As Ctrl-C does; what runs in the background has SIGINT ignored.
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130, message
    assert "interrupted" in message
    assert list(store.work.iterdir()) == []
    assert store.mounts() == []
    with store.opened():
        assert store.buildah("listing", "containers", "--quiet").split() == []
