"""What holds of every Dockerfile, read from its text; nothing is built here."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
from pathlib import Path

import pytest

from parts import ROOT
from scripts.docker_images.build import SOURCES
from scripts.docker_images.lint import find_hadolint, lint
from scripts.docker_images.recipes import RECIPES, SOURCE_DATE_EPOCH
from scripts.docker_images.wheels import locks

DOCKER = ROOT / "docker"
FILES = sorted(DOCKER.glob("*.Dockerfile"))
README = (DOCKER / "README.md").read_text("utf-8")
# What the image `cross` makes and a user gives, so no file of the checkout.
MADE = ("dist/payload/", "${BUNDLE}")
BOARDS = [recipe for recipe in RECIPES if recipe.takes_payload]


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, rest) of each line, continued lines joined, comments left out."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.strip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    words = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in words]


def rest_of(path: Path, instruction: str) -> list[str]:
    return [rest for word, rest in instructions(path) if word == instruction]


def copied(path: Path) -> list[str]:
    """What COPY takes from the checkout."""
    sources = []
    for rest in rest_of(path, "COPY"):
        words = rest.split()
        if not any(word.startswith("--from") for word in words):
            sources += [word for word in words[:-1] if not word.startswith("--")]
    return sources


def let_through(name: str, ignore: str) -> bool:
    """Whether .dockerignore leaves a path in: the last line that matches it or a folder above decides."""
    kept = True
    for line in ignore.splitlines():
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        parents = [name, *(str(one) for one in Path(name).parents)]
        # `**/` is any number of folders, none among them.
        if any(fnmatch.fnmatch(f"/{one}", f"/{pattern}".replace("/**/", "*/")) for one in parents):
            kept = line.startswith("!")
    return kept


def test_every_dockerfile_has_a_recipe_and_every_recipe_a_dockerfile():
    assert [path.name.removesuffix(".Dockerfile") for path in FILES] == sorted(recipe.name for recipe in RECIPES)


def test_hadolint_has_nothing_to_say():
    assert find_hadolint() is not None, "hadolint is one of the dev packages: ./scripts/environment dev"
    assert lint() == []


def test_each_ignored_rule_of_hadolint_has_its_reason():
    lines = (DOCKER / ".hadolint.yaml").read_text("utf-8").splitlines()
    rules = [number for number, line in enumerate(lines) if re.match(r"\s+- DL\d+", line)]
    assert rules
    assert all(lines[number - 1].strip().startswith("#") for number in rules)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_base_is_an_argument_with_a_tag_that_is_not_latest(path):
    (base,) = [rest for rest in rest_of(path, "ARG") if rest.startswith("BASE=")]
    name, _, tag = base.removeprefix("BASE=").partition(":")
    assert name
    assert tag not in ("", "latest")
    # A digest would be one that nobody here can check.
    assert "sha256" not in tag
    stages = {rest.split()[-1] for rest in rest_of(path, "FROM") if " AS " in rest}
    bases = [rest.split()[0] for rest in rest_of(path, "FROM")]
    assert "${BASE}" in bases
    assert set(bases) <= {"${BASE}", "scratch"} | stages
    assert base.removeprefix("BASE=") in README


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_labels_say_what_it_is_and_of_which_version(path):
    labels = " ".join(rest_of(path, "LABEL"))
    for key in ("title", "description", "licenses", "version", "revision", "base.name"):
        assert f"org.opencontainers.image.{key}=" in labels
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    assert f"VERSION={version.group(1)}" in rest_of(path, "ARG")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_what_runs_is_not_root_and_has_a_healthcheck(recipe):
    if recipe.name == "cross":
        # Files only: nothing runs in it.
        assert rest_of(recipe.dockerfile, "FROM")[-1].split()[0] == "payload"
        return
    (user,) = rest_of(recipe.dockerfile, "USER")
    assert user in ("10001:10001", "${USER_ID}:${USER_ID}")
    assert recipe.name != "host" or "USER_ID=10001" in rest_of(recipe.dockerfile, "ARG")
    assert recipe.healthcheck()
    (entry,) = rest_of(recipe.dockerfile, "ENTRYPOINT")
    assert json.loads(entry) == ["edge-dendrite" if recipe.name == "host" else "edge-bench"]
    assert recipe.healthcheck()[0] == json.loads(entry)[0]


@pytest.mark.parametrize("recipe", BOARDS, ids=lambda recipe: recipe.name)
def test_board_images_run_nothing_while_they_are_built_and_label_the_agent(recipe):
    words = [word for word, _ in instructions(recipe.dockerfile)]
    assert "RUN" not in words
    assert "ADD" not in words
    assert 'edge-dendrite.agent.sha256="${AGENT_SHA256}"' in " ".join(rest_of(recipe.dockerfile, "LABEL"))
    assert "--chmod=755 dist/payload/edge-bench.pyz /usr/local/bin/edge-bench" in rest_of(recipe.dockerfile, "COPY")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_whoever_fetches_takes_only_known_bytes_and_can_use_a_closed_network(path):
    arguments = rest_of(path, "ARG")
    fetching = [rest for rest in rest_of(path, "RUN") if "pip install" in rest]
    for rest in fetching:
        assert "--require-hashes" in rest or "--no-index" in rest
        for name in ("PIP_CERT=", "PIP_INDEX_URL=", "PIP_FIND_LINKS=", "PIP_NO_INDEX="):
            assert name in arguments
        assert f"SOURCE_DATE_EPOCH={SOURCE_DATE_EPOCH}" in arguments
    assert bool(fetching) == (path.stem in ("cross", "host"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_copied_exists_and_reaches_the_build(path):
    ignore = (ROOT / ".dockerignore").read_text("utf-8")
    assert copied(path)
    for source in copied(path):
        if source.startswith(MADE):
            assert let_through(source.replace("${BUNDLE}", "dist/bundle.tar").rstrip("/"), ignore)
            continue
        assert (ROOT / source).exists(), source
        assert let_through(source.rstrip("/"), ignore), source
        # What the script stages is what a build from the checkout would see.
        assert any(source.rstrip("/") == one or source.startswith(f"{one}/") for one in SOURCES), source


def test_what_is_not_copied_stays_out():
    ignore = (ROOT / ".dockerignore").read_text("utf-8")
    outside = [
        ".git",
        ".venv",
        "tests",
        "runs",
        "scripts/test",
        "dist/other.tar",
        "edge_dendrite/__pycache__",
        "docker",
    ]
    assert [name for name in outside if let_through(name, ignore)] == []


@pytest.mark.parametrize("lock", locks(), ids=lambda lock: lock.machine)
def test_every_requirement_is_one_version_and_one_sha256(lock):
    lines = [line for line in (DOCKER / lock.file_name).read_text("utf-8").splitlines() if not line.startswith("#")]
    assert len(lines) >= len(lock.packages)
    for line in lines:
        assert re.fullmatch(r"[a-z0-9.-]+==[\w.+]+ --hash=sha256:[0-9a-f]{64}", line), line
    names = {line.partition("==")[0] for line in lines}
    assert len(names) == len(lines)
    assert {re.split("==", one)[0].lower().replace("_", "-") for one in lock.packages} <= names


def test_the_workstation_gets_the_versions_of_the_constraints_and_no_cuda():
    text = (DOCKER / "requirements-host.txt").read_text("utf-8")
    locked = dict(re.findall(r"^([a-z0-9.-]+)==([^ ]+)", text, re.MULTILINE))
    assert locked["torch"].endswith("+cpu")
    assert not [name for name in locked if name.startswith("nvidia") or name == "triton"]
    constraints = (ROOT / "scripts" / "constraints.txt").read_text("utf-8")
    for name, version, marker in re.findall(r"^([\w.-]+)==([^;\s]+)(?:; (.*))?$", constraints, re.MULTILINE):
        key = name.lower().replace("_", "-")
        if key in locked and "<" not in marker:
            assert locked[key].removesuffix("+cpu") == version, name


def test_what_the_page_names_is_there():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    named = re.findall(r"docker/[\w.-]+\.(?:Dockerfile|txt)", README)
    scripts = re.findall(r"\./(scripts/[\w-]+)", README)
    assert links and named and scripts
    assert [one for one in links if not (DOCKER / one).exists()] == []
    assert [one for one in (*named, *scripts) if not (ROOT / one).exists()] == []


def test_build_arguments_of_the_page_exist():
    declared = {rest.partition("=")[0] for path in FILES for rest in rest_of(path, "ARG")}
    used = set(re.findall(r"--build-arg (\w+)=", README))
    assert used
    # SOURCE_DATE_EPOCH and the rest: all declared somewhere.
    assert used <= declared


def test_the_shell_of_the_examples_parses():
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL):
        result = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
        assert result.returncode == 0, result.stderr
