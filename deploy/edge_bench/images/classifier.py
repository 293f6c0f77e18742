"""A network that names what is on an image: checked against its bundle's reference before it names anything."""

import math
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

from edge_bench.backends import choose
from edge_bench.backends.base import Backend
from edge_bench.bundle import Bundle
from edge_bench.errors import BackendError, BundleError, ImageError
from edge_bench.images.image import Image
from edge_bench.images.preprocess import Preprocessor
from edge_bench.images.source import Item
from edge_bench.measure.check import check_outputs
from edge_bench.measure.source import Source

# Sums of float32 probabilities miss 1 by about 1e-6, those of fp16 by about 1e-3.
_SUM_TOLERANCE = 2e-3


class Result:
    """What the network says of an image, and how long that took.

    top: (class, confidence), the best first. times_s: wait_s (a camera's frame, until it was taken up), decode_s,
    preprocess_s (to the input in the runtime's memory), inference_s, total_s (all of it, until the label is known).
    fitted: the image as the network saw it.
    """

    def __init__(self, item: Item, top: List[Tuple[int, float]], times_s: Dict[str, float], fitted: Image):
        self.name = item.name
        self.truth = item.truth
        self.top = top
        self.times_s = times_s
        self.fitted = fitted

    @property
    def is_correct(self) -> Optional[bool]:
        return None if self.truth is None else self.top[0][0] == self.truth


class Classifier:
    """The network of a bundle in the runtime that measures it too: an engine where one is there, else onnxruntime."""

    def __init__(self, source: Source, options: Any, num_top: int):
        """Load the network; `options` as for backends/choose.py.

        Raises BundleError when it does not classify images, BackendError when it does not load or its outputs are not
        those of the reference.
        """
        bundle = source.bundle
        if bundle is None:
            raise BundleError("%s: only a bundle says how an image becomes an input, and its labels" % source.path)
        _check_classifies(bundle)
        self._manifest = bundle.manifest
        self.preprocessor = Preprocessor(bundle.manifest["preprocessing"])
        self.num_classes = bundle.manifest["model"]["outputs"][0]["shape"][-1]
        self._num_top = min(num_top, self.num_classes)
        opened = choose.open_backend(source, options)
        self.backend, self.notes = opened.backend, opened.notes
        try:
            self.check = _check_outputs(self.backend, source)
        except BaseException:
            self.backend.close()
            raise
        self.labels = [self.label(number) for number in range(self.num_classes)]

    def label(self, number: int) -> str:
        """The text of a class; its number where the bundle has none."""
        labels = self._manifest["labels"]  # type: List[str]
        return labels[number] if number < len(labels) else "class %d" % number

    def classify(self, item: Item) -> Result:
        """Read an image and name it. Raises ImageError when it cannot be read, BackendError when the runtime fails."""
        began = time.perf_counter()
        image = item.load()
        decoded = time.perf_counter()
        fitted = self.preprocessor.fit(image, item.name)
        self.backend.set_inputs([self.preprocessor.to_input(fitted)])
        prepared = time.perf_counter()
        self.backend.infer()
        inferred = time.perf_counter()
        confidences = to_confidences(self.backend.read_outputs()[0])
        best = sorted(range(len(confidences)), key=lambda number: -confidences[number])[: self._num_top]
        ended = time.perf_counter()
        wait_s = 0.0 if item.arrived_s is None else began - item.arrived_s
        times_s = {
            "wait_s": wait_s,
            "decode_s": decoded - began,
            "preprocess_s": prepared - decoded,
            "inference_s": inferred - prepared,
            "total_s": wait_s + ended - began,
        }
        return Result(item, [(number, confidences[number]) for number in best], times_s, fitted)

    def close(self) -> None:
        self.backend.close()


def _check_outputs(backend: Backend, source: Source) -> Dict[str, Any]:
    """Compare with the reference, which also warms up. Raises BackendError: a wrong network names nothing."""
    if backend.in_bulk:
        raise BackendError(
            "%s only measures; classifying needs TensorRT's Python module, or onnxruntime" % backend.name
        )
    check = check_outputs(backend, source, lambda share: None).record
    if not check["passed"]:
        raise BackendError(
            "the outputs do not match the bundle's reference (largest error %s, allowed %g + %g relative), so nothing "
            "is classified; try another --provider, or export the model again"
            % (check["max_abs_error"], check["atol"], check["rtol"])
        )
    return check


def _check_classifies(bundle: Bundle) -> None:
    """Raises BundleError naming what keeps this network from classifying images."""
    manifest, model = bundle.manifest, bundle.manifest["model"]
    problem = ""
    first_in, first_out = model["inputs"][0], model["outputs"][0]
    num_values = 1
    for size in first_out["shape"]:
        num_values *= size
    if not manifest["preprocessing"]:
        problem = "it says of no image how it becomes an input ('preprocessing' is empty): it takes other data"
    elif len(model["inputs"]) != 1 or first_in["dtype"] != "float32" or first_in["shape"][0] != 1:
        problem = "it takes more than one image of float32 at once: %s" % [one["shape"] for one in model["inputs"]]
    elif first_out["dtype"] != "float32" or num_values != first_out["shape"][-1] or num_values < 2:
        problem = "its output %s %s is not one float32 for each class" % (first_out["dtype"], first_out["shape"])
    if problem:
        raise BundleError(
            "bundle %s: this network does not classify images: %s; use `edge-bench run` to measure it"
            % (bundle.path, problem)
        )


def to_confidences(outputs: Sequence[float]) -> List[float]:
    """Probabilities of the classes: the outputs themselves where they are that already, else their softmax.

    Raises ImageError when an output is not finite.
    """
    if not all(map(math.isfinite, outputs)):
        raise ImageError("the network's outputs are not finite for this image; check the image and the precision")
    if min(outputs) >= 0.0 and abs(math.fsum(outputs) - 1.0) <= _SUM_TOLERANCE:
        return list(outputs)
    largest = max(outputs)
    powers = [math.exp(value - largest) for value in outputs]
    total = math.fsum(powers)
    return [power / total for power in powers]
