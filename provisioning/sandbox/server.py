"""The sandbox as one object: its HTTP server, and the doors that tests use."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .bodies import iso
from .control import ControlApi
from .faults import Faults
from .network import Behaviour, LineNotice, LinePart, Network
from .sendblue_api import SendblueApi
from .store import Line, Message, Store
from .webhooks import WebhookSender
from .wire import Request, Response, SandboxError, write_response

BODY_LIMIT = 1024 * 1024
UPLOAD_LIMIT = 10 * 1024 * 1024
PAGE = Path(__file__).parent / "page"
PAGE_FILES = frozenset({"index.html", "phone.css", "panels.css", "phone.js", "talk.js", "panels.js", "state.js"})
_PAGE_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' https: http: data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_MEDIA_HEADERS = {
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "cache-control": "max-age=86400, immutable",
}


@dataclass(frozen=True, slots=True)
class AcceptedSend:
    """One message the provider took on. `from_number` is the line asked for, `shown_from` what was told instead."""

    handle: str
    from_number: str
    number: str
    content: str
    media_url: str
    status: str
    status_callback: str
    company_name: str
    fault: str | None
    shown_from: str | None
    created_at: str


class Sandbox:
    """A running provider emulator on a port of its own; `with Sandbox(port=0) as sandbox` starts and stops it.

    `store` is a file, or ":memory:"; a file keeps accounts, lines, messages and webhooks over a restart. `port` 0
    takes a free one. `public_url` is how others reach it, for picture addresses. OSError from the constructor: the port
    is taken. The other arguments are those of `Behaviour` and `WebhookSender`.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        store: str = ":memory:",
        agency_key_id: str = "agency-key",
        agency_secret: str = "agency-secret",  # noqa: S107 - a test double's default
        public_url: str | None = None,
        delivery_delay_s: float = 0.2,
        line_delay_s: float | None = None,
        line_part: LinePart = "assigned_number",
        line_notice: LineNotice = "plain",
        allow_typing_webhook: bool = False,
        answer_delay_s: float = 0.0,
        retry_waits_s: Sequence[float] = (0.5, 2.0, 5.0),
        webhook_timeout_s: float = 45.0,
    ) -> None:
        self._server = _Server((host, port), self)
        try:
            self.store = Store(store)
            self.store.set_agency(agency_key_id, agency_secret)
        except BaseException:
            self._server.server_close()
            raise
        self.faults = Faults()
        sender = WebhookSender(retry_waits_s=retry_waits_s, timeout_s=webhook_timeout_s, on_log=self.store.touch)
        behaviour = Behaviour(
            delivery_delay_s, line_delay_s, line_part, line_notice, allow_typing_webhook, answer_delay_s
        )
        self.network = Network(self.store, sender, self.faults, behaviour)
        self._public_url = public_url
        self._api = SendblueApi(self.network)
        self._control = ControlApi(self.network, lambda: self._public_url or self.url)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="sandbox", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens, as http://127.0.0.1:9009, without a slash at the end."""
        host, port = self._server.server_address[:2]
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else str(host)}:{port}"  # noqa: S104 - compared, not bound

    def start(self) -> None:
        """Serve in the background, and take up what a file store still has to do."""
        self.network.sender.start()
        self.network.resume()
        self._thread.start()

    def stop(self) -> None:
        """End the server, cut every connection, drop webhooks that wait, close the store."""
        self._server.stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.cut_connections()
        self.network.sender.stop()
        self.store.close()

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Doors for tests

    def create_account(self, company_name: str, *, key_id: str, secret: str, email: str = "") -> int:
        """A child account with given credentials and no line; its id. For connecting what exists already."""
        return self.store.add_account(company_name, email or f"{key_id}@sandbox.invalid", key_id, secret).id

    def ledger(self) -> list[AcceptedSend]:
        """Every send that was taken on, in the order of acceptance, whatever the sender was told."""
        names = {account.id: account.company_name for account in self.store.accounts()}
        return [
            AcceptedSend(
                m.handle, m.line, m.number, m.content, m.media_url, m.status, m.status_callback, names[m.account_id],
                m.fault, m.shown_from, iso(m.created_at),
            )
            for m in self.store.messages("is_outbound = 1")
        ]  # fmt: skip

    def requests(self) -> Counter[str]:
        """How many requests came, by method and path, as `POST /api/send-message`."""
        return self._server.counts()

    def place_line(
        self, *, company_name: str | None = None, request_id: str | None = None, number: str | None = None
    ) -> str:
        """Place the pending line of a company, or of a request; the number. A company without one gets a new line.

        SandboxError when the company or request is unknown, the line is placed already or the number is taken.
        """
        line = self.store.line(request_id=request_id) if request_id else self._pending_line(company_name or "")
        if line is None:
            raise SandboxError("unknown_line", "No line has this request id.", 404)
        return self.network.place(line, number).number or ""

    def _pending_line(self, company_name: str) -> Line:
        found = [account for account in self.store.accounts() if account.company_name == company_name]
        if not found:
            raise SandboxError("unknown_account", "No account has this company name.", 404)
        pending = [line for one in found for line in self.store.lines(account_id=one.id) if line.number is None]
        return pending[0] if pending else self.store.add_line(found[-1].id, area_code=None, place_at=None)

    def set_line_status(self, number: str, status: str) -> None:
        """ONLINE, OFFLINE (sends are held), DEGRADED or BLOCKED (sends get 403, and a webhook tells)."""
        self.network.set_line_status(number, status)

    def reply(self, *, from_number: str, to_number: str, text: str = "", media_url: str | None = None) -> Message:
        """A customer writes to a line; the webhook `receive` follows."""
        return self.network.reply(from_number=from_number, to_number=to_number, text=text, media_url=media_url or "")

    def react(self, handle: str, reaction: str) -> Message:
        """A customer puts love, like, dislike, laugh, emphasize or question on a message of the line."""
        return self.network.react(handle, reaction)

    def mark_read(self, handle: str) -> Message:
        """A customer reads a delivered message; status READ follows."""
        return self.network.mark_read(handle)

    def typing(self, *, from_number: str, to_number: str, typing: bool = True) -> None:
        """A customer starts or stops typing to a line."""
        self.network.customer_types(from_number=from_number, to_number=to_number, typing=typing)

    def typing_now(self) -> list[dict[str, Any]]:
        """Who types now: line, customer, who ("customer" or "business"), left_s."""
        return self.network.typing_now()

    def webhook_log(self) -> list[dict[str, Any]]:
        """The last tries of webhooks, oldest first: type, url (shortened), status, error, attempt, body and more."""
        return self.network.sender.log()

    def drain_webhooks(self, timeout_s: float = 10.0) -> None:
        """Wait until no status, webhook or repeat is left to come. TimeoutError when the time is over first."""
        if not self.network.sender.drain(timeout_s):
            raise TimeoutError(f"webhooks are still waiting after {timeout_s} s")

    # Requests

    def answer(self, request: Request) -> Response:
        """The answer to one request, as a value."""
        if request.path.startswith("/_sandbox/"):
            return self._control.handle(request)
        if request.method in ("GET", "HEAD"):
            if request.path.startswith("/media/"):
                return self._picture(request.path.removeprefix("/media/"))
            if (name := request.path.removeprefix("/") or "index.html") in PAGE_FILES:
                return _page_file(name)
        return self._api.handle(request)

    def _picture(self, name: str) -> Response:
        found = self.store.media(name)
        if found is None:
            return Response(404, b"not found", "text/plain", dict(_MEDIA_HEADERS))
        return Response(200, found[1], found[0], dict(_MEDIA_HEADERS))


def _page_file(name: str) -> Response:
    path = PAGE / name
    return Response(200, path.read_bytes(), _PAGE_TYPES[path.suffix], dict(_PAGE_HEADERS))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._counts: Counter[str] = Counter()
        self._guard = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # A port that was just left can be taken again at once.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        socket.socket.bind(self.socket, self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._guard:
                self._connections.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are the daily business of a sandbox; anything else is shown."""
        if not self.stopping.is_set():
            super().handle_error(request, client_address)

    def cut_connections(self) -> None:
        """End all connections and wait a moment for their threads."""
        deadline = time.monotonic() + 2
        with self._guard:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        while self._connections and time.monotonic() < deadline:
            time.sleep(0.005)

    def count(self, key: str) -> None:
        with self._guard:
            self._counts[key] += 1

    def counts(self) -> Counter[str]:
        with self._guard:
            return Counter(self._counts)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "sandbox"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 300
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        """No access log: the page and `requests()` tell what came."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        self.server.count(f"{self.command} {path}")
        try:
            body = self._read_body(UPLOAD_LIMIT if path == "/_sandbox/upload" else BODY_LIMIT)
        except SandboxError as error:
            self.close_connection = True
            response = Response.of({"status": "ERROR", "message": error.detail}, error.status)
        else:
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            response = self.server.sandbox.answer(Request(self.command, path, query, self.headers, body))
        write_response(self, response, self.server.stopping)

    def _read_body(self, limit: int) -> bytes:
        if "transfer-encoding" in self.headers:
            raise SandboxError("length_required", "A Content-Length is needed", 411)
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise SandboxError("length", "The Content-Length isn't a number", 400)
        if len(length) > 12 or int(length) > limit:
            raise SandboxError("too_large", "The body is too large", 413)
        body = self.rfile.read(int(length)) if int(length) else b""
        if len(body) != int(length):
            raise ConnectionResetError("the client left in the middle of its body")
        return body

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names http.server looks for
