"""Sends HTTP requests over a few connections that stay open, as fast as they are answered, or at a pace."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Sent:
    """How it went: seconds in total, and for each request when it was sent and answered, on the monotonic clock."""

    seconds: float
    times: list[tuple[float, float]] = field(repr=False)

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return len(self.times) / self.seconds


def post(path: str, body: bytes, **headers: str) -> bytes:
    """The bytes of a request; underscores in names of headers stand for hyphens."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, **headers: str) -> bytes:
    """The same for a GET."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def send_all(url: str, requests: Sequence[bytes], *, expected: int, connections: int = 4) -> Sent:
    """Send them all, each once the one before it on its connection was answered. Raises RuntimeError for any answer
    with another status than `expected`."""
    times: list[tuple[float, float]] = []
    wrong: list[str] = []
    waiting = iter(requests)
    lock = threading.Lock()

    def take() -> bytes | None:
        with lock:
            return next(waiting, None)

    def work() -> None:
        with Connection(url) as connection:
            while not wrong and (request := take()) is not None:
                began = time.monotonic()
                status, body = connection.exchange(request)
                times.append((began, time.monotonic()))
                if status != expected:
                    wrong.append(f"{request[:80]!r} was answered {status}: {body[:300]!r}")

    started = time.monotonic()
    threads = [threading.Thread(target=_noting(work, wrong)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise RuntimeError(wrong[0])
    return Sent(time.monotonic() - started, times)


def send_paced(url: str, requests: Sequence[bytes], *, expected: int, every_s: float) -> Sent:
    """One after the other, not sooner than `every_s` after the last one; otherwise as `send_all`."""
    times: list[tuple[float, float]] = []
    started = time.monotonic()
    with Connection(url) as connection:
        for number, request in enumerate(requests):
            time.sleep(max(0.0, started + number * every_s - time.monotonic()))
            began = time.monotonic()
            status, body = connection.exchange(request)
            times.append((began, time.monotonic()))
            if status != expected:
                raise RuntimeError(f"{request[:80]!r} was answered {status}: {body[:300]!r}")
    return Sent(time.monotonic() - started, times)


def _noting(work: Callable[[], None], wrong: list[str]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except OSError as error:
            wrong.append(f"A connection broke: {error}")

    return run


class Connection:
    """One connection that is kept alive."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: Any) -> None:
        self._socket.close()

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        self._socket.sendall(request)
        data = b""
        chunks = self._chunks()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += next(chunks)
        head = data[:end].lower()
        place = head.find(b"content-length:")
        if place < 0:
            raise OSError("an answer without a length")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0])
        while len(data) < end + 4 + length:
            data += next(chunks)
        return int(data[9:12]), data[end + 4 :]

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self._socket.recv(65536):
            yield chunk
        raise OSError("it was closed")
