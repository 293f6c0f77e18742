"""Stand-ins for an NVIDIA driver, TensorRT and trtexec, found by child processes. Runs under Python 3.6."""

import os
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


def compile_driver(folder):
    """Put a libcuda.so.1 and a libcudart.so, compiled here, into a folder; skips where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        assert os.environ.get("EDGE_DENDRITE_REQUIRE_ALL") != "1", "gcc is missing: sudo apt-get install gcc libc6-dev"
        pytest.skip("no C compiler to make a fake NVIDIA driver with")
    for source, library in (("libcuda.c", "libcuda.so.1"), ("libcudart.c", "libcudart.so")):
        command = [compiler, "-Wall", "-Werror", "-shared", "-fPIC", "-o", os.path.join(str(folder), library)]
        subprocess.check_call(command + [os.path.join(HERE, "fake_cuda", source)])
    return str(folder)


def tensorrt_path(release):
    """The folder of the fake of a TensorRT release, for PYTHONPATH."""
    return os.path.join(HERE, "fake_tensorrt", release)


def write_trtexec(folder):
    """Put a program that behaves like trtexec into a folder; returns its path."""
    with open(os.path.join(HERE, "fake_trtexec.py"), "rb") as stream:
        text = stream.read()
    os.makedirs(str(folder), exist_ok=True)
    path = os.path.join(str(folder), "trtexec")
    with open(path, "wb") as stream:
        stream.write(b"#!" + sys.executable.encode() + b"\n" + text)
    os.chmod(path, 0o755)
    return path
