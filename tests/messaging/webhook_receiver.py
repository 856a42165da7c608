"""A client's program that listens for webhooks, on loopback, and answers as a test tells it to."""

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = int | Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        """The event's id."""
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        """What it says."""
        return json.loads(self.body)

    @property
    def status(self) -> str:
        """The status of the message that it speaks of."""
        return str(self.json["data"]["status"])


@dataclass
class Receiver:
    """`answers` are given one after the other, then `always`. `got` holds the requests in the order they came."""

    netloc: str = ""
    answers: deque[Answer] = field(default_factory=deque)
    always: Answer = 204
    got: list[Got] = field(default_factory=list)
    most_at_once: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/hook") -> str:
        return f"http://{self.netloc}{path}"

    def statuses(self) -> list[str]:
        return [one.status for one in self.got]

    def redirect(self, to: str, status: int = 307) -> Answer:
        """An answer that leads elsewhere."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("location", to)
            request.send_header("content-length", "0")
            request.end_headers()

        return answer

    def say(self, status: int, content: bytes = b"", **headers: str) -> Answer:
        """An answer with a body."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            for name, value in headers.items():
                request.send_header(name.replace("_", "-"), value)
            request.send_header("content-length", str(len(content)))
            request.end_headers()
            request.wfile.write(content)

        return answer

    def hang(self, request: BaseHTTPRequestHandler) -> None:
        """No answer, until the test is over."""
        request.close_connection = True
        self.over.wait(30)


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what is tested."""


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """A running one."""
    running = Receiver()
    lock = threading.Lock()
    open_now = 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal open_now
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            with lock:
                open_now += 1
                running.most_at_once = max(running.most_at_once, open_now)
                running.got.append(Got(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                answer = running.answers.popleft() if running.answers else running.always
            try:
                if callable(answer):
                    answer(self)
                else:
                    self.send_response(answer)
                    self.send_header("content-length", "0")
                    self.end_headers()
            finally:
                with lock:
                    open_now -= 1

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    running.netloc = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
