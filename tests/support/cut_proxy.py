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
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_closing = False
        self.num_up = 0
        self.cut_after: int | None = None
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def reset(self, cut_after: int | None = None) -> None:
        """Count from 0; cut everything when so many bytes went to the board."""
        self.num_up, self.cut_after = 0, cut_after

    def cut(self) -> None:
        """End all connections, as a cable that is pulled and noticed."""
        with self._lock:
            for one in self._open:
                end(one)

    def close(self) -> None:
        """End all, and wait until nothing is open any more."""
        with self._lock:
            self._is_closing = True
        end(self._listener)
        self._accepting.join()

    def _accept(self) -> None:
        passing = []
        with self._listener, contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                passing.append(threading.Thread(target=self._connect, args=(client,)))
                passing[-1].start()
        self.cut()
        for one in passing:
            one.join()

    def _connect(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as board:
            with self._lock:
                if self._is_closing:
                    return
                self._open |= {client, board}
            up = threading.Thread(target=self._pass, args=(client, board, True))
            up.start()
            self._pass(board, client, False)
            up.join()
            with self._lock:
                self._open -= {client, board}

    def _pass(self, source: socket.socket, target: socket.socket, is_up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if is_up:
                    if self.cut_after is not None and self.num_up + len(data) > self.cut_after:
                        target.sendall(data[: self.cut_after - self.num_up])
                        self.num_up = self.cut_after
                        self.cut()
                        break
                    self.num_up += len(data)
                target.sendall(data)
        end(source)
        end(target)


def end(one: socket.socket) -> None:
    """Also wakes what waits for it, which close() alone does not."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
