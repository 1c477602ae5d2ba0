"""A server on loopback that gives ready answers, byte for byte, and keeps the requests."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time

TLS = b"\x16"  # how a client's first record begins
DONE = b"HTTP/1.1 204 No Content\r\nX-Influxdb-Version: v2.7.12\r\n\r\n"


class Server:
    """Answers the first request of each connection with the next of its answers, and the last one from then on."""

    def __init__(
        self, *answers: bytes, drip: float = 0.0, reset: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[bytes] = []
        self._tls = tls
        self._answers, self._drip, self._reset = list(answers), drip, reset
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            try:
                if self._tls:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                with connection as stream:
                    answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                    self._answer(stream, answer)
            except OSError:
                connection.close()

    def _answer(self, connection: socket.socket, answer: bytes) -> None:
        if self._reset:
            connection.recv(10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        request = b""
        while request[:1] != TLS and not is_complete(request):
            request += connection.recv(65536)
        self.requests.append(request)
        for i in range(0, len(answer), 1 if self._drip else len(answer) or 1):
            connection.sendall(answer[i : i + 1] if self._drip else answer)
            time.sleep(self._drip)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    def close(self) -> None:
        """Close the listener. Only a shutdown wakes the thread in `accept`, which else would accept for whatever socket
        gets the number of its descriptor."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def is_complete(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) >= int(length or 0)


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    return head.encode() + b"\r\n\r\n" + body
