"""What the HTTP client makes of servers that are slow, broken or hostile: told apart by whether a byte left."""

import contextlib
import ipaddress
import socket
import ssl
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import responses
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provisioning.providers import connections
from provisioning.providers.base import AccountRejected, ProviderError, Rejected, Unavailable, Uncertain
from provisioning.providers.connections import IDLE_REUSE_S
from provisioning.providers.http import MAX_BODY_BYTES, Answer, ProviderHTTP, classify, retry_after

SECRET = "sk-never-to-be-seen"
TEXT = "the patient's text"
DEADLINE_S = 0.4
MARGIN_S = 0.5
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok":true}'

Script = Callable[[socket.socket, bytes], object]


class Server:
    """A raw server: reads one request at a time and lets `script` do what it likes with the connection.

    A script that returns True keeps the connection for another request; otherwise it is closed.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.wrap: Callable[[socket.socket], socket.socket] = lambda conn: conn
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.listener.accept()
                self.connections += 1
                self._open.append(conn)
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        with contextlib.suppress(OSError), self.wrap(conn) as conn:
            while request := read_request(conn):
                self.requests.append(request)
                if not self.script(conn, request):
                    return

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for conn in self._open:
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)


def read_request(conn: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += (chunk := conn.recv(65536))
        if not chunk:
            return b""
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += conn.recv(65536)
    return head + b"\r\n\r\n" + body


def reset(conn: socket.socket) -> None:
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def drip(conn: socket.socket, head: bytes, piece: bytes) -> None:
    """One piece every 50 ms until the other side is gone."""
    gone = threading.Event()
    with contextlib.suppress(OSError):
        conn.sendall(head)
        while not gone.wait(0.05):
            conn.sendall(piece)


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        threading.Event().wait(0.005)


@pytest.fixture
def serve() -> Iterator[Callable[[Script], Server]]:
    servers: list[Server] = []

    def start(script: Script) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def client(url: str, deadline_s: float = DEADLINE_S) -> ProviderHTTP:
    return ProviderHTTP(url, timedelta(seconds=deadline_s), "Provider")


def post(http: ProviderHTTP, **kwargs: Any) -> Answer:
    return http.request("POST", "/send", headers={"sb-api-secret-key": SECRET}, body={"content": TEXT}, **kwargs)


def failure(http: ProviderHTTP, **kwargs: Any) -> ProviderError:
    """What a POST raises; nothing of it may tell a secret, the text, or carry the client's own error along."""
    with pytest.raises(ProviderError) as caught:
        post(http, **kwargs)
    error = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    shown = f"{error} {error!r} {error.detail} {''.join(traceback.format_exception_only(error))}"
    for hidden in (SECRET, TEXT, "/send"):
        assert hidden not in shown
    return error


def sends(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> Script:
    def script(conn: socket.socket, request: bytes) -> bool:
        head = b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status, headers, len(body))
        conn.sendall(head + body)
        return True

    return script


# --- the plain way ----------------------------------------------------------------------------------------------------
def test_an_answer_comes_back_as_a_value(serve):
    server = serve(sends(b'{"a": [1, "\xc3\xa9"]}', b"201 Created", b"Retry-After: 7\r\n"))
    answer = post(client(server.url))
    assert (answer.status, answer.readable, answer.data) == (201, True, {"a": [1, "é"]})
    assert answer.retry_after == timedelta(seconds=7)
    [request] = server.requests
    head, body = request.split(b"\r\n\r\n")
    assert head.startswith(b"POST /send HTTP/1.1\r\n")
    assert b"Accept-Encoding: identity" in head
    assert b"sb-api-secret-key: " + SECRET.encode() in head
    assert body == b'{"content": "the patient\'s text"}'


def test_an_answer_shows_no_data_when_printed(serve):
    answer = post(client(serve(sends(b'{"api_secret": "fresh"}')).url))
    assert "fresh" not in repr(answer)


def test_a_query_is_escaped(serve):
    server = serve(sends(b"{}"))
    client(server.url).request("GET", "/list", headers={}, query={"number": "+1 555&x=1"})
    assert server.requests[0].startswith(b"GET /list?number=%2B1+555%26x%3D1 HTTP/1.1")


def test_connections_are_reused_by_one_thread_and_by_the_next(serve):
    server = serve(sends(b"{}"))
    http = client(server.url)
    for _ in range(3):
        post(http)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(post, http).result()
    assert len(server.requests) == 4
    assert server.connections == 1


def test_an_idle_connection_is_not_trusted_after_some_seconds(serve, monkeypatch):
    server = serve(sends(b"{}"))
    http = client(server.url)
    post(http)
    real = connections.now
    monkeypatch.setattr(connections, "now", lambda: real() + IDLE_REUSE_S + 0.1)
    monkeypatch.setattr("provisioning.providers.http.now", lambda: real() + IDLE_REUSE_S + 0.1)
    post(http)
    assert server.connections == 2


def test_a_connection_that_the_server_closed_is_not_used_again(serve):
    closed = threading.Event()

    def script(conn: socket.socket, request: bytes) -> None:
        conn.sendall(OK)
        conn.shutdown(socket.SHUT_RDWR)
        closed.set()

    server = serve(script)
    http = client(server.url)
    for _ in range(3):
        closed.clear()
        assert post(http).data == {"ok": True}
        assert closed.wait(5)
    assert server.connections == 3


def test_many_threads_share_one_client(serve):
    server = serve(sends(b'{"ok": true}'))
    http = client(server.url, 10)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: post(http), range(200)))
    assert all(answer.data == {"ok": True} for answer in answers)
    assert len(server.requests) == 200
    assert server.connections <= 16


def test_a_finished_call_does_not_end_the_next_one_on_its_connection(serve):
    """The first call's deadline passes while the second uses the same connection."""
    first_over = threading.Event()

    def script(conn: socket.socket, request: bytes) -> bool:
        if len(server.requests) == 2:
            first_over.wait(5)
        conn.sendall(OK)
        return True

    server = serve(script)
    http = client(server.url, 5)
    short = connections.now() + 0.3
    post(http, until=short)
    threading.Timer(0.5, first_over.set).start()
    assert post(http).data == {"ok": True}
    assert connections.now() > short
    assert server.connections == 1


# --- nothing left -----------------------------------------------------------------------------------------------------
def test_a_refused_connection_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = failure(client(f"http://127.0.0.1:{port}"))
    assert isinstance(error, Unavailable)
    assert error.code == "connect_failed"


def test_an_unknown_name_is_unavailable(monkeypatch):
    def lookup(host: str, *args: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    error = failure(client("http://nowhere.invalid"))
    assert isinstance(error, Unavailable)
    assert error.code == "dns_failed"


def test_a_name_server_that_hangs_is_unavailable_within_the_deadline(monkeypatch):
    over, asked = threading.Event(), []

    def lookup(host: str, port: int, family: int, kind: int, protocol: int = 0, flags: int = 0) -> Any:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        asked.append(host)
        over.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    http = client("http://slow.invalid")
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        errors = list(pool.map(lambda _: failure(http), range(4)))
    over.set()
    assert time.monotonic() - started < DEADLINE_S + MARGIN_S
    assert [(type(error), error.code) for error in errors] == [(Unavailable, "deadline")] * 4
    assert len(asked) == 1, "one thread waits for a name, however many ask"


def test_a_host_that_does_not_answer_is_unavailable_within_the_deadline():
    # The one place of the queue is taken, so a further connection is not completed.
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        started = time.monotonic()
        error = failure(client(f"http://127.0.0.1:{listener.getsockname()[1]}"))
    assert isinstance(error, Unavailable)
    assert error.code == "deadline"
    assert time.monotonic() - started < DEADLINE_S + MARGIN_S


def test_a_failed_tls_handshake_is_unavailable(serve):
    listener = socket.create_server(("127.0.0.1", 0))

    def answer_in_clear() -> None:
        with contextlib.suppress(OSError):
            conn, _ = listener.accept()
            with conn:
                conn.recv(4096)
                conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    threading.Thread(target=answer_in_clear, daemon=True).start()
    with listener:
        error = failure(client(f"https://127.0.0.1:{listener.getsockname()[1]}"))
    assert isinstance(error, Unavailable)
    assert error.code == "tls_failed"


def test_a_tls_handshake_that_hangs_is_unavailable_within_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = time.monotonic()
        error = failure(client(f"https://127.0.0.1:{listener.getsockname()[1]}"))
    assert isinstance(error, Unavailable)
    assert error.code == "deadline"
    assert time.monotonic() - started < DEADLINE_S + MARGIN_S


def test_a_tls_handshake_that_drips_is_unavailable_within_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def dripping() -> None:
            conn, _ = listener.accept()
            with conn:
                drip(conn, b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb", b"x")

        threading.Thread(target=dripping, daemon=True).start()
        started = time.monotonic()
        error = failure(client(f"https://127.0.0.1:{listener.getsockname()[1]}"))
    assert isinstance(error, Unavailable)
    assert time.monotonic() - started < DEADLINE_S + MARGIN_S


def test_a_deadline_that_is_over_before_the_first_byte_sends_nothing(serve):
    server = serve(sends(b"{}"))
    http = client(server.url)
    error = failure(http, until=connections.now() - 1)
    assert isinstance(error, Unavailable)
    assert error.code == "deadline"
    assert server.requests == []


def test_a_hook_that_lasts_until_the_deadline_sends_nothing(serve):
    server = serve(sends(b"{}"))
    error = failure(client(server.url), before_first_byte=lambda: threading.Event().wait(DEADLINE_S + 0.1))
    assert isinstance(error, Unavailable)
    assert error.code == "deadline"
    assert server.requests == []


@pytest.mark.parametrize("value", ["line\nbreak", "naïve", " padded", "tab\t"])
def test_credentials_that_no_header_can_carry_are_refused_before_anything_is_sent(serve, value):
    server = serve(sends(b"{}"))
    with pytest.raises(AccountRejected) as caught:
        client(server.url).request("GET", "/x", headers={"sb-api-secret-key": value})
    assert value not in str(caught.value)
    assert server.connections == 0


# --- the hook ---------------------------------------------------------------------------------------------------------
def test_the_hook_is_called_once_on_a_connection_that_stands(serve):
    server = serve(sends(b"{}"))
    seen: list[tuple[int, int]] = []

    def hook() -> None:
        wait_for(lambda: server.connections == 1)
        seen.append((server.connections, len(server.requests)))

    http = client(server.url, 5)
    post(http, before_first_byte=hook)
    assert seen == [(1, 0)]
    post(http, before_first_byte=hook)
    assert seen == [(1, 0), (1, 1)], "also on a connection that is used again"


@pytest.mark.parametrize("raised", [RuntimeError("fenced"), OSError(5, "disk"), TimeoutError("db"), ValueError("x")])
def test_what_the_hook_raises_comes_out_and_nothing_is_sent(serve, raised):
    server = serve(sends(b"{}"))
    http = client(server.url)

    def hook() -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        post(http, before_first_byte=hook)
    assert caught.value is raised
    post(http)
    assert len(server.requests) == 1, "only the second call's request arrived"


def test_no_hook_is_called_when_nobody_is_reached():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    called: list[bool] = []
    failure(client(f"http://127.0.0.1:{port}"), before_first_byte=lambda: called.append(True))
    assert called == []


# --- perhaps it happened ----------------------------------------------------------------------------------------------
def silent(conn: socket.socket, request: bytes) -> None:
    conn.recv(1)


def closes(conn: socket.socket, request: bytes) -> None:
    """Closes without a word."""


def resets(conn: socket.socket, request: bytes) -> None:
    reset(conn)


def drips_headers(conn: socket.socket, request: bytes) -> None:
    drip(conn, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")


def drips_body(conn: socket.socket, request: bytes) -> None:
    drip(conn, b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b" ")


def drips_endless_body(conn: socket.socket, request: bytes) -> None:
    drip(conn, b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"ok":true}', b" ")


def drips_chunks(conn: socket.socket, request: bytes) -> None:
    drip(conn, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")


def drips_interim_answers(conn: socket.socket, request: bytes) -> None:
    drip(conn, b"", b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize(
    "script",
    [silent, drips_headers, drips_body, drips_endless_body, drips_chunks, drips_interim_answers],
    ids=lambda script: script.__name__,
)
def test_a_slow_answer_is_uncertain_when_the_total_deadline_is_over(serve, script):
    server = serve(script)
    started = time.monotonic()
    error = failure(client(server.url))
    elapsed = time.monotonic() - started
    assert isinstance(error, Uncertain)
    assert error.code == "timeout"
    assert DEADLINE_S * 0.9 < elapsed < DEADLINE_S + MARGIN_S
    assert len(server.requests) == 1


def test_the_deadline_is_total_on_a_connection_that_is_used_again_too(serve):
    def script(conn: socket.socket, request: bytes) -> bool:
        if len(server.requests) > 1:
            drips_headers(conn, request)
            return False
        conn.sendall(OK)
        return True

    server = serve(script)
    http = client(server.url)
    post(http)
    started = time.monotonic()
    assert failure(http).code == "timeout"
    assert time.monotonic() - started < DEADLINE_S + MARGIN_S
    assert server.connections == 1


def test_a_body_that_the_server_does_not_take_ends_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        http = client(f"http://127.0.0.1:{listener.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(Uncertain):
            http.request("POST", "/send", headers={}, body={"content": "x" * 20_000_000})
    assert time.monotonic() - started < DEADLINE_S + MARGIN_S


def truncates(conn: socket.socket, request: bytes) -> None:
    conn.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ok":true}')


def truncates_chunks(conn: socket.socket, request: bytes) -> None:
    conn.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{"ok":true}\r\n')


def speaks_nonsense(conn: socket.socket, request: bytes) -> None:
    conn.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")


def resets_in_the_body(conn: socket.socket, request: bytes) -> None:
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    reset(conn)


def lies_about_its_length(conn: socket.socket, request: bytes) -> None:
    conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}")


@pytest.mark.parametrize(
    "script",
    [closes, resets, truncates, truncates_chunks, speaks_nonsense, resets_in_the_body, lies_about_its_length],
    ids=lambda script: script.__name__,
)
def test_a_broken_answer_is_uncertain_and_the_request_is_not_repeated(serve, script):
    server = serve(script)
    error = failure(client(server.url))
    assert isinstance(error, Uncertain)
    assert error.code == "connection_lost"
    assert len(server.requests) == 1
    assert server.connections == 1


def test_an_answer_over_the_limit_is_uncertain_and_is_not_read_whole(serve):
    sent = [0]

    def script(conn: socket.socket, request: bytes) -> None:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                sent[0] += conn.send(b"x" * 65536)

    http = client(serve(script).url, 10)
    started = time.monotonic()
    error = failure(http)
    assert isinstance(error, Uncertain)
    assert error.code == "oversize_answer"
    assert time.monotonic() - started < 5
    assert sent[0] < 50_000_000


def test_an_answer_at_the_limit_is_read(serve):
    body = b'"' + b"x" * (MAX_BODY_BYTES - 2) + b'"'
    assert len(post(client(serve(sends(body)).url, 5)).data) == MAX_BODY_BYTES - 2


def test_a_redirect_is_not_followed_and_nothing_reaches_the_other_host(serve):
    other = serve(sends(b"{}"))

    def script(conn: socket.socket, request: bytes) -> None:
        location = other.url.encode()
        conn.sendall(b"HTTP/1.1 307 Moved\r\nLocation: %s/send\r\nContent-Length: 2\r\n\r\n{}" % location)

    answer = post(client(serve(script).url))
    assert isinstance(classify(answer), Uncertain)
    assert other.connections == 0


def test_the_endless_body_of_a_redirect_is_not_read(serve):
    def script(conn: socket.socket, request: bytes) -> None:
        conn.sendall(b"HTTP/1.1 307 Moved\r\nLocation: /x\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                conn.sendall(b"x" * 65536)

    error = failure(client(serve(script).url, 10))
    assert error.code == "oversize_answer"


def test_a_compressed_answer_is_not_unpacked(serve):
    server = serve(sends(b"\x1f\x8b" + b"\0" * 20, headers=b"Content-Encoding: gzip\r\n"))
    assert not post(client(server.url)).readable


def test_cookies_are_not_kept(serve):
    server = serve(sends(b"{}", headers=b"Set-Cookie: account=one; Path=/\r\n"))
    http = client(server.url)
    post(http)
    post(http)
    assert b"ookie" not in server.requests[1]


def test_the_environment_has_no_say(serve, monkeypatch, tmp_path):
    other = serve(sends(b"{}"))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password stolen\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", other.url)
    monkeypatch.setenv("http_proxy", other.url)
    server = serve(sends(b"{}"))
    post(client(server.url))
    assert b"Authorization" not in server.requests[0]
    assert other.connections == 0


def test_malformed_headers_do_not_put_the_query_into_the_log(serve, caplog):
    def script(conn: socket.socket, request: bytes) -> None:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno colon here\r\n\r\n{}")

    server = serve(script)
    client(server.url).request("GET", "/list", headers={}, query={"number": "+15550001111"})
    assert "Failed to parse headers" in caplog.text
    assert "15550001111" not in caplog.text
    assert server.requests[0].startswith(b"GET /list?number")


# --- over TLS ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context and the certificate, made for 127.0.0.1 just now, that would have to be trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "certificate.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = tmp_path / "key.pem"
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return context, pem


def serve_tls(serve: Callable[[Script], Server], context: ssl.SSLContext, script: Script) -> Server:
    server = serve(script)
    server.wrap = lambda conn: context.wrap_socket(conn, server_side=True)
    server.url = server.url.replace("http://", "https://")
    return server


def test_a_certificate_that_nobody_vouches_for_is_unavailable(serve, tls):
    server = serve_tls(serve, tls[0], sends(b"{}"))
    error = failure(client(server.url, 5))
    assert isinstance(error, Unavailable)
    assert error.code == "tls_failed"
    assert server.requests == []


def test_over_tls_too_the_hook_comes_first_and_connections_are_reused(serve, tls, monkeypatch):
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(tls[1]))
    server = serve_tls(serve, tls[0], sends(b'{"ok": true}'))
    http = client(server.url, 5)
    seen: list[int] = []
    for _ in range(2):
        assert post(http, before_first_byte=lambda: seen.append(len(server.requests))).data == {"ok": True}
    assert seen == [0, 1]
    assert server.connections == 1


def test_over_tls_too_the_deadline_is_total(serve, tls, monkeypatch):
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(tls[1]))
    server = serve_tls(serve, tls[0], drips_headers)
    started = time.monotonic()
    error = failure(client(server.url))
    assert isinstance(error, Uncertain)
    assert error.code == "timeout"
    assert time.monotonic() - started < DEADLINE_S + MARGIN_S


# --- addresses --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "url",
    [
        "", "provider.test", "ftp://provider.test", "http://", "http://user:pass@provider.test", "http://p.test?x=1",
        "http://p.test#x", "http://127.0.0.1\\.p.test", "http://p.test/../x", "http://p.test:99999", "http://p té.st",
    ],
)  # fmt: skip
def test_a_base_url_is_a_plain_address(url):
    with pytest.raises(ValueError, match=r"."):
        client(url)


@pytest.mark.parametrize(
    "path", ["", "x", "@evil.test/", "/../x", "/a/./b", "/a?b=c", "/a#b", "/%2e%2e/x", "/a\\b", "/\n"]
)
def test_a_path_cannot_lead_elsewhere(path):
    with pytest.raises(ValueError, match="path"):
        client("http://127.0.0.1:9").request("GET", path, headers={})


def test_paths_are_joined_below_the_base(serve):
    server = serve(sends(b"{}"))
    client(server.url + "/v2/").request("GET", "//other.test/x", headers={})
    assert server.requests[0].startswith(b"GET /v2//other.test/x HTTP/1.1")


# --- what an answer means ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, "{}", None),
        (202, "[]", None),
        (200, "", Uncertain),
        (200, "<html>", Uncertain),
        (200, '{"ok": tru', Uncertain),
        (200, '{"x": NaN}', Uncertain),
        (200, "[" * 60_000, Uncertain),
        (204, "", Uncertain),
        (301, "{}", Uncertain),
        (307, "{}", Uncertain),
        (400, '{"message": "no"}', Rejected),
        (404, '{"message": "no"}', Rejected),
        (422, "{}", Rejected),
        (400, "", Uncertain),
        (404, "<html>", Uncertain),
        (422, '"no"', Uncertain),
        (400, "[1]", Uncertain),
        (401, "", AccountRejected),
        (402, "{}", AccountRejected),
        (403, "<html>", AccountRejected),
        (408, "{}", Uncertain),
        (409, "{}", Uncertain),
        (429, "", Unavailable),
        (500, '{"message": "no"}', Uncertain),
        (503, "{}", Uncertain),
    ],
)  # fmt: skip
@responses.activate
def test_every_answer_has_one_meaning(status, body, expected):
    responses.post("http://provider.test/send", body=body, status=status)
    error = classify(post(client("http://provider.test")))
    assert (None if error is None else type(error)) is expected


@pytest.mark.parametrize(
    ("body", "code", "detail"),
    [
        ({"error_code": 4002, "error_message": "on the list"}, "4002", "on the list"),
        ({"error_code": "4002", "message": "on the list"}, "4002", "on the list"),
        ({"error_code": 0, "message": "said"}, "http_400", "said"),
        ({"error_code": "", "message": None, "error": "why"}, "http_400", "why"),
        ({"error_code": True, "message": {"a": 1}}, "http_400", "HTTP 400"),
        ({"error_code": [1], "message": "  "}, "http_400", "HTTP 400"),
        ({"message": "a\x00b\r\nc\x1b[31m\u2028d\ud800"}, "http_400", "a b c [31m d"),
        ({"message": f"bad key {SECRET} for {TEXT}"}, "http_400", "bad key [hidden] for [hidden]"),
    ],
)
def test_the_providers_code_and_words_are_kept_clean(body, code, detail):
    error = classify(Answer(400, True, body), hide=[SECRET, TEXT, ""])
    assert error is not None
    assert (error.code, error.detail) == (code, detail)


def test_the_providers_words_are_cut():
    error = classify(Answer(400, True, {"message": "x" * 5000, "error_code": "y" * 500}))
    assert error is not None
    assert (len(error.detail), len(error.code)) == (300, 64)


def test_429_hands_on_the_wish_to_wait():
    error = classify(Answer(429, False, None, timedelta(seconds=9)))
    assert isinstance(error, Unavailable)
    assert error.retry_after == timedelta(seconds=9)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("soon", None), ("-5", None), ("1.5", None), ("٣", None), ("0", 0), (" 30 ", 30),
        ("3600", 3600), ("3601", 3600), ("9" * 400, 3600), ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00", 0), ("Fri, 99 Foo 2099", None),
    ],
)  # fmt: skip
def test_retry_after_in_all_its_forms(value, seconds):
    assert retry_after(value) == (None if seconds is None else timedelta(seconds=seconds))


def test_retry_after_as_a_date_counts_from_now():
    asked = retry_after(format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True))
    assert asked is not None
    assert timedelta(minutes=4, seconds=50) < asked <= timedelta(minutes=5)
    assert retry_after(format_datetime(datetime.now(UTC) + timedelta(days=5), usegmt=True)) == timedelta(hours=1)
