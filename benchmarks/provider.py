"""A provider that takes every message: `python -m benchmarks.provider PORT`.

Speaks as much of Sendblue's contract as sending needs (the sandbox speaks all of it, and keeps everything on disk). It
answers after as many milliseconds as `POST /_bench/latency` said, and remembers when the first byte of each message
came, on the machine's monotonic clock.
"""

import asyncio
import json
import signal
import sys
import time
from typing import Any

HOST = "127.0.0.1"


class Provider:
    """What all connections share."""

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.arrivals: list[tuple[str, float]] = []

    def answer(self, method: str, path: str, body: bytes, came: float) -> tuple[float, int, Any]:
        """After how many seconds, with which status and what."""
        if (method, path) == ("POST", "/api/send-message"):
            message = json.loads(body)
            self.arrivals.append((message.get("content", ""), came))
            return self.latency_s, 200, self._taken(message)
        if path == "/_bench/latency":
            self.latency_s = json.loads(body)["ms"] / 1000
            return 0, 200, {}
        if path == "/_bench/reset":
            self.arrivals.clear()
            return 0, 200, {}
        if path == "/_bench/count":
            return 0, 200, {"count": len(self.arrivals)}
        if path == "/_bench/arrivals":
            return 0, 200, {"arrivals": self.arrivals}
        return 0, 404, {"status": "ERROR", "error_message": "Not here."}

    def _taken(self, message: dict[str, Any]) -> dict[str, Any]:
        return {
            "accountEmail": "bench@example.com",
            "content": message.get("content", ""),
            "is_outbound": True,
            "status": "QUEUED",
            "error_code": None,
            "error_message": None,
            "message_handle": f"handle-{len(self.arrivals)}-{time.monotonic_ns()}",
            "date_sent": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            "from_number": message.get("from_number"),
            "number": message.get("number"),
            "to_number": message.get("number"),
            "media_url": message.get("media_url", ""),
            "service": "iMessage",
        }


class Caller(asyncio.Protocol):
    """One connection: requests one after the other, each whole before it is answered."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._data = b""
        self._came = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers once the request is whole."""
        if not self._data:
            self._came = time.monotonic()
        self._data += data
        head, whole, body = self._data.partition(b"\r\n\r\n")
        if not whole:
            return
        lines = head.split(b"\r\n")
        lengths = [int(line[15:]) for line in lines if line[:15].lower() == b"content-length:"]
        if len(body) < sum(lengths):
            return
        self._data = b""
        method, path, _ = lines[0].decode().split(" ")
        after_s, status, answer = self._provider.answer(method, path, body, self._came)
        content = json.dumps(answer).encode()
        told = f"HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        if after_s:
            asyncio.get_running_loop().call_later(after_s, self._transport.write, told.encode() + content)
        else:
            self._transport.write(told.encode() + content)


async def serve(port: int) -> None:
    """Until it is told to stop."""
    loop, provider, stop = asyncio.get_running_loop(), Provider(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    async with await loop.create_server(lambda: Caller(provider), HOST, port):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
