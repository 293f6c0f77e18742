"""ONNX files that were checked, and the bundles around them."""

import os

# ONNX Runtime (seen: 1.31.1) else makes a number for this machine in ~/.cache and sends events to its authors. It reads
# this when it is imported; who wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
