"""Lines from files and pipes, whole or damaged, and what wrote them."""

import io

import pytest

from edge_bench.errors import EdgeBenchError
from edge_bench.logs.lines import MAX_LINE_BYTES, detect, open_log, read_lines, read_rest


def texts(data, head=b""):
    return [(line.text, line.has_end) for line in read_lines(io.BytesIO(data), head)]


def test_line_ends_of_every_system_and_a_last_line_without_one():
    assert texts(b"a\nb\r\n\nc") == [("a", True), ("b", True), ("", True), ("c", False)]
    assert texts(b"") == []


def test_a_byte_order_mark_and_bytes_that_are_no_text():
    assert texts(b"\xef\xbb\xbfRAM\n\xff\n") == [("RAM", True), ("\ufffd", True)]


def test_what_was_read_before_comes_first():
    assert texts(b"c\nd\n", b"a\nb\n") == [("a", True), ("b", True), ("c", True), ("d", True)]


class Endless(io.RawIOBase):
    """A line that does not end before `num_bytes`; counts what is asked for at once."""

    def __init__(self, num_bytes):
        self.left, self.largest = num_bytes, 0

    def readline(self, size=-1):
        self.largest = max(self.largest, size)
        taken = min(size, self.left)
        self.left -= taken
        return b"x" * taken


def test_an_endless_line_is_held_only_in_part():
    stream = Endless(300 << 20)
    ((text, has_end),) = [(line.text, line.has_end) for line in read_lines(stream)]
    assert not has_end and len(text) <= 2 * MAX_LINE_BYTES and 0 < stream.largest <= MAX_LINE_BYTES


@pytest.mark.parametrize(
    "data, kind",
    [
        (b"RAM 1/2MB\n", "tegrastats"),
        (b"tegrastats: not running as root\n\nRAM 1/2MB\n", "tegrastats"),
        (b"[2018-08-23 16:30:36] : RAM 1/2MB (lfb 1x4MB)\n", "tegrastats"),
        (b'[\n  { "startEnqMs" : 1 }\n]\n', "trtexec-json"),
        (b'[{"count": 3}, {"name": "x"}]', "trtexec-json"),
        (b"\n \n[\n", "trtexec-json"),
        (b"warning: x\n&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec\n", "trtexec-text"),
        (b"[05/18/2023-21:52:15] [I] === Performance summary ===\n", "trtexec-text"),
        (b"hello\nworld\n", ""),
        (b"", ""),
    ],
)
def test_what_wrote_it(data, kind):
    stream = io.BytesIO(data)
    head = detect(stream)
    assert head.kind == kind
    assert head.data + stream.read() == data


def test_a_rest_that_is_too_long_is_refused():
    assert read_rest(io.BytesIO(b"cd"), b"ab", 4) == b"abcd"
    with pytest.raises(EdgeBenchError, match="longer than"):
        read_rest(io.BytesIO(b"cde"), b"ab", 4)


@pytest.mark.parametrize("name, words", [("no-such", "No such file"), (".", "directory")])
def test_what_cannot_be_opened(tmp_path, name, words):
    with pytest.raises(EdgeBenchError, match=words):
        with open_log(str(tmp_path / name)):
            pass


def test_a_disk_that_fails_in_the_middle_is_said():
    class Failing(io.BytesIO):
        def readline(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(EdgeBenchError, match="cannot be read further: Input/output error"):
        list(read_lines(Failing()))


def test_an_error_of_the_reader_is_not_taken_for_one_of_the_log(tmp_path):
    (tmp_path / "log").write_text("RAM\n", encoding="utf-8")
    with pytest.raises(OSError, match="of the block"):
        with open_log(str(tmp_path / "log")):
            raise OSError("of the block")
