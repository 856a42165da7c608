"""Requests and answers as plain values, and how an answer goes onto the socket, whole or broken on purpose."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

Manner = Literal["whole", "reset", "close", "truncated", "drip"]
DRIP_EVERY_S = 0.5
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class SandboxError(Exception):
    """A request the sandbox refuses: stable `code`, `detail` for people, the HTTP `status` that tells it."""

    def __init__(self, code: str, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.code, self.detail, self.status = code, detail, status


@dataclass(slots=True)
class Request:
    """One request, read whole; `query` holds the last value of each name."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object. SandboxError 400 when it isn't one, or holds text that no database stores."""
        try:
            value = json.loads(self.body)
            self.body.decode().encode()
            json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            raise SandboxError("invalid_json", "The body is not readable JSON.") from None
        if not isinstance(value, dict):
            raise SandboxError("invalid_json", "The body must be a JSON object.")
        return value


@dataclass(slots=True)
class Response:
    """One answer. `hold_s` is waited first; `prepare` is called before that; `manner` tells how it breaks."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    hold_s: float = 0
    prepare: Callable[[], object] | None = None
    manner: Manner = "whole"

    @classmethod
    def of(cls, value: object, status: int = 200, **headers: str) -> Response:
        """A JSON answer; header names are given with underscores."""
        return cls(status, json.dumps(value).encode(), headers={k.replace("_", "-"): v for k, v in headers.items()})


def write_response(handler: BaseHTTPRequestHandler, response: Response, stop: threading.Event) -> None:
    """Send the answer on the handler's connection; ends the connection where the manner asks for it."""
    if response.prepare:
        response.prepare()
    if response.hold_s and response.manner != "drip":
        stop.wait(response.hold_s)
    if response.manner == "reset":
        _reset(handler)
        return
    if response.manner == "close":
        handler.close_connection = True
        return
    head = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}"]
    head.append(f"content-type: {response.content_type}")
    head.append(f"content-length: {len(response.body)}")
    head.extend(f"{name}: {value}" for name, value in response.headers.items())
    if handler.close_connection:
        head.append("connection: close")
    if response.manner == "drip":
        _drip(handler, head, response, stop)
        return
    body = response.body
    if response.manner == "truncated":
        body, handler.close_connection = body[: len(body) // 2], True
    if handler.command == "HEAD":
        body = b""
    handler.wfile.write("\r\n".join([*head, "", ""]).encode("latin-1") + body)


def _reset(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    connection: socket.socket = handler.connection
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        os.close(connection.detach())


def _drip(handler: BaseHTTPRequestHandler, head: list[str], response: Response, stop: threading.Event) -> None:
    handler.wfile.write((head[0] + "\r\n").encode("latin-1"))
    for drop in range(int(response.hold_s / DRIP_EVERY_S)):
        handler.wfile.write(f"x-drip-{drop}: .\r\n".encode())
        handler.wfile.flush()
        if stop.wait(DRIP_EVERY_S):
            break
    handler.wfile.write("\r\n".join([*head[1:], "", ""]).encode("latin-1") + response.body)
