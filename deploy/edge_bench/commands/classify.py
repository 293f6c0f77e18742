"""`edge-bench classify`: what a network sees, live: label, confidence, and latency against a deadline."""

import argparse
import sys
import time
from typing import Iterator, List, Optional, Tuple

from edge_bench.backends import choose
from edge_bench.board.describe import describe_board
from edge_bench.board.state import read_state, state_changes
from edge_bench.commands import arguments, output
from edge_bench.commands.results import Results
from edge_bench.errors import EdgeBenchError, ImageError
from edge_bench.images.camera import WAYS, Wanted, open_camera
from edge_bench.images.classifier import Classifier
from edge_bench.images.image import Shape
from edge_bench.images.newest import NewestFrame
from edge_bench.images.source import (
    FolderTruth,
    Item,
    ListedTruth,
    Truth,
    count_images,
    items_of_files,
    items_of_stream,
    labels_beside,
    list_files,
)
from edge_bench.images.tally import Tally
from edge_bench.measure.source import open_source

_DESCRIPTION = """\
Classify images with the network of a bundle: label, confidence and latency of each, live on a terminal.

Read without any library: PGM and PPM, IDX (MNIST), .npy of uint8 or float32 from 0 to 1, raw pixels of the network's
size (.raw, .bin, .rgb, .gray; uint8, or float32 from 0 to 1: size and content tell), each also as .gz. JPEG, PNG and
others through Pillow or OpenCV where installed."""


def add_arguments(classify: argparse.ArgumentParser) -> None:
    """Its command line."""
    classify.description = _DESCRIPTION
    classify.formatter_class = arguments.RawFormatter
    classify.add_argument("bundle", metavar="BUNDLE", help="folder or .tar that `edge-dendrite export` wrote")
    classify.add_argument(
        "images", nargs="*", metavar="IMAGES", help="files, folders, patterns, or - for PPM or raw frames on stdin"
    )
    camera = classify.add_argument_group("camera, instead of IMAGES (never run with a real one by its authors)")
    camera.add_argument("--camera", type=_device, metavar="N", help="V4L2 device: 0 is /dev/video0")
    camera.add_argument(
        "--pipeline",
        metavar="TEXT",
        help="source in GStreamer's words, paths absolute: 'nvarguscamerasrc ! nvvidconv'",
    )
    camera.add_argument("--camera-by", choices=WAYS, help="what opens it (default: the first that is installed)")
    camera.add_argument("--camera-size", type=_size, metavar="WxH", help="size of the frames (default: 640x480)")
    classify.add_argument(
        "--deadline-ms", type=arguments.positive, metavar="MS", help="what an image may take until its label is known"
    )
    classify.add_argument("--top", type=arguments.positive_int, default=3, metavar="K", help="classes to show")
    classify.add_argument(
        "--labels",
        metavar="FILE",
        help="true classes for the accuracy: an IDX file, or the word `folder` when folders are called like the labels "
        "(default: x-labels-idx1-ubyte beside x-images-idx3-ubyte)",
    )
    classify.add_argument("--count", type=arguments.positive_int, metavar="N", help="end after N images")
    classify.add_argument("--loop", action="store_true", help="begin again after the last file, until Ctrl-C")
    classify.add_argument("--fps", type=arguments.positive, metavar="N", help="at most N files a second, like a camera")
    # trtexec only measures.
    arguments.add_backend(classify, [name for name in arguments.BACKENDS if name != "trtexec"])
    classify.add_argument("--no-preview", action="store_true", help="do not show the image as characters")
    classify.add_argument("--save", metavar="FILE", help="also write the results there, as --json prints them")
    classify.add_argument(
        "--strict", action="store_true", help="exit with 3 when a deadline was missed or the board's state changed"
    )
    classify.add_argument("--json", action="store_true", help="print a JSON object for each image, then a summary")
    classify.set_defaults(handler=_classify, fail=classify.error)


def _device(text: str) -> str:
    if text.startswith("/dev/"):
        return text
    if not text.isdigit() or len(text) > 4:
        raise argparse.ArgumentTypeError("%s is not the number of a camera" % text)
    return "/dev/video%d" % int(text)


def _size(text: str) -> Tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and 0 < int(width[:6]) <= 16384 and 0 < int(height[:6]) <= 16384):
        raise argparse.ArgumentTypeError("%s is not a size like 640x480" % text)
    return int(width), int(height)


def _classify(given: argparse.Namespace) -> int:
    _check_usage(given)
    source = open_source(given.bundle)
    files = list_files(given.images) if given.images not in ([], ["-"]) else []
    state_before = read_state()
    options = choose.Options(
        given.backend or "auto", given.threads or 1, given.provider, None, given.buffers or "ctypes"
    )
    classifier = Classifier(source, options, given.top)
    newest = None  # type: Optional[NewestFrame]
    try:
        truth = _truth(given, files, classifier.labels, classifier.preprocessor.shape)
        tally = Tally(None if given.deadline_ms is None else given.deadline_ms / 1e3)
        results = Results(given, source, classifier, tally)
        if given.camera is not None or given.pipeline is not None:
            width, height = given.camera_size or (640, 480)
            wanted = Wanted(given.camera, given.pipeline, width, height)
            newest = NewestFrame(open_camera(wanted, given.camera_by))
            results.num_dropped = lambda: newest.num_dropped if newest else None
        items = _items(given, files, classifier.preprocessor.shape, truth, newest)
        with results:
            code = _run(items, classifier, tally, results, given)
            state_after = read_state()
            changes = state_changes(state_before, state_after)
            results.finish(
                {
                    "interrupted": code == output.EXIT_INTERRUPTED,
                    "board": describe_board(),
                    "state_before": state_before,
                    "state_after": state_after,
                    "invalid": changes,
                }
            )
    finally:
        if newest is not None:
            newest.close()
        classifier.close()
    if code == output.EXIT_DONE and (tally.num_failed or not tally.num_images):
        return output.EXIT_FAILED
    if code == output.EXIT_DONE and given.strict and (tally.num_missed or changes):
        return output.EXIT_WARNINGS
    return code


def _check_usage(given: argparse.Namespace) -> None:
    by_camera = given.camera is not None or given.pipeline is not None
    if (given.camera is not None) + (given.pipeline is not None) + bool(given.images) != 1:
        given.fail("give IMAGES (files, folders, or -), or --camera N, or --pipeline TEXT")
    if "-" in given.images and len(given.images) > 1:
        given.fail("- is a stream of its own; give it alone")
    if "-" in given.images and (sys.stdin is None or sys.stdin.isatty()):
        given.fail(
            "- reads images from stdin, which is a terminal or closed; give `cat *.ppm | edge-bench classify ... -`"
        )
    if (by_camera or given.images == ["-"]) and (given.loop or given.fps or given.labels):
        given.fail("--loop, --fps and --labels are for files")
    if (given.camera_by or given.camera_size) and not by_camera:
        given.fail("--camera-by and --camera-size are for --camera and --pipeline")
    output.refuse_dash(given, "--save", given.save)
    arguments.check_backend(given)


def _truth(given: argparse.Namespace, files: List[str], labels: List[str], shape: Shape) -> Truth:
    if given.labels == "folder":
        return FolderTruth(files, labels)
    path = given.labels or labels_beside(files)
    if path is None:
        return Truth()
    if len(files) != 1:
        raise EdgeBenchError(
            "--labels %s: the labels of one file of images, but there are %d; for folders that are called like the "
            "labels give `--labels folder`" % (path, len(files))
        )
    truth = ListedTruth(path)
    if truth.highest >= len(labels):
        raise EdgeBenchError(
            "%s: holds class %d, the network has %d classes: not its labels" % (path, truth.highest, len(labels))
        )
    num_images = count_images(files[0], shape)
    if num_images not in (None, truth.num_labels):
        raise EdgeBenchError(
            "%s: holds %d labels, %s %d images: not a pair" % (path, truth.num_labels, files[0], num_images)
        )
    return truth


def _items(
    given: argparse.Namespace, files: List[str], shape: Shape, truth: Truth, newest: Optional[NewestFrame]
) -> Iterator[Item]:
    if newest is not None:
        return newest.items()
    if not files:
        return items_of_stream(sys.stdin.buffer, shape)
    return _again_and_again(files, shape, truth) if given.loop else items_of_files(files, shape, truth)


def _again_and_again(files: List[str], shape: Shape, truth: Truth) -> Iterator[Item]:
    while True:
        for item in items_of_files(files, shape, truth):
            yield item


def _run(
    items: Iterator[Item], classifier: Classifier, tally: Tally, results: Results, given: argparse.Namespace
) -> int:
    """Classify until the images end, so many are done, or Ctrl-C; returns the exit code so far."""
    due_s, said = time.perf_counter(), {""}
    try:
        for item in items:
            if given.fps:
                due_s = _wait_until(due_s, tally) + 1.0 / given.fps
            try:
                result = classifier.classify(item)
            except ImageError as error:
                tally.add_failure()
                results.add_failure(item, error)
            else:
                if item.taken_as not in said:  # once of each kind: they may be thousands
                    said.add(item.taken_as)
                    results.note("%s has no header: taken as %s" % (item.name, item.taken_as))
                tally.add(result)
                results.add(result)
            if given.count is not None and tally.num_images + tally.num_failed >= given.count:
                break
            if given.loop and not tally.num_images and tally.num_failed >= 1000:
                output.say("error: none of 1000 images could be read; giving up")
                break
    except KeyboardInterrupt:
        return output.EXIT_INTERRUPTED
    except EdgeBenchError as error:
        # A camera that was unplugged, a runtime that failed: what was done so far still counts.
        results.error = str(error)
        output.say("error: %s" % error)
        return output.EXIT_FAILED
    return output.EXIT_DONE


def _wait_until(due_s: float, tally: Tally) -> float:
    """Sleep until it is time; when it is past, count that, and go on from now. Gives the time that counts."""
    now = time.perf_counter()
    if now < due_s:
        time.sleep(due_s - now)
        return due_s
    # The first image is due at once; a thousandth of a second is what a sleep may be off by.
    if tally.num_images and now > due_s + 1e-3:
        tally.num_late += 1
        return now
    return due_s
