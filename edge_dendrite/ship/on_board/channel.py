"""Requests from the host and answers to it, a line of JSON each."""

import json
import sys
from typing import Any, Dict

MAX_REQUEST_BYTES = 8 << 20


class Channel:
    """Standard input and output; every answer begins with the token, which no login shell says by chance."""

    def __init__(self, token: str):
        self.token = token

    def answer(self, value: Dict[str, Any]) -> None:
        sys.stdout.buffer.write(("\n%s %s\n" % (self.token, json.dumps(value))).encode("ascii"))
        sys.stdout.buffer.flush()

    @staticmethod
    def request() -> Any:
        line = sys.stdin.buffer.readline(MAX_REQUEST_BYTES)
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line.decode("utf-8"))

    @staticmethod
    def read(num_bytes: int) -> bytes:
        """At most so many bytes, as they come."""
        data = sys.stdin.buffer.read1(num_bytes)  # type: ignore[union-attr,attr-defined,unused-ignore]
        if not data:
            raise EOFError
        return data

    @staticmethod
    def write(data: bytes) -> None:
        sys.stdout.buffer.write(data)
