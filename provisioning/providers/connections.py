"""Connections to providers that know what left and when to end: the layer below `http.py`.

urllib3's connection classes, extended in two places. Before the first byte is written the call is asked; so a failure
is known to be before or after it. And one watchdog thread ends every call at its total deadline, wherever it stands.
"""

import contextlib
import heapq
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import requests
import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse
from urllib3.util.connection import allowed_gai_family

from provisioning.providers.base import ProviderError, Unavailable, Uncertain

IDLE_REUSE_S = 3.0
"""A connection idle for longer is not used again: servers close theirs after five seconds and up, and a request that
meets a closing connection ends as uncertain."""
POOL_SIZE = 64
Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def now() -> float:
    """Seconds on a clock that only goes forward, and goes on while the machine is suspended where there is such one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class NotSentError(Exception):
    """Ends an exchange before its first byte. No OSError, so that urllib3 and requests let it through."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Call:
    """One exchange: until when, whether a byte was written, and the handle by which the watchdog ends it."""

    def __init__(self, until: float, before_first_byte: Callable[[], None] | None) -> None:
        self.until = until
        self.wrote = False
        self.expired = False
        self.stopped_by: Exception | None = None
        self._hook = before_first_byte
        self._handle: socket.socket | None = None
        self._finished = False
        self._lock = threading.Lock()

    def left_s(self) -> float:
        """Seconds left; raises when there are none."""
        left = self.until - now()
        if self.expired or left <= 0:
            raise NotSentError("deadline")
        return left

    def connect(self, host: str, port: int, options: Sequence[tuple[int, int, int | bytes]]) -> socket.socket:
        """A connected socket to the first address that answers."""
        addresses = _resolver.resolve(host, port, self.left_s())
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in options:
                    sock.setsockopt(*option)
                sock.settimeout(self.left_s() / (len(addresses) - index))
                sock.connect(address)
                # For the handshake of TLS, of which this is the total.
                sock.settimeout(self.left_s())
            except OSError:
                sock.close()
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        self.left_s()
        raise NotSentError("connect_failed")

    def begin(self, sock: socket.socket) -> None:
        """Called before every write; the first one passes the deadline and the caller's hook, or nothing is written."""
        if self.wrote:
            return
        self._watch(sock)
        self.left_s()
        if self._hook is not None:
            try:
                self._hook()
            except Exception as error:  # noqa: BLE001 - comes out of `request` as it is, past the client's wrappers
                self.stopped_by = error
                raise NotSentError("stopped") from None
            self.left_s()
        self.wrote = True

    def expire(self) -> None:
        """End the exchange, wherever it stands, unless it is over. Called by the watchdog."""
        with self._lock:
            if self._finished:
                return
            self.expired = True
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        with self._lock:
            self._finished, self._hook = True, None
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    def failure(self, name: str, error: Exception) -> ProviderError:
        """What a broken exchange means. Only the kind of the error is told: its text may hold the address or more."""
        kind = type(error).__name__
        if self.wrote:
            late = self.expired or isinstance(error, requests.Timeout | TimeoutError)
            code = "timeout" if late else "connection_lost"
            return Uncertain(code, f"{name} did not give a whole answer ({kind}).")
        if isinstance(error, NotSentError):
            code = error.code
        else:
            code = "tls_failed" if isinstance(error, requests.exceptions.SSLError) else "connect_failed"
        return Unavailable("deadline" if self.expired else code, f"{name} was not reached; nothing was sent ({kind}).")

    def _watch(self, sock: socket.socket) -> None:
        # A duplicate: it stays valid, and ours, whatever TLS or the pool do with the socket in the meantime.
        with self._lock:
            if self._handle is None:
                self._handle = socket.socket(fileno=os.dup(sock.fileno()))


class _Watchdog:
    """Ends every exchange at its deadline: one thread for all, because timeouts of sockets count per operation."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: list[tuple[float, int, Call]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def watch(self, call: Call) -> None:
        with self._changed:
            heapq.heappush(self._calls, (call.until, next(self._order), call))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="provider-deadlines", daemon=True)
                self._thread.start()
            elif self._calls[0][2] is call:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                wait_s = self._calls[0][0] - now() if self._calls else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                call = heapq.heappop(self._calls)[2]
            call.expire()


class _Resolver:
    """Looks names up within a limit: `getaddrinfo` cannot be interrupted, so a thread of its own waits for it.

    One thread a name at a time, however many ask.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Future[Sequence[Address]]] = {}

    def resolve(self, host: str, port: int, timeout_s: float) -> Sequence[Address]:
        host = host.strip("[]")
        with contextlib.suppress(OSError, UnicodeError):
            return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        key = (host, port)
        with self._lock:
            future = self._running.get(key)
            if future is None:
                future = self._running[key] = Future()
                threading.Thread(target=self._run, args=(key, future), name="provider-names", daemon=True).start()
        try:
            return future.result(timeout_s)
        except TimeoutError:
            raise NotSentError("deadline") from None
        except (OSError, UnicodeError):
            raise NotSentError("dns_failed") from None

    def _run(self, key: tuple[str, int], future: Future[Sequence[Address]]) -> None:
        try:
            found = socket.getaddrinfo(*key, allowed_gai_family(), socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            future.set_exception(error)
        else:
            future.set_result(found)
        finally:
            with self._lock:
                del self._running[key]


_watchdog = _Watchdog()
_resolver = _Resolver()
_current = threading.local()


def resolve(host: str, port: int, timeout_s: float) -> Sequence[Address]:
    """The addresses of a name. Raises NotSentError: "deadline" after `timeout_s`, "dns_failed"."""
    return _resolver.resolve(host, port, timeout_s)


@contextlib.contextmanager
def under_way(call: Call) -> Iterator[None]:
    """Whatever this thread connects and writes inside belongs to `call`, which ends at its deadline."""
    outer, _current.call = getattr(_current, "call", None), call
    _watchdog.watch(call)
    try:
        yield
    finally:
        _current.call = outer
        call.finish()


def _start_anew() -> None:
    """A forked child has neither the threads nor, surely, free locks."""
    global _watchdog, _resolver
    _watchdog, _resolver = _Watchdog(), _Resolver()


os.register_at_fork(after_in_child=_start_anew)


class _Noticing(HTTPConnection):
    """A connection that connects under the call's deadline and asks the call before its first byte."""

    idle_since = 0.0

    def _new_conn(self) -> socket.socket:
        call: Call = _current.call
        return call.connect(self._dns_host, self.port, self.socket_options or ())

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        call: Call = _current.call
        call.begin(self.sock)
        super().send(data)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3
        if self._response_options is not None:
            # urllib3 logs the address, query and all, when headers are malformed.
            self._response_options = self._response_options._replace(request_url="")
        return super().getresponse()


class _NoticingTls(_Noticing, HTTPSConnection):
    """The same over TLS; the handshake is over before `send` is called."""


class _Fresh(HTTPConnectionPool):
    """A pool that lends no connection which has been idle for long."""

    ConnectionCls = _Noticing

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        if not connection.is_closed and now() - connection.idle_since > IDLE_REUSE_S:
            connection.close()
        return connection

    def _put_conn(self, conn: Any) -> None:
        # From here on the socket may serve another thread: the watchdog of this call must not touch it any more.
        if (call := getattr(_current, "call", None)) is not None:
            call.finish()
        if conn is not None:
            conn.idle_since = now()
        super()._put_conn(conn)


class _FreshTls(_Fresh, HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = _NoticingTls


class Transport(requests.adapters.HTTPAdapter):
    """Connections kept for all threads, and never a second try."""

    def __init__(self) -> None:
        super().__init__(pool_connections=2, pool_maxsize=POOL_SIZE, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Fresh, "https": _FreshTls}
