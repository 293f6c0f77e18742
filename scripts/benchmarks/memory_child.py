"""One network in a fresh process; prints the peak of the process's resident memory in bytes.

    python memory_child.py NETWORK.onnx INPUTS.npy

Of packages nothing but numpy and onnxruntime is imported: whatever else lay in memory would hide the network.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime


def main(network: str, inputs: str) -> None:
    """Run the network on each of the inputs (n, ...), one at a time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for one in np.load(inputs):
        session.run(None, {name: one[None]})
    print(_peak_bytes())


def _peak_bytes() -> int:
    """VmHWM; ru_maxrss would be inherited from a large parent."""
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    sys.exit("VmHWM is not in /proc/self/status: measure on Linux")


if __name__ == "__main__":
    main(*sys.argv[1:])
