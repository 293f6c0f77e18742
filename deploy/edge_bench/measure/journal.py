"""Samples on disk while they are taken: a run that is killed leaves what it had measured.

`FILE.samples` lies beside the measurement FILE: 32 ASCII characters, the run's own number, then raw little-endian
float64. Appending a slice of samples takes microseconds, where writing the measurement again takes milliseconds, and
more with every sample. `schema.read_measurement` puts the two together; a run that comes to its end, or is
interrupted, writes one whole file and removes the journal.
"""

import array
import os
import sys
from typing import List, Optional

from edge_bench import schema


class Journal:
    """The samples of a run in the making. Without a path (a measurement that goes to a pipe) it keeps nothing.

    A disk that fills up while we measure is no reason to lose the run: the journal then ends where it is.
    """

    def __init__(self, path: Optional[str], run_id: str):
        self._path = path
        self._run_id = run_id
        self._num_kept = 0
        self._descriptor: Optional[int] = None

    def add(self, samples_s: List[float]) -> None:
        """Append what is new in the list of all samples."""
        if self._path is None:
            return
        if self._descriptor is None and not self._open():
            return
        new = array.array("d", samples_s[self._num_kept :])
        if sys.byteorder == "big":
            new.byteswap()
        self._num_kept = len(samples_s)
        self._write(new.tobytes())

    def remove(self) -> None:
        """What was in it is in the measurement now."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._path is not None and os.path.exists(self._path):
            os.unlink(self._path)
        self._path = None

    def _open(self) -> bool:
        try:
            assert self._path is not None
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError:
            self._path = None
            return False
        self._write(self._run_id.encode("ascii"))
        return self._path is not None

    def _write(self, data: bytes) -> None:
        try:
            assert self._descriptor is not None
            if os.write(self._descriptor, data) == len(data):
                return
        except OSError:
            pass
        self._path = None  # the disk is full: nothing more is kept, and the file stays for a reader


def journal_path(output: str) -> Optional[str]:
    """Beside a measurement that is a file; None where it goes to a device or a pipe."""
    if os.path.exists(output) and not os.path.isfile(output):
        return None
    return os.path.realpath(output) + schema.JOURNAL_SUFFIX
