"""A host of files on loopback, plain or with TLS, that does what a test tells it to."""

import contextlib
import datetime
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Files:
    """Paths and how each is answered; `asked` holds the paths that were asked for, `hosts` the Host headers."""

    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """What name each TLS client asked for."""
    written: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.netloc}{path}"

    def serve(self, path: str, content: bytes, *, status: int = 200, **headers: str) -> str:
        """Answer `path` with the content; its address."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            for name, value in {"content-type": "application/octet-stream", **headers}.items():
                request.send_header(name.replace("_", "-"), value)
            request.send_header("content-length", str(len(content)))
            request.end_headers()
            request.wfile.write(content)

        self.answers[path] = answer
        return self.url(path)

    def drip(self, path: str, start: bytes, drop: bytes) -> str:
        """Answer `path` with `start`, raw, and then `drop` again and again, slowly, for as long as somebody reads."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.close_connection = True
            request.wfile.write(start)
            while not self.over.wait(0.02):
                request.wfile.write(drop)
                self.written += len(drop)

        self.answers[path] = answer
        return self.url(path)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what is tested."""


@contextlib.contextmanager
def file_host(context: ssl.SSLContext | None = None) -> Iterator[Files]:
    """A running host."""
    files = Files()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            files.asked.append(self.path)
            files.hosts.append(self.headers["Host"])
            files.answers.get(self.path, lambda request: request.send_error(404))(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    if context is not None:
        context.sni_callback = lambda sock, name, _: files.names.append(name)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    files.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield files
    finally:
        files.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def certificate(directory: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context for `name`, and the file of the certificate to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, both = directory / "trusted.pem", directory / "server.pem"
    trusted.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both.write_bytes(private + trusted.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, trusted
