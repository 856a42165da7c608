"""Files that customers send: fetched from the public internet only, known by their content, kept for their location."""

import ipaddress
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3.util.connection
from django.conf import LazySettings
from django.utils import timezone
from rest_framework.test import APIClient

from messaging import media
from messaging.delivery.worker import work_once
from messaging.media import download
from messaging.models import Attachment, Message
from messaging.outside import Refused, TryLater, is_public
from tests.factories import Clinic
from tests.messaging.conftest import Hub
from tests.messaging.file_host import Files, certificate, file_host
from tests.messaging.hook_posts import CUSTOMER, apply_due, received, tell

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 10
JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 10

PUBLIC = [
    "8.8.8.8", "1.1.1.1", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1",
    "192.167.255.255", "169.253.0.1", "198.17.255.255", "198.20.0.1", "223.255.255.255", "2606:4700:4700::1111",
    "2001:4860:4860::8888", "2a00:1450:4001::1", "::ffff:8.8.8.8",
]  # fmt: skip
INNER = [
    # this host, loopback, private, shared, link-local
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.1.2.3",  # noqa: S104
    "127.255.255.255", "10.0.0.1", "10.255.255.255", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "192.168.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255",
    "169.254.0.1", "169.254.169.254", "169.254.170.2",
    # protocol assignments, documentation, benchmarks, anycast of 6to4, multicast, reserved, broadcast
    "192.0.0.1", "192.0.0.8", "192.0.0.170", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "198.18.0.1",
    "198.19.255.255", "224.0.0.1", "239.255.255.255", "240.0.0.1", "254.1.1.1", "255.255.255.255",
    # the same in IPv6
    "::", "::1", "::1%lo", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "feff::1", "fc00::1", "fd00::1",
    "fd00:ec2::254", "fdff:ffff::1", "ff00::1", "ff02::1", "ff0e::1", "100::1", "2001:db8::1", "3fff::1",
    # IPv4 in other clothes: mapped, compatible, translated, NAT64, 6to4, Teredo, ORCHID, segment routing
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:100.64.0.1", "::ffff:192.88.99.1",
    "::ffff:224.0.0.1", "::ffff:0.0.0.0", "::127.0.0.1", "::10.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1",
    "2001::1", "2001:0:53aa:64c:0:fbff:8080:8080", "2001:10::1", "2001:20::1", "2001:2::1", "5f00::1",
    "4000::1", "8000::1", "e000::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_public_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", INNER)
def test_addresses_that_lead_inside_or_nowhere(address: str) -> None:
    assert not is_public(address)


# --- which URLs -------------------------------------------------------------------------------------------------------
@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The names there are; a name with several lists of addresses (split by "then") gives one after the other."""
    names: dict[str, list[str]] = {}

    def resolve(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        host.encode("idna")  # as the real one does; it raises for what is no name
        addresses = names.get(host) or [_number(host)]
        now = addresses[: addresses.index("then")] if "then" in addresses else addresses
        names[host] = addresses[len(now) + 1 :] or addresses
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in address], socket.SOCK_STREAM, 6, "", (address, port)) for address in now]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names


def _number(host: str) -> str:
    """An address that is written as a number, in all the ways that the system's resolver reads."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The addresses that were connected to; no connection stands."""
    seen: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        seen.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(urllib3.util.connection, "create_connection", connect)
    return seen


REFUSED = [
    # another way than https, another port
    "http://files.example.com/a", "ftp://files.example.com/a", "file:///etc/passwd", "gopher://files.example.com/",
    "data:image/png;base64,AAAA", "javascript:alert(1)", "//files.example.com/a", "files.example.com/a", "", "/a", "a",
    "https://files.example.com:8443/a", "https://files.example.com:80/a", "https://files.example.com:0/a",
    "https://files.example.com:99999/a", "https://files.example.com:x/a", "HTTP://FILES.EXAMPLE.COM/",
    # nobody, or somebody else than it seems
    "https:///a", "https://", "https://user@files.example.com/", "https://user:pw@files.example.com/",
    "https://files.example.com@127.0.0.1/", "https://files.example.com:443@127.0.0.1/", "https://:pw@files.example.com/",
    "https://files.example.com\\@127.0.0.1/", "https://127.0.0.1\\.files.example.com/", "https:\\\\files.example.com/",
    "https://files.example.com/\\..\\a", "https://files.example.com/a\r\nHost: x", "https://files.example.com/\x00",
    "https://files.example.com\t/", "\nhttps://files.example.com/", "https://files.example.com/\x7f",
    "https://files.exämple.com/", "https://ⓛocalhost/", "https://127。0。0。1/", "https://files.example.com/ä",
    "https://[::1/", "https://[zz]/", "https://a..example.com/", f"https://{'a' * 70}.example.com/",
    # here, in every spelling
    "https://127.0.0.1/", "https://127.1/", "https://127.0.1/", "https://2130706433/", "https://0x7f000001/",
    "https://0x7f.0.0.1/", "https://017700000001/", "https://0177.0.0.1/", "https://0/", "https://0.0.0.0/",
    "https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[fe80::1]/",
    "https://10.0.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data/", "https://2852039166/",
    "https://100.64.0.1/", "https://[fd00::1]/", "https://[64:ff9b::7f00:1]/", "https://localhost/", "https://LOCALHOST/",
    "https://inner.example.com/", "https://inner.example.com./", "https://INNER.example.com/", "https://mixed.example.com/",
    "https://v6.example.com/",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_addresses_that_are_not_followed(url: str, dns: dict[str, list[str]], connected: list[tuple[str, int]]) -> None:
    dns |= {
        "localhost": ["127.0.0.1", "::1"],
        "LOCALHOST": ["127.0.0.1"],
        "files.example.com": ["93.184.216.34"],
        "inner.example.com": ["10.1.2.3"],
        "inner.example.com.": ["10.1.2.3"],
        "mixed.example.com": ["93.184.216.34", "10.1.2.3"],
        "v6.example.com": ["2606:4700::1", "fd00::1"],
    }
    with pytest.raises(Refused):
        download(url)
    assert connected == []


@pytest.mark.parametrize(
    "url",
    [
        "https://files.example.com/a",
        "HTTPS://FILES.EXAMPLE.COM/a",
        "https://files.example.com:443/a?b=c#d",
        "https://93.184.216.34/a",
        "https://files.example.com/a b",
        "https://files.example.com/%00%0d%0a",
    ],
)
def test_addresses_that_are_followed_to_where_their_name_leads(
    url: str, dns: dict[str, list[str]], connected: list[tuple[str, int]]
) -> None:
    dns["files.example.com"] = ["93.184.216.34", "93.184.216.35"]
    with pytest.raises(TryLater):
        download(url)
    assert connected == [("93.184.216.34", 443)]


def test_what_was_checked_is_what_is_connected_to(dns: dict[str, list[str]], connected: list[tuple[str, int]]) -> None:
    # The second look at the name would lead inside.
    dns["rebinding.example.com"] = ["93.184.216.34", "then", "127.0.0.1"]
    with pytest.raises(TryLater):
        download("https://rebinding.example.com/a")
    assert connected == [("93.184.216.34", 443)]


def test_a_name_that_is_not_known_now_is_asked_again(dns: dict[str, list[str]]) -> None:
    with pytest.raises(TryLater):
        download("https://nowhere.example.com/a")


def test_the_surroundings_proxy_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, dns: dict[str, list[str]], connected: list[tuple[str, int]]
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:3128")
    dns["files.example.com"] = ["93.184.216.34"]
    with pytest.raises(TryLater):
        download("https://files.example.com/a")
    assert connected == [("93.184.216.34", 443)]


@pytest.mark.parametrize(("name", "taken"), [("files.example.com", True), ("other.example.com", False)])
def test_the_certificate_is_checked_against_the_name(
    name: str,
    taken: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dns: dict[str, list[str]],
) -> None:
    context, trusted = certificate(tmp_path, name)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    dns["files.example.com"] = ["93.184.216.34"]
    real, seen = urllib3.util.connection.create_connection, []
    with file_host(context) as files:
        files.serve("/a?b=c", PNG)

        def connect(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
            seen.append(address)
            return real(("127.0.0.1", files.port), *args, **kwargs)

        monkeypatch.setattr(urllib3.util.connection, "create_connection", connect)
        if taken:
            assert download("https://files.example.com/a?b=c").content_type == "image/png"
            assert files.hosts == ["files.example.com"]
        else:
            with pytest.raises(TryLater):
                download("https://files.example.com/a?b=c")
            assert files.asked == []
        assert files.names == ["files.example.com"]
    assert seen == [("93.184.216.34", 443)]


# --- what comes -------------------------------------------------------------------------------------------------------
@pytest.fixture
def files(settings: LazySettings) -> Iterator[Files]:
    """A host of files that is trusted although it is here."""
    with file_host() as running:
        settings.HUB_MEDIA_TRUSTED_HOSTS = [running.netloc]
        yield running


KEPT = {
    "image/png": PNG,
    "image/jpeg": JPEG,
    "image/gif": b"GIF89a....",
    "image/webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "image/heic": b"\x00\x00\x00\x18ftypheic....",
    "video/quicktime": b"\x00\x00\x00\x14ftypqt  ....",
    "video/mp4": b"\x00\x00\x00\x18ftypisom....",
    "audio/mp4": b"\x00\x00\x00\x18ftypM4A ....",
    "audio/x-caf": b"caff\x00\x01....",
    "audio/amr": b"#!AMR\n....",
    "audio/mpeg": b"ID3\x03....",
    "application/pdf": b"%PDF-1.7....",
    "text/vcard": b"BEGIN:VCARD\r\nVERSION:3.0\r\n",
}


@pytest.mark.parametrize("kind", KEPT)
def test_the_type_is_what_the_content_is(files: Files, kind: str) -> None:
    url = files.serve(
        "/page.html", KEPT[kind], content_type="text/html", content_disposition="attachment; filename=a.js"
    )
    file = download(url)
    assert (file.content_type, file.content) == (kind, KEPT[kind])


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><script>alert(1)</script>", b"<html>", b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?><svg/>", b"alert(1)", b"MZ\x90\x00", b"\x7fELF", b"PK\x03\x04", b"#!/bin/sh\n", b"",
        b"\n", b" " + PNG, b"\xef\xbb\xbf<html>", b"\x1f\x8b\x08", b"BM....", b"II*\x00", b"xxxxxxxxWEBP<script>",
        b"<!--ftypheic-->", b"{}",
    ],
)  # fmt: skip
def test_other_types_are_refused_whatever_they_are_called(files: Files, content: bytes) -> None:
    with pytest.raises(Refused):
        download(files.serve("/picture.png", content, content_type="image/png"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(files: Files, status: int) -> None:
    files.serve("/inner", PNG)
    with pytest.raises(TryLater):
        download(files.serve("/a", b"", status=status, location=files.url("/inner")))
    assert files.asked == ["/a"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, Refused), (410, Refused), (403, TryLater), (429, TryLater), (500, TryLater), (204, TryLater)],
)
def test_an_answer_without_the_file(files: Files, status: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        download(files.serve("/a", b"", status=status))


def test_a_file_that_is_too_large_is_cut_off(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_BYTES", 100_000)
    start = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + PNG
    with pytest.raises(Refused):
        download(files.drip("/a", start, b"x" * 64 * 1024))
    assert files.written < 10 * 1024 * 1024
    with pytest.raises(Refused):
        download(files.serve("/b", PNG + b"x" * 100_001))
    assert download(files.serve("/c", PNG.ljust(100_000))).content_type == "image/png"


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + PNG, b"x"),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + PNG, b"x"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["headers", "interim answers", "body", "body without length", "chunks"],
)
def test_a_slow_drip_ends_at_the_deadline(
    files: Files, monkeypatch: pytest.MonkeyPatch, start: bytes, drop: bytes
) -> None:
    monkeypatch.setattr(media, "FETCH_DEADLINE_S", 0.3)
    began = time.monotonic()
    with pytest.raises(TryLater):
        download(files.drip("/a", start, drop))
    assert time.monotonic() - began < 5
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer) and thread.is_alive()]


def test_a_body_that_ends_early_is_asked_for_again(files: Files) -> None:
    def cut(request: Any) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + PNG)
        request.close_connection = True

    files.answers["/a"] = cut
    with pytest.raises(TryLater):
        download(files.url("/a"))


def test_packed_content_is_not_unpacked(files: Files) -> None:
    with pytest.raises(Refused):
        download(files.serve("/a", b"\x1f\x8b\x08" + b"\x00" * 100, content_encoding="gzip"))


# --- fetched and kept -------------------------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def _own_storage(settings: LazySettings, tmp_path: Path) -> None:
    """Files go to the test's own directory."""
    default: Any = settings.STORAGES["default"]
    options = {**default["OPTIONS"], "location": str(tmp_path / "media")}
    settings.STORAGES = {**settings.STORAGES, "default": {**default, "OPTIONS": options}}


def receive(clinic: Clinic, *urls: str) -> Message:
    """A message with files that came in."""
    tell(clinic.setup, received(clinic.account.phone_number, "look", media_url="", media_urls=list(urls)))
    apply_due()
    message: Message = Message.objects.get(direction="inbound")
    return message


def fetch_due() -> list[str]:
    """Fetch what is due; the words for the log."""
    return [media.fetch(attachment) for attachment in media.take_due(10)]


def hurry() -> None:
    """Let what waits be due."""
    Attachment.objects.filter(due_at__isnull=False).update(due_at=timezone.now() - timedelta(seconds=1))


def test_a_picture_is_fetched_kept_and_handed_out(hub: Hub, files: Files, settings: LazySettings) -> None:
    url = files.serve("/cat.exe", JPEG, content_type="text/html")
    account = hub.accounts[0]
    hub.sandbox.reply(from_number=CUSTOMER, to_number=account.phone_number, text="look", media_url=url)
    hub.sandbox.drain_webhooks()
    work_once()
    [row] = hub.api.get("/api/v1/messages/").json()["results"]
    [attachment] = row["attachments"]
    assert (attachment["content_type"], attachment["size"], attachment["problem"]) == ("image/jpeg", len(JPEG), None)
    answer: Any = hub.api.get(attachment["url"])
    assert (answer.status_code, b"".join(answer.streaming_content)) == (200, JPEG)
    assert answer["Content-Type"] == "image/jpeg"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Disposition"].startswith("attachment")
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "sandbox" in answer["Content-Security-Policy"]
    assert ".exe" not in answer["Content-Disposition"]


def test_a_file_is_its_own_locations(
    clinic: Clinic, files: Files, api: APIClient, api_as: Callable[[str | None], APIClient]
) -> None:
    message = receive(clinic, files.serve("/a", PNG))
    assert fetch_due() == ["fetched"]
    address = f"/api/v1/messages/{message.pk}/attachments/0/"
    answer: Any = api.get(address)
    assert (answer.status_code, b"".join(answer.streaming_content)) == (200, PNG)
    assert api_as(clinic.other_key).get(address).status_code == 404
    assert api_as(None).get(address).status_code == 401
    for order in ("1", "-1", "00000", "x", "%00", "0%2F..%2F0", "9" * 30):
        assert api.get(f"/api/v1/messages/{message.pk}/attachments/{order}/").status_code == 404


def test_before_it_was_fetched_there_is_no_file(clinic: Clinic, files: Files, api: APIClient) -> None:
    message = receive(clinic, files.serve("/a", PNG))
    [attachment] = api.get(f"/api/v1/messages/{message.pk}/").json()["attachments"]
    assert (attachment["url"], attachment["content_type"], attachment["problem"]) == (None, None, None)
    assert api.get(f"/api/v1/messages/{message.pk}/attachments/0/").status_code == 404


def test_several_files_keep_their_order_and_one_bad_one_spoils_nothing(clinic: Clinic, files: Files) -> None:
    urls = [files.serve("/0", PNG), files.serve("/1", b"<html>"), files.serve("/2", JPEG)]
    message = receive(clinic, *urls)
    assert sorted(fetch_due()) == ["fetched", "fetched", "refused"]
    kept = list(message.attachments.order_by("order"))
    assert [one.content_type for one in kept] == ["image/png", "", "image/jpeg"]
    assert [bool(one.file) for one in kept] == [True, False, True]
    assert kept[1].problem
    assert all(one.due_at is None for one in kept)


def test_the_files_name_is_ours(clinic: Clinic, files: Files, tmp_path: Path) -> None:
    message = receive(clinic, files.serve("/index.php", PNG))
    fetch_due()
    attachment = message.attachments.get()
    stored = Path(attachment.file.path)
    assert stored.is_relative_to(tmp_path / "media")
    assert stored.name == f"{attachment.pk}.png"
    assert stored.read_bytes() == PNG


def test_a_host_that_is_away_is_tried_ever_more_rarely_for_most_of_a_day_and_then_no_more(
    clinic: Clinic, files: Files
) -> None:
    message = receive(clinic, files.serve("/a", b"", status=503))
    waits = []
    for _ in range(media.TRIES - 1):
        assert fetch_due() == ["later"]
        due_at = message.attachments.get().due_at
        assert due_at is not None
        waits.append((due_at - timezone.now()).total_seconds())
        assert fetch_due() == []
        hurry()
    assert all(later > 1.9 * sooner for sooner, later in itertools.pairwise(waits))
    assert timedelta(hours=12) < timedelta(seconds=sum(waits)) < timedelta(hours=36)
    assert fetch_due() == ["given up"]
    attachment = message.attachments.get()
    assert attachment.due_at is None
    assert "503" in attachment.problem
    assert fetch_due() == []
    assert len(files.asked) == media.TRIES


def test_a_host_that_comes_back_gives_the_file(clinic: Clinic, files: Files) -> None:
    message = receive(clinic, files.serve("/a", b"", status=503))
    assert fetch_due() == ["later"]
    files.serve("/a", PNG)
    hurry()
    assert fetch_due() == ["fetched"]
    attachment = message.attachments.get()
    assert (attachment.content_type, attachment.problem) == ("image/png", "")


def test_a_private_address_is_refused_once_and_for_all(
    clinic: Clinic, files: Files, settings: LazySettings, dns: dict[str, list[str]]
) -> None:
    url = files.serve("/a", PNG)
    settings.HUB_MEDIA_TRUSTED_HOSTS = []
    message = receive(clinic, url, f"https://127.0.0.1:{files.port}/a", "https://127.0.0.1/a", "https://a..b/")
    assert fetch_due() == ["refused"] * 4
    assert files.asked == []
    assert all(one.problem and not one.file and one.due_at is None for one in message.attachments.all())


def test_a_worker_that_was_too_slow_keeps_no_file(clinic: Clinic, files: Files, tmp_path: Path) -> None:
    message = receive(clinic, files.serve("/a", PNG))
    [slow] = media.take_due(10)
    Attachment.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert fetch_due() == ["fetched"]
    media.fetch(slow)
    stored = [path for path in (tmp_path / "media").rglob("*") if path.is_file()]
    assert stored == [Path(message.attachments.get().file.path)]


def test_no_address_of_a_file_is_logged(
    clinic: Clinic, files: Files, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    receive(clinic, files.serve("/secret-path?signature=abc", b"", status=500), files.serve("/secret-path", PNG))
    work_once()
    assert "secret-path" not in caplog.text + capfd.readouterr().err
