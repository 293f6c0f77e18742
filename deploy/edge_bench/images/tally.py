"""What a series of classified images comes to: counts, times, accuracy."""

import array
import collections
import time
from typing import Any, Deque, Dict, List, Optional

from edge_bench import stats
from edge_bench.images.classifier import Result

TIMES = ("total_s", "decode_s", "preprocess_s", "inference_s", "wait_s")
# A camera may run for days: of more images the latest so many count for medians and percentiles.
MAX_SAMPLES = 1000000
# The running rate is that of the last second, or of as many images.
_RATE_WINDOW_S = 1.0
_MAX_RATE_IMAGES = 10000


class Tally:
    """Counts up results; `deadline_s` is what an image may take from its arrival to its label."""

    def __init__(self, deadline_s: Optional[float] = None):
        self.deadline_s = deadline_s
        self.num_images = 0
        self.num_failed = 0
        self.num_missed = 0
        self.num_labelled = 0
        self.num_correct = 0
        # Images of a replay that came later than --fps asked for.
        self.num_late = 0
        self._samples = {name: array.array("d") for name in TIMES}
        self._recent: Deque[float] = collections.deque(maxlen=_MAX_RATE_IMAGES)
        self._began_s = time.perf_counter()

    def add(self, result: Result) -> None:
        for name, samples in self._samples.items():
            if len(samples) < MAX_SAMPLES:
                samples.append(result.times_s[name])
            else:
                samples[self.num_images % MAX_SAMPLES] = result.times_s[name]
        self.num_images += 1
        self.num_missed += self.has_missed(result)
        if result.is_correct is not None:
            self.num_labelled += 1
            self.num_correct += result.is_correct
        self._recent.append(time.perf_counter())

    def has_missed(self, result: Result) -> bool:
        return self.deadline_s is not None and result.times_s["total_s"] > self.deadline_s

    def add_failure(self) -> None:
        self.num_failed += 1

    def rate(self) -> float:
        """Images per second, of late."""
        now = time.perf_counter()
        while len(self._recent) > 1 and now - self._recent[0] > _RATE_WINDOW_S:
            self._recent.popleft()
        if len(self._recent) < 2:
            return 0.0
        return (len(self._recent) - 1) / max(now - self._recent[0], 1e-9)

    def summary(self, num_dropped: Optional[int]) -> Dict[str, Any]:
        """All of it, JSON-ready. `num_dropped`: frames of a camera that were never taken up; None for files."""
        elapsed_s = time.perf_counter() - self._began_s
        times = {}  # type: Dict[str, Any]
        if self.num_images:
            times = {name[: -len("_s")]: stats.summarise(_listed(samples)) for name, samples in self._samples.items()}
        return {
            "num_images": self.num_images,
            "num_failed": self.num_failed,
            "num_dropped": num_dropped,
            "num_late": self.num_late,
            "elapsed_s": elapsed_s,
            "images_per_s": self.num_images / elapsed_s if self.num_images else None,
            "deadline_s": self.deadline_s,
            "num_missed": None if self.deadline_s is None else self.num_missed,
            "miss_ratio": None if self.deadline_s is None else _ratio(self.num_missed, self.num_images),
            "num_labelled": self.num_labelled,
            "num_correct": self.num_correct if self.num_labelled else None,
            "accuracy": _ratio(self.num_correct, self.num_labelled),
            "times": times,
        }


def _listed(samples: "array.array[float]") -> List[float]:
    return samples.tolist()


def _ratio(part: int, whole: int) -> Optional[float]:
    return part / float(whole) if whole else None
