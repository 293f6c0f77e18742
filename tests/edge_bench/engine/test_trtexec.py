"""Finding trtexec and speaking to it: a program that behaves like it, with the flags of two releases."""

import os

import pytest

from edge_bench.engine import trtexec

JOB = {
    "onnx": "/w/model.onnx",
    "engine": "/w/engine",
    "precision": "fp32",
    "workspace_bytes": None,
    "batch": None,
    "version_compatible": False,
    "allow_tf32": False,
    "timing_cache": None,
    "input_shapes": {"input": [1, 3, 8, 8]},
}


@pytest.fixture
def empty_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(trtexec, "_FOLDERS", (str(tmp_path / "elsewhere"),))
    return tmp_path


def test_where_there_is_none_it_says_where_it_looked(empty_path):
    program, reason = trtexec.find_trtexec()
    assert program is None
    assert reason == "trtexec is not on the PATH, nor in %s" % (empty_path / "elsewhere")


@pytest.mark.parametrize("release, version", [("8.2", "8.2.1"), ("10.3", "10.3.0")])
def test_release_and_flags_come_from_its_help(with_trtexec, release, version):
    path = with_trtexec(release)
    program, reason = trtexec.find_trtexec()
    assert reason == ""
    assert program.path == path and program.version == version
    assert ("workspace" in program.flags) is (release == "8.2")
    assert ("memPoolSize" in program.flags) is (release == "10.3")
    assert "workspaceBefore" not in program.flags  # words of an explanation are no flags


@pytest.mark.parametrize("folder", ["elsewhere"])
def test_jetpacks_folder_needs_no_path(empty_path, with_trtexec, folder):
    os.rename(os.path.dirname(with_trtexec("8.2")), str(empty_path / folder))
    program, _ = trtexec.find_trtexec()
    assert program.path == str(empty_path / folder / "trtexec")


@pytest.mark.parametrize(
    "text, words",
    [
        ("#!/bin/sh\necho hello\n", "does not answer as trtexec does: hello"),
        ("#!/bin/sh\necho cannot load libnvinfer.so.8 >&2; exit 127\n", "cannot load libnvinfer.so.8"),
        ("#!/no/such/interpreter\n", "cannot be started"),
    ],
)
def test_a_program_of_that_name_that_is_something_else(empty_path, text, words):
    (empty_path / "trtexec").write_text(text)
    (empty_path / "trtexec").chmod(0o755)
    program, reason = trtexec.find_trtexec()
    assert program is None and words in reason


def test_versions_of_banners():
    banners = {"8003": "8.0.3", "8201": "8.2.1", "8502": "8.5.2", "8601": "8.6.1", "100300": "10.3.0"}
    banners.update({"101303": "10.13.3", "101600": "10.16.0", "110401": "11.4.1"})
    for number, version in banners.items():
        text = "&&&& RUNNING TensorRT.trtexec [TensorRT v%s] [b17] # trtexec --help" % number
        assert trtexec.version_of(text) == version
    assert trtexec.version_of("TensorRT of some release") is None


FULL = dict(
    JOB, precision="int8", workspace_bytes=256 << 20, batch=[1, 4, 16], version_compatible=True, timing_cache="/c/t"
)


def test_the_command_of_8_2(with_trtexec):
    with_trtexec("8.2")
    program, _ = trtexec.find_trtexec()
    command, notes = trtexec.build_command(program, FULL)
    assert command[1:] == [
        "--onnx=/w/model.onnx",
        "--saveEngine=/w/engine",
        "--buildOnly",
        "--workspace=256",
        "--timingCacheFile=/c/t",
        "--noTF32",
        "--int8",
        "--minShapes=input:1x3x8x8",
        "--optShapes=input:4x3x8x8",
        "--maxShapes=input:16x3x8x8",
    ]
    assert notes == ["TensorRT 8.2.1 makes no version-compatible engines; this one loads only there"]


def test_the_command_of_10_3(with_trtexec):
    with_trtexec("10.3")
    program, _ = trtexec.find_trtexec()
    command, notes = trtexec.build_command(program, FULL)
    assert command[1:9] == [
        "--onnx=/w/model.onnx",
        "--saveEngine=/w/engine",
        "--skipInference",
        "--memPoolSize=workspace:256",
        "--timingCacheFile=/c/t",
        "--noTF32",
        "--stronglyTyped",
        "--versionCompatible",
    ]
    assert notes == []


def test_nothing_is_said_that_was_not_asked_for(with_trtexec):
    with_trtexec("8.2")
    program, _ = trtexec.find_trtexec()
    command, notes = trtexec.build_command(program, dict(JOB, allow_tf32=True))
    assert command[1:] == ["--onnx=/w/model.onnx", "--saveEngine=/w/engine", "--buildOnly"]
    assert notes == []


@pytest.mark.parametrize("name", ["a:b", "a,b", "a b", "", "x\ny"])
def test_names_that_its_command_line_cannot_carry_are_refused(with_trtexec, name):
    with_trtexec("10.3")
    program, _ = trtexec.find_trtexec()
    with pytest.raises(ValueError, match="trtexec takes no input of the name"):
        trtexec.build_command(program, dict(FULL, input_shapes={name: [1, 3]}))


def test_its_errors_are_told_without_the_noise():
    tail = ["x" * 100000, "[E] [TRT] While parsing node number 3 [Unique -> y]:", "[I] more", "[E] Failed to parse"]
    assert trtexec.explain(tail) == "[TRT] While parsing node number 3 [Unique -> y]: Failed to parse"
    assert len(trtexec.explain(["x" * 100000])) == 800
    assert trtexec.explain([]) == "it said nothing"
