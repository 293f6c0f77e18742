"""A TCP forwarder on loopback that counts what passes, and can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading


class CutProxy:
    """Forwards connections to a port. num_up: bytes that went to the board since the last reset()."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self.num_up = 0
        self.cut_after: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self, cut_after: int | None = None) -> None:
        """Count from 0; cut everything when so many bytes went to the board."""
        self.num_up, self.cut_after = 0, cut_after

    def cut(self) -> None:
        """End all connections, as a cable that is pulled and noticed."""
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                board = socket.create_connection(("127.0.0.1", self._to))
                self._open += [client, board]
                threading.Thread(target=self._pass, args=(client, board, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(board, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if is_up:
                    if self.cut_after is not None and self.num_up + len(data) > self.cut_after:
                        target.sendall(data[: self.cut_after - self.num_up])
                        self.num_up = self.cut_after
                        self.cut()
                        return
                    self.num_up += len(data)
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
