"""What the sandbox's tests share: a receiver of webhooks on a real port, and a child account with its credentials."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from provisioning.sandbox.server import Sandbox

AGENCY = {"sb-api-key-id": "agency-key", "sb-api-secret-key": "agency-secret"}
CUSTOMER = "+12125550123"
SECRET = "s3cret"


def wait_until(condition: Callable[[], object], *, timeout_s: float = 5) -> None:
    """Return as soon as the condition holds; AssertionError when it doesn't in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition didn't come true in time"
        threading.Event().wait(0.005)


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Receiver:
    """Takes webhooks; answers the statuses in `answers` first, then 200."""

    url: str = ""
    got: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def at(self, path: str) -> list[Received]:
        return [one for one in self.got if one.path == path]

    def statuses(self, path: str) -> list[str]:
        return [one.body["status"] for one in self.at(path)]


@contextmanager
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            kept.got.append(Received(self.path, headers, json.loads(raw)))
            self.send_response(kept.answers.pop(0) if kept.answers else 200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Child:
    """A child account as its owner sees it: the credentials, the line, and calls of the API."""

    def __init__(self, sandbox: Sandbox, data: dict[str, Any]) -> None:
        self.sandbox, self.data = sandbox, data
        self.headers = {"sb-api-key-id": data["api_key"], "sb-api-secret-key": data["api_secret"]}
        self.line: str = data.get("assigned_number") or ""

    def call(self, method: str, path: str, body: object = None, **query: str) -> requests.Response:
        return requests.request(
            method,
            self.sandbox.url + path,
            json=body,
            params=query,
            headers=self.headers,
            timeout=10,
            allow_redirects=False,
        )

    def send(self, number: str = CUSTOMER, content: str = "hello", **more: object) -> requests.Response:
        body = {"number": number, "from_number": self.line, "content": content} | more
        return self.call("POST", "/api/send-message", body)

    def hook(self, kind: str, url: str, secret: str | None = SECRET) -> requests.Response:
        entry = {"url": url, "secret": secret} if secret else url
        return self.call("POST", "/api/account/webhooks", {"webhooks": [entry], "type": kind})

    def numbers(self) -> list[str]:
        return list(self.call("GET", "/api/lines").json()["numbers"])


def request_child(
    sandbox: Sandbox, area_code: str | None = "290", *, name: str = "Harbor Dental", **changes: object
) -> requests.Response:
    """Ask for a child account; area code 290 places its line at once."""
    body = {"company_name": name, "primary_email": "owner@example.com", "provision_line": True}
    body |= {"desired_area_code": area_code} if area_code else {}
    return requests.post(
        f"{sandbox.url}/accounts/lines/request-child-account", json=body | changes, headers=AGENCY, timeout=10
    )


def open_child(sandbox: Sandbox, area_code: str | None = "290", *, name: str = "Harbor Dental") -> Child:
    answer = request_child(sandbox, area_code, name=name)
    assert answer.status_code == 200, answer.text
    return Child(sandbox, answer.json()["data"])


def quick(**changes: Any) -> Sandbox:
    """A sandbox that doesn't dawdle; start it with `with`."""
    settings: dict[str, Any] = {"delivery_delay_s": 0.01, "retry_waits_s": (0.01, 0.02, 0.03)}
    sandbox = Sandbox(**settings | changes)
    sandbox.faults.hang_s = 0.4
    sandbox.faults.late_s = 0.2
    sandbox.faults.place_after_s = 0.05
    return sandbox
