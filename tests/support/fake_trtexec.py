#!/usr/bin/env python3
"""Behaves as trtexec does where engine.py asks it: --help with its banner, a build, an error that names a node.

FAKE_TRTEXEC: 8.2 or 10.3, the release that it is; FAKE_TRTEXEC_MODE: fails, hangs, empty.
"""

import json
import os
import sys
import time

RELEASES = {
    "8.2": (
        "8201",
        "onnx saveEngine workspace timingCacheFile fp16 int8 noTF32 buildOnly minShapes optShapes maxShapes",
    ),
    "10.3": (
        "100300",
        "onnx saveEngine memPoolSize timingCacheFile fp16 int8 stronglyTyped noTF32 skipInference versionCompatible "
        "minShapes optShapes maxShapes",
    ),
}


def main():
    number, flags = RELEASES[os.environ.get("FAKE_TRTEXEC", "10.3")]
    mode = os.environ.get("FAKE_TRTEXEC_MODE", "")
    print("&&&& RUNNING TensorRT.trtexec [TensorRT v%s] # %s" % (number, " ".join(sys.argv)), flush=True)
    if "--help" in sys.argv:
        print("=== Build Options ===")
        for flag in flags.split():
            print("  --%s=spec           Use it instead of --%sBefore" % (flag, flag))
        return 0
    options = {}
    for word in sys.argv[1:]:
        name, _, value = word[2:].partition("=")
        if not word.startswith("--") or name not in flags.split():
            print("[E] Unknown option: %s" % word)
            return 1
        options[name] = value
    if mode == "hangs":
        print("hangs as process %d" % os.getpid(), flush=True)
        time.sleep(600)
    if mode == "fails":
        sys.stderr.write("x" * 100000 + "\n")
        print('[11/21/2026-10:00:00] [E] [TRT] ModelImporter.cpp:720: While parsing node number 3 [Unique -> "y"]:')
        print("[11/21/2026-10:00:00] [E] Failed to parse onnx file")
        print("&&&& FAILED TensorRT.trtexec [TensorRT v%s]" % number)
        return 1
    with open(options["onnx"], "rb") as stream:
        options["onnx_bytes"] = len(stream.read())
    with open(options["saveEngine"], "w") as stream:
        stream.write("" if mode == "empty" else json.dumps(options, sort_keys=True))
    if "timingCacheFile" in options:
        with open(options["timingCacheFile"], "w") as stream:
            stream.write("timings")
    print("&&&& PASSED TensorRT.trtexec [TensorRT v%s]" % number)
    return 0


if __name__ == "__main__":
    sys.exit(main())
