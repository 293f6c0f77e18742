"""Fixtures: valid bundles to damage, folders that look like a board, and the agent as a child process.

Everything here and beside it runs under Python 3.6 with nothing but pytest and, where a model runs, onnxruntime.
"""

import copy
import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import types

import pytest

import edge_bench
from edge_bench import atomic, ustar
from edge_bench import bundle as bundles
from edge_bench import manifest as manifests
from edge_bench.cuda import runtime as cuda_runtime

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))  # under Python 3.6 no setting of pytest does it
import fakes  # noqa: E402
import waiting  # noqa: E402

DATA = os.path.join(HERE, "data")
# Nothing here waits on purpose; a child that does not end by then hangs.
CHILD_LIMIT_S = 240


def pytest_configure(config):
    # scripts/test-agent reads no pyproject.toml, which older Pythons do not know.
    config.addinivalue_line("markers", "slow: takes more than a minute")


def read_data(name):
    with open(os.path.join(DATA, name), "rb") as stream:
        return stream.read()


class BundleMaker:
    """Writes bundles of the stored tiny model into a scratch folder; a test damages what it gets."""

    def __init__(self, scratch):
        self._scratch = str(scratch)
        self._count = 0

    def files(self):
        """The files of a valid bundle, by name."""
        return {
            "model.onnx": read_data("tiny.onnx"),
            "reference/input.bin": read_data("tiny_input.bin"),
            "reference/output.bin": read_data("tiny_output.bin"),
        }

    def manifest(self, files):
        """The manifest that fits `files`, as a dict to change."""
        return {
            "schema": manifests.SCHEMA,
            "version": manifests.VERSION,
            "name": "tiny",
            "role": "baseline",
            "files": {name: self.entry(data) for name, data in files.items()},
            "model": {
                "path": "model.onnx",
                "inputs": [{"name": "input", "dtype": "float32", "shape": [1, 1, 8, 8]}],
                "outputs": [{"name": "logits", "dtype": "float32", "shape": [1, 10]}],
            },
            "reference": {
                "atol": 1e-5,
                "rtol": 1e-4,
                "cases": [{"inputs": ["reference/input.bin"], "outputs": ["reference/output.bin"]}],
            },
            "labels": ["label %d" % number for number in range(10)],
            "preprocessing": {
                "layout": "NCHW",
                "channels": 1,
                "height": 8,
                "width": 8,
                "resize": "bilinear",
                "antialias": True,
                "colour": "grey",
                "scale": 1 / 255,
                "mean": [0.3],
                "std": [0.4],
            },
            "stats": {"num_parameters": 1490},
            "tools": {"exporter": "make_tiny"},
        }

    def entry(self, data):
        return {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def other_model(self, model, inputs, outputs):
        """Files and manifest of a bundle of another stored model; tensors as {name: (shape, reference bytes)}."""
        files = {"model.onnx": read_data(model)}
        tensors, case = {}, {}
        for direction, group in (("inputs", inputs), ("outputs", outputs)):
            tensors[direction], case[direction] = [], []
            for name, (shape, content) in group:
                files["reference/%s.bin" % name] = content
                case[direction].append("reference/%s.bin" % name)
                tensors[direction].append({"name": name, "dtype": "float32", "shape": shape})
        manifest = self.manifest(files)
        manifest["model"].update(tensors)
        manifest["preprocessing"] = {}  # these take no images
        manifest["reference"]["cases"] = [case]
        return files, manifest

    def folder(self, files=None, manifest=None):
        """Write a bundle folder and return its path. `manifest` may be a dict or the very bytes to write."""
        files = self.files() if files is None else files
        manifest = self.manifest(files) if manifest is None else manifest
        manifest_bytes = manifest if isinstance(manifest, bytes) else atomic.canonical_json(manifest)
        path = self.path("bundle")
        self.write(os.path.join(path, manifests.MANIFEST), manifest_bytes)
        digest = hashlib.sha256(manifest_bytes).hexdigest()
        self.write(os.path.join(path, manifests.MANIFEST_DIGEST), manifests.digest_line(digest))
        for name, data in files.items():
            self.write(os.path.join(path, *name.split("/")), data)
        return path

    def tar(self, folder=None):
        """Write the tar of a valid folder and return its path."""
        bundle = bundles.open_bundle(folder or self.folder())
        path = self.path("bundle.tar")
        with open(path, "wb") as stream:
            bundles.write_tar(bundle, stream)
        return path

    def members(self, files=None, manifest=None):
        """(name, content) of the members of a tar, in the right order; for tars that `tar()` would not write."""
        files = self.files() if files is None else files
        manifest = self.manifest(files) if manifest is None else manifest
        manifest_bytes = manifest if isinstance(manifest, bytes) else atomic.canonical_json(manifest)
        digest = hashlib.sha256(manifest_bytes).hexdigest()
        first = [(manifests.MANIFEST, manifest_bytes), (manifests.MANIFEST_DIGEST, manifests.digest_line(digest))]
        return first + sorted(files.items())

    def pack(self, members, header=ustar.tar_header):
        """Write a tar of (name, content) members with the given function for headers; returns its path."""
        parts = []
        for name, data in members:
            parts += [header(name, len(data)), data, bytes(-len(data) % 512)]
        return self.write(self.path("packed.tar"), b"".join(parts) + bytes(1024))

    def path(self, name):
        """A path in the scratch folder that no earlier call gave."""
        self._count += 1
        return os.path.join(self._scratch, "%03d-%s" % (self._count, name))

    def read(self, path):
        with open(path, "rb") as stream:
            return stream.read()

    def write(self, path, data):
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, "wb") as stream:
            stream.write(data)
        return path


@pytest.fixture
def maker():
    # Thousands of files are written: in memory, where the system has such a place.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as scratch:
        yield BundleMaker(os.path.join(scratch, "bundles"))


@pytest.fixture
def board_tree(tmp_path):
    """A function that writes {path: text} below one root and returns the root; a None removes the path."""
    root = str(tmp_path / "root")
    os.mkdir(root)

    def write(files):
        for name, text in files.items():
            path = os.path.join(root, name)
            if text is None:
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
                continue
            if not os.path.isdir(os.path.dirname(path)):
                os.makedirs(os.path.dirname(path))
            with open(path, "wb") as stream:
                stream.write(text if isinstance(text, bytes) else text.encode("utf-8"))
        return root

    return write


# What an ignorant or malicious author may put in the place of any value of a JSON file; ... means: remove it.
HOSTILE = [
    ...,
    None,
    True,
    False,
    0,
    1,
    -1,
    1.0,
    1.5,
    -0.0,
    1e308,
    1 << 31,
    1 << 64,
    10**400,
    "",
    "..",
    "/etc/passwd",
    "model.onnx",
    "manifest.json",
    "complete",
    "\ud800\x1b[31m\n",
    "x" * 5000,
    [],
    [None],
    [[]],
    [{}],
    [1e-3, "x"],
    ["model.onnx"],
    [1] * 40,
    {},
    {"": None},
    {"a": [], "b": {}},
    {"a": "x", "b": 1},
    {"sha256": "0" * 64, "num_bytes": 0},
    [{"inputs": [], "outputs": []}],
    [{"inputs": ["model.onnx"], "outputs": [["x"]]}],
    [{"name": "x", "dtype": "float32", "shape": [(1 << 31) - 1] * 200}],
]


def paths_into(value, here=()):
    """The place of every value in a JSON document, as keys and indexes from the top."""
    yield here
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        for path in paths_into(part, here + (key,)):
            yield path


def replace_at(document, path, value):
    """A copy of the document with another value at `path`, or without it if the value is `...`."""
    if not path:
        return value
    copied = copy.copy(document)
    if value is ... and len(path) == 1:
        del copied[path[0]]
    else:
        copied[path[0]] = replace_at(document[path[0]], path[1:], value)
    return copied


@pytest.fixture
def replaced():
    return replace_at


@pytest.fixture
def hostile_variants():
    """A function that gives copies of a document with each hostile value at each of its places."""

    def variants(document):
        for path in paths_into(document):
            for value in HOSTILE:
                if path or value is not ...:
                    yield replace_at(document, path, value)

    return variants


class Agent:
    """`python -m edge_bench` as a child process in a folder of its own."""

    def __init__(self, folder):
        self.folder = str(folder)

    def start(self, *arguments, **options):
        """Popen, with stdin at the null device unless it is given.

        `environment` adds variables, `path` adds import folders, `python` runs another program than the agent.
        """
        environment = dict(os.environ)
        # What a developer's shell may set and a board's does not: unbuffered output hides failures at the end, and a
        # size in the environment stands before the terminal's own.
        for name in ("PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONWARNINGS", "COLUMNS", "LINES"):
            environment.pop(name, None)
        package = os.path.dirname(os.path.dirname(os.path.abspath(edge_bench.__file__)))
        environment["PYTHONPATH"] = os.pathsep.join(options.pop("path", []) + [package])
        environment.update(options.pop("environment", {}))
        options.setdefault("stdin", subprocess.DEVNULL)
        for stream in ("stdout", "stderr"):
            options.setdefault(stream, subprocess.PIPE)
        options.setdefault("preexec_fn", waiting.listen_to_ctrl_c)
        command = [sys.executable] + options.pop("python", ["-m", "edge_bench"]) + list(arguments)
        return subprocess.Popen(command, env=environment, cwd=self.folder, **options)

    def run(self, *arguments, **options):
        """Run to the end; gives code, out and err (texts)."""
        return self.finish(self.start(*arguments, **options))

    def finish(self, child):
        try:
            out, err = child.communicate(timeout=CHILD_LIMIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise
        out, err = (b"" if text is None else text for text in (out, err))
        return types.SimpleNamespace(
            code=child.returncode, out=out.decode("utf-8", "replace"), err=err.decode("utf-8", "replace")
        )

    def path(self, name):
        return os.path.join(self.folder, name)


@pytest.fixture
def agent(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return Agent(folder)


@pytest.fixture
def measurement():
    """A complete, valid measurement with every part that a measurement may have."""
    state = {
        "power_mode": "MAXN",
        "governors": {"cpu0": "performance", "cpu1": "performance"},
        "cpu_clock_limits_hz": {"cpu0": [1e9, 1e9]},
        "cpu_clocks_hz": {"cpu0": 1e9},
        "online_cpus": "0-1",
        "devfreq": {"gpu": {"cur_freq_hz": 9e8, "min_freq_hz": 9e8, "max_freq_hz": None}},
        "temperatures_c": {"CPU-therm": 41.5, "GPU-therm": 39.0},
        "throttle_counts": {"oc1_event_cnt": 0},
        "memory_available_bytes": 2 << 30,
        "load_average": 0.25,
    }
    summary = {
        "num_samples": 3,
        "median_s": 2e-3,
        "mean_s": 2e-3,
        "min_s": 1e-3,
        "max_s": 3e-3,
        "mad_s": 1e-3,
    }
    summary.update({"p90_s": None, "p99_s": None, "p99_9_s": None})
    window = {"mean_power_w": 6.0, "duration_s": 10.0, "power_samples_s_w": [[0.0, 6.0], [10.0, 6.0]]}
    return {
        "schema": "edge-dendrite.measurement",
        "version": 1,
        "run_id": "0" * 32,
        "status": "complete",
        "invalid": [],
        "source": {"kind": "bundle", "words": []},
        "started_at": "2026-01-02T03:04:05Z",
        "bundle": {
            "id": "0" * 64,
            "name": "tiny",
            "role": "baseline",
            "model": {},
            "stats": {},
            "tools": {},
            "num_labels": 10,
        },
        "agent": {"version": "0.1.0", "python": "3.6.15"},
        "backend": {
            "name": "onnxruntime",
            "version": "1.10.0",
            "providers": ["CPUExecutionProvider"],
            "num_threads": 1,
            "notes": ["TensorRT: no NVIDIA driver here"],
            "batch": 1,
            "timed_by": "host clock",
        },
        "board": {"model": "NVIDIA Jetson Nano", "cpu": "ARMv8", "num_cpus": 4, "l4t": None},
        "settings": {"num_runs": None},
        "check": {"passed": True, "max_abs_error": 1e-7, "atol": 1e-5, "rtol": 1e-4, "num_cases": 1},
        "load_s": 0.1,
        "first_inference_s": 0.01,
        "num_warmup_runs": 10,
        "latency": {
            "samples_s": [1e-3, 2e-3, 3e-3],
            "duration_s": 6e-3,
            "summary": summary,
            "other_load": 0.05,
            "overhead_share": 0.004,
            "num_missed": 1,
            "miss_ratio": 0.25,
            "num_skipped": 1,
            "response_samples_s": [1e-3, 2e-3, 4e-3],
            "device_samples_s": [1e-3, 2e-3, 2e-3],
            "device_summary": dict(summary),
        },
        "memory": {
            "process_peak_rss_bytes": 60 << 20,
            "process_rss_before_load_bytes": None,
            "process_pss_bytes": 55 << 20,
            "system_available_dip_bytes": 70 << 20,
            "system_available_noise_bytes": 2 << 20,
        },
        "watch": {"num_samples": 20, "clock_droop": {}, "max_temperatures_c": {"CPU-therm": 44.0}},
        "energy": {
            "source": "ina3221",
            "rails": ["POM_5V_IN"],
            "scope": "module input",
            "idle_power_w": 2.0,
            "load_power_w": 6.0,
            "num_inferences": 5000,
            "duration_s": 10.0,
            "gross_energy_j": 0.012,
            "net_energy_j": 0.008,
            "gross_interval_j": [0.011, 0.013],
            "net_interval_j": [0.006, 0.009],
            "idle": dict(window, mean_power_w=2.0),
            "load": window,
            "latency_ratio_while_sampling": 1.01,
        },
        "layers": {
            "source": "onnxruntime",
            "note": "profiled",
            "num_inferences": 200,
            "sum_s": 1.5e-3,
            "compared_with": "median latency",
            "compared_s": 2e-3,
            "unattributed_share": 0.25,
            "latency_ratio_while_profiling": 1.5,
            "resolution_s": 1e-6,
            "num_left_out": 0,
            "entries": [
                {
                    "name": "relu_nchwc",
                    "kind": "Conv",
                    "provider": "CPUExecutionProvider",
                    "nodes": ["/conv1/Conv", "/Relu"],
                    "time_s": 1.5e-3,
                    "share": 1.0,
                },
                {"name": "Flatten", "kind": None, "provider": None, "nodes": [], "time_s": None, "share": None},
            ],
        },
        "state_before": state,
        "state_after": dict(state),
        "warnings": [{"code": "other-load", "message": "busy", "fix": "end it"}],
        "unavailable": [{"what": "fan", "reason": "none", "fix": "buy one"}],
    }


@pytest.fixture(scope="session")
def fake_cuda(tmp_path_factory):
    """A folder with a libcuda.so.1 and a libcudart.so that were compiled here, for LD_LIBRARY_PATH of a child."""
    return fakes.compile_driver(tmp_path_factory.mktemp("cuda"))


@pytest.fixture
def with_driver(fake_cuda, monkeypatch):
    """Children find the fake driver; the function that it gives says what the driver answers."""
    monkeypatch.setenv("LD_LIBRARY_PATH", fake_cuda)
    for name in ("INIT", "DEVICES", "FAILS"):
        monkeypatch.delenv("FAKE_CUDA_" + name, raising=False)

    def answers(**values):
        for name, value in values.items():
            monkeypatch.setenv("FAKE_" + name.upper(), str(value))

    return answers


@pytest.fixture
def cudart(fake_cuda, monkeypatch):
    """The fake libcudart, in this process, as the only one that there is; a test that leaves something on it fails."""
    path = os.path.join(fake_cuda, "libcudart.so")
    monkeypatch.setattr(cuda_runtime, "library_paths", lambda: [path])
    monkeypatch.setenv("FAKE_LIBCUDART", path)
    for name in ("FAIL_AT", "CODE", "LOG"):
        monkeypatch.delenv("FAKE_CUDART_" + name, raising=False)
    library = ctypes.CDLL(path)
    library.fake_reset()
    assert library.fake_live() == 0, "an earlier test left something"
    yield library
    left = library.fake_live()
    assert left == 0, "%d allocations, streams or events were not given back" % left


@pytest.fixture
def cuda_package(monkeypatch):
    """A function that makes a fake of a CUDA package the one that this process imports; afterwards all is as before."""

    def loaded():
        # pytest's importlib mode has a module for each room of tests, one of which is called cuda.
        return [name for name in sys.modules if name.split(".")[0] in ("cuda", "pycuda")]

    def choose(*folders):
        for name in loaded():
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(os.path.join(fakes.HERE, *folders))

    yield choose
    for name in loaded():
        del sys.modules[name]


@pytest.fixture
def tensorrt_here(monkeypatch):
    """A function that makes the fake of a TensorRT release the one that this process imports, in a mode of failing."""

    def choose(release, mode=""):
        monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
        monkeypatch.syspath_prepend(fakes.tensorrt_path(release))
        monkeypatch.setenv("FAKE_TENSORRT", mode)

    yield choose
    sys.modules.pop("tensorrt", None)


@pytest.fixture
def with_tensorrt(monkeypatch):
    """A function that puts the fake of a TensorRT release before the children's import path, in a mode of failing."""

    def choose(release, mode=""):
        monkeypatch.setenv("PYTHONPATH", fakes.tensorrt_path(release))
        monkeypatch.setenv("FAKE_TENSORRT", mode)

    return choose


@pytest.fixture
def with_trtexec(tmp_path, monkeypatch):
    """A function that puts a program that behaves like trtexec on the PATH, and gives its path."""

    def choose(release, mode=""):
        path = fakes.write_trtexec(tmp_path / "programs")
        monkeypatch.setenv("PATH", os.path.dirname(path) + os.pathsep + os.environ["PATH"])
        monkeypatch.setenv("FAKE_TRTEXEC", release)
        monkeypatch.setenv("FAKE_TRTEXEC_MODE", mode)
        return path

    return choose
