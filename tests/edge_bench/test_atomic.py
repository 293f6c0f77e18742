import json
import os
import stat

import pytest

from edge_bench import atomic


def read_bytes(path):
    with open(str(path), "rb") as stream:
        return stream.read()


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = str(tmp_path / "file")
    for data in (b"first", b"", b"second" * 100000):
        atomic.write_bytes(path, data)
        assert read_bytes(path) == data
    assert os.listdir(str(tmp_path)) == ["file"]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = str(tmp_path / "file")
    atomic.write_bytes(path, b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write_bytes(path, b"new")
    assert read_bytes(path) == b"old"
    assert os.listdir(str(tmp_path)) == ["file"]


def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = str(tmp_path / "file")
    atomic.write_bytes(path, b"old")

    def interrupted(_temporary, _path):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_bytes(path, b"new")
    assert read_bytes(path) == b"old"
    assert os.listdir(str(tmp_path)) == ["file"]


def test_a_missing_folder_and_a_folder_in_the_place_are_errors(tmp_path):
    with pytest.raises(OSError):
        atomic.write_bytes(str(tmp_path / "absent" / "file"), b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        atomic.write_bytes(str(tmp_path / "folder"), b"x")
    assert os.listdir(str(tmp_path)) == ["folder"]


def test_a_relative_path_is_written_where_it_points(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atomic.write_bytes("file", b"x")
    assert read_bytes(tmp_path / "file") == b"x"


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "real").mkdir()
    os.symlink("real/file", str(tmp_path / "link"))
    for data in (b"first", b"second"):
        atomic.write_bytes(str(tmp_path / "link"), data)
        assert read_bytes(tmp_path / "real" / "file") == data
        assert os.path.islink(str(tmp_path / "link"))


def test_what_is_no_plain_file_is_written_to_and_never_replaced(tmp_path):
    """Run as root, replacing /dev/null by a file would break the machine."""
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        atomic.write_bytes(path, b"data")
        assert os.read(reader, 100) == b"data"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(os.stat(path).st_mode)
    assert os.listdir(str(tmp_path)) == ["fifo"]


def test_canonical_json_is_one_text_per_value():
    assert atomic.canonical_json({"b": [1, 2.5, None], "a": "\u00e4"}) == (
        b'{\n "a": "\\u00e4",\n "b": [\n  1,\n  2.5,\n  null\n ]\n}\n'
    )
    assert atomic.canonical_json({"x": 1, "y": 2}) == atomic.canonical_json({"y": 2, "x": 1})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_has_no_number_for_is_not_written(tmp_path, number):
    with pytest.raises(ValueError):
        atomic.write_json(str(tmp_path / "file"), {"a": [number]})
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        1e-300,
        -(1 << 63),
        (1 << 63) - 1,
        "",
        "\u00e4\ud800\n",
        [],
        {},
        [[[1]]],
        {"a": {"b": [{"c": None}]}},
    ],
)
def test_what_is_written_is_read_back(value):
    data = atomic.canonical_json(value)
    assert atomic.parse_json(data) == value
    assert atomic.canonical_json(atomic.parse_json(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1,]",
        "NaN",
        "[Infinity]",
        '{"a": -Infinity}',
        "1e999",
        "-1e999",
        "[1] x",
        "'a'",
        "\ufeff{}",
        "\x00",
    ],
)
def test_what_is_not_json_is_refused(text):
    with pytest.raises(ValueError):
        atomic.parse_json(text.encode("utf-8"))


@pytest.mark.parametrize("text", [str(1 << 63), str(-(1 << 63) - 1), "9" * 10**6, "-" + "9" * 10**6])
def test_whole_numbers_that_other_languages_do_not_have_are_refused(text):
    """Ten thousand times more digits than the longest: converting them takes old releases of Python minutes."""
    with pytest.raises(ValueError, match="64 bits"):
        atomic.parse_json(text.encode("ascii"))


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "c": 2, "\\u0061": 3}}]'])
def test_a_key_that_comes_twice_is_refused(text):
    with pytest.raises(ValueError, match="'a' comes twice"):
        atomic.parse_json(text.encode("ascii"))


@pytest.mark.parametrize("data", [b"\xff", b'"\xc3"', b"\xff\xfe[\x00]\x00"])
def test_bytes_that_are_no_text_are_refused(data):
    with pytest.raises(ValueError):
        atomic.parse_json(data)


def test_an_encoding_can_be_demanded():
    assert atomic.parse_json('"\u00e4"'.encode("utf-8")) == "\u00e4"
    with pytest.raises(ValueError):
        atomic.parse_json('"\u00e4"'.encode("utf-8"), "ascii")


def test_depth_is_bounded():
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        inner = opening.endswith(":") and "1" or ""
        assert atomic.parse_json((opening * 60 + inner + closing * 60).encode("ascii"))
        for depth in (70, 500, 900, 5000, 100000):
            with pytest.raises(ValueError, match="nested|recursion|too"):
                atomic.parse_json((opening * depth + inner + closing * depth).encode("ascii"))


def test_floats_keep_every_bit():
    values = [0.1, 1e-17, 123456.789e3, 5e-324, 1.7976931348623157e308]
    assert atomic.parse_json(json.dumps(values).encode("ascii")) == values
