#!/usr/bin/env python3
"""Behaves as trtexec does where the agent asks it: --help with its banner, a build, an error that names a node, a run.

FAKE_TRTEXEC: 8.2 or 10.3, the release that it is; FAKE_TRTEXEC_MODE: fails, hangs, empty, no-inputs (a release without
--loadInputs), no-profile (one without --exportProfile, as none is), broken-profile, crashes. A run computes as the fake
of TensorRT does, and writes the times of queries a millisecond
apart; the first ones are slower. 8.2 writes endToEndMs and the warm-up too, 10.3 neither (NVIDIA/TensorRT,
samples/common/sampleReporting.cpp).
"""

import array
import json
import os
import sys
import time

RELEASES = {
    "8.2": (
        "8201",
        "onnx saveEngine workspace timingCacheFile fp16 int8 noTF32 buildOnly minShapes optShapes maxShapes "
        "loadEngine exportTimes exportOutput iterations duration warmUp shapes loadInputs exportProfile "
        "separateProfileRun",
    ),
    "10.3": (
        "100300",
        "onnx saveEngine memPoolSize timingCacheFile fp16 int8 stronglyTyped noTF32 skipInference versionCompatible "
        "minShapes optShapes maxShapes loadEngine exportTimes exportOutput iterations duration warmUp shapes "
        "loadInputs exportProfile separateProfileRun",
    ),
}


def main():
    number, flags = RELEASES[os.environ.get("FAKE_TRTEXEC", "10.3")]
    mode = os.environ.get("FAKE_TRTEXEC_MODE", "")
    if mode == "no-inputs":
        flags = flags.replace("loadInputs", "")
    if mode == "no-profile":
        flags = flags.replace("exportProfile", "")
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
    if "loadEngine" in options:
        if mode == "crashes":
            os.kill(os.getpid(), 11)
        return run(options, number)
    with open(options["onnx"], "rb") as stream:
        options["onnx_bytes"] = len(stream.read())
    with open(options["saveEngine"], "w") as stream:
        stream.write("" if mode == "empty" else json.dumps(options, sort_keys=True))
    if "timingCacheFile" in options:
        with open(options["timingCacheFile"], "w") as stream:
            stream.write("timings")
    print("&&&& PASSED TensorRT.trtexec [TensorRT v%s]" % number)
    return 0


def run(options, number):
    with open(options["loadEngine"], "rb") as stream:
        plan = json.loads(stream.read().decode())
    given = dict(pair.split(":", 1) for pair in options.get("shapes", "").split(",") if pair)
    batch = [int(shape.split("x")[0]) for shape in given.values()] or [1]
    files = dict(pair.split(":", 1) for pair in options.get("loadInputs", "").split(",") if pair)
    inputs = []
    for name, kind, shape in plan.get("inputs", [["input", "FLOAT", [1, 4]]]):
        if -1 in shape and not given:
            print("[W] Dynamic dimensions required for input: %s, but no shapes were provided." % name)
        size = product(shape, batch)
        values = array.array("i" if kind == "INT32" else "f", [0] * size)
        if name in files:
            with open(files[name], "rb") as stream:
                content = stream.read()
            if len(content) != 4 * size:
                print("[E] Cannot read input %s: expected %d bytes, got %d" % (name, 4 * size, len(content)))
                return 1
            values = array.array(values.typecode, content)
        inputs.append(values)
    print("[I] Starting inference", flush=True)
    if "exportTimes" in options:
        time.sleep(0.5)  # its begin is seen 0.2 s late, by a reader that may be slow
    wanted_ms = 1e3 * float(options.get("duration", 3)) + float(options.get("warmUp", 200))
    queries = times(max(int(options.get("iterations", 10)), int(wanted_ms)), number, float(options.get("warmUp", 200)))
    if "exportTimes" in options:
        with open(options["exportTimes"], "w") as stream:
            # Written by hand there too, a query at a time.
            stream.write("[\n  " + "\n, ".join(json.dumps(query) for query in queries) + "\n]\n")
    if "exportProfile" in options:
        with open(options["exportProfile"], "w") as stream:
            layers = profile(int(options.get("iterations", 10)), number)
            stream.write("[{" if os.environ.get("FAKE_TRTEXEC_MODE") == "broken-profile" else json.dumps(layers))
    if "exportOutput" in options:
        found = []
        for place, (name, _, shape) in enumerate(plan.get("outputs", [["output", "FLOAT", [1, 4]]])):
            values = [place + 1 + 2 * sum(one[at % len(one)] for one in inputs) for at in range(product(shape, batch))]
            size = "x".join(str(batch[0] if one == -1 else one) for one in shape)
            found.append({"name": name, "dimensions": size, "values": [float("%.6g" % value) for value in values]})
        with open(options["exportOutput"], "w") as stream:
            stream.write(json.dumps(found))
    print("[I] Timing trace has %d queries over %g s" % (len(queries), wanted_ms / 1e3), flush=True)
    print("&&&& PASSED TensorRT.trtexec [TensorRT v%s]" % number)
    return 0


def product(shape, batch):
    size = 1
    for one in shape:
        size *= batch[0] if one == -1 else one
    return size


def profile(count, number):
    """As --exportProfile writes it, with medians in newer releases."""
    layers = [{"count": count}]
    for name, average in (("/conv1/Conv + /Relu", 0.5), ("/fc/Gemm", 0.125)):
        layer = {"name": name, "timeMs": count * average, "averageMs": average, "percentage": 160 * average}
        if number != "8201":
            layer["medianMs"] = 0.9 * average
        layers.append(layer)
    return layers


def times(count, number, warmup_ms):
    queries = []
    for place in range(count):
        start, compute = float(place), 0.5 if place < 100 else 0.05 + 0.001 * (place % 7)
        query = {"startEnqMs": start, "endEnqMs": start + 0.01, "startH2dMs": start, "endH2dMs": start + 0.01}
        query.update({"startComputeMs": start + 0.02, "endComputeMs": start + 0.02 + compute})
        query.update({"startD2hMs": start + 0.6, "endD2hMs": start + 0.62, "h2dMs": 0.01, "computeMs": compute})
        query.update({"d2hMs": 0.02, "latencyMs": 0.03 + compute})
        if number == "8201":
            query["endToEndMs"] = 0.9
        elif start < warmup_ms:
            continue
        queries.append(query)
    return queries


if __name__ == "__main__":
    sys.exit(main())
