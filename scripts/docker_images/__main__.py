"""docker-images lint|build|test|lock|clean [IMAGE ...]"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from scripts.docker_images import render
from scripts.docker_images.build import Built, build_twice, export_payload
from scripts.docker_images.checks import check_image
from scripts.docker_images.errors import CannotRun, ImageError
from scripts.docker_images.lint import lint
from scripts.docker_images.machine import require_builder, require_emulation
from scripts.docker_images.recipes import RECIPES, ROOT, Recipe, choose
from scripts.docker_images.store import Store, default_cache
from scripts.docker_images.wheels import locks, write_lock

# Of the shell's conventions for tests: skipped.
EXIT_CANNOT_RUN = 77
_DESCRIPTION = "The images of docker/: linted, built twice on bases of Debian and compared, tried from inside."
_EPILOG = (
    "exit codes: 0 done; 1 failed, or digests differ; 2 usage; 77 this machine lacks something (one line says what); "
    "130 interrupted"
)
_COMMANDS = {
    "lint": "hadolint on every Dockerfile",
    "build": "build each IMAGE twice from clean and compare the digests (root)",
    "test": "lint, build, and try each IMAGE from inside (root)",
    "lock": "write docker/requirements-*.txt anew: every wheel with its sha256",
    "clean": "remove the cache folder",
}


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    store = Store(arguments.cache)
    progress = render.Progress()
    try:
        if arguments.command == "clean":
            store.clean()
            return 0
        if arguments.command == "lint":
            return _report(arguments, lint(), [])
        with store.opened():
            if arguments.command == "lock":
                return _lock(store, progress)
            return _build(arguments, store, progress)
    except CannotRun as error:
        print(f"cannot run here: {error}", file=sys.stderr)
        return EXIT_CANNOT_RUN
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was fetched and made is kept, the same command goes on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="docker-images", description=_DESCRIPTION, epilog=_EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in _COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what, epilog=_EPILOG)
        command.add_argument(
            "--cache", type=Path, default=default_cache(), help="where bases, wheels and images are kept (%(default)s)"
        )
        if name in ("lint", "build", "test"):
            command.add_argument("--json", action="store_true", help="print JSON on stdout instead of text")
        if name in ("build", "test"):
            names = [recipe.name for recipe in RECIPES]
            command.add_argument(
                "images",
                nargs="*",
                metavar="IMAGE",
                type=_one_of(names),
                help=f"{', '.join(names)}; default: all but host",
            )
            command.add_argument("--slow", action="store_true", help="the image host too: PyTorch, many minutes")
    return parser


def _one_of(names: list[str]) -> Callable[[str], str]:
    def image(word: str) -> str:
        if word not in names:
            raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(names)}")
        return word

    return image


def _build(arguments: argparse.Namespace, store: Store, progress: render.Progress) -> int:
    recipes = choose(arguments.images, slow=arguments.slow)
    if any(recipe.takes_payload for recipe in recipes):
        # The board images copy what `cross` makes; it is built whenever one of them is.
        recipes = [recipe for recipe in RECIPES if recipe in recipes or recipe.name == "cross"]
    require_builder()
    testing = arguments.command == "test"
    findings = lint() if testing else None
    if testing and any(recipe.architecture == "arm64" for recipe in recipes):
        require_emulation()
    bundle = _export_bundle(store, progress) if testing else None
    images = [_one(store, recipe, bundle, progress) for recipe in recipes]
    return _report(arguments, findings, images)


def _one(store: Store, recipe: Recipe, bundle: Path | None, progress: render.Progress) -> Built:
    progress(f"{recipe.name}: building it twice")
    built = build_twice(store, recipe, bundle if recipe.name == "cross" else None)
    if recipe.name == "cross":
        export_payload(store, built.image)
    if bundle is not None:
        progress(f"{recipe.name}: trying it from inside")
        check_image(store, built, bundle)
    # Said at once: the table comes when all are done.
    progress(f"{recipe.name}: {'as it should be' if built.passed else 'FAILED'}")
    return built


def _export_bundle(store: Store, progress: render.Progress) -> Path:
    """A real bundle of a small network, at an opset that every runtime reads."""
    python = ROOT / ".venv" / "bin" / "python"
    if not python.exists():
        raise CannotRun("no .venv to export a bundle with; make it: ./scripts/environment")
    progress("exporting a bundle")
    folder = store.work / "digits"
    options = ("digits-cnn", "--input-shape", "1,8,8", "--opset", "13", "--tar", "--out", str(folder))
    command = [str(python), "-m", "edge_dendrite", "export", *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=600)
    if result.returncode:
        raise ImageError(f"exporting a bundle failed: {result.stderr.strip()[-500:]}")
    return folder.with_suffix(".tar")


def _lock(store: Store, progress: render.Progress) -> int:
    for lock in locks():
        progress(f"fetching what {lock.file_name} names")
        print(f"docker/{lock.file_name}: {write_lock(store, lock)} wheels")
    return 0


def _report(arguments: argparse.Namespace, findings: list[str] | None, images: list[Built]) -> int:
    shown = render.as_json(arguments.command, findings, images) if arguments.json else render.as_text(findings, images)
    print(shown)
    return 1 if findings or not all(built.passed for built in images) else 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
