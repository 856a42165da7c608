"""The sandbox as a command: it starts, tells its troubles in a line, stops when told, and keeps what its file holds."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from provisioning.sandbox.server import Sandbox
from tests.provisioning.sandbox_rig import CUSTOMER, Child, open_child, quick, receiver, wait_until

ROOT = Path(__file__).parents[2]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "provisioning.sandbox", *arguments]


def _environment(**values: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX_")}
    return kept | values


@contextmanager
def _running(*arguments: str, **values: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The process and the address it printed."""
    process = subprocess.Popen(
        _command("--port", "0", *arguments), cwd=ROOT, env=_environment(**values), stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_when_told(how: signal.Signals) -> None:
    values = {"SANDBOX_AGENCY_KEY_ID": "agency-key", "SANDBOX_AGENCY_SECRET": "agency-secret"}
    with _running("--store", ":memory:", **values) as (process, url):
        headers = {"sb-api-key-id": "agency-key", "sb-api-secret-key": "agency-secret"}
        assert requests.get(f"{url}/api/lines", headers=headers, timeout=5).json() == {"numbers": []}
        process.send_signal(how)
        assert process.wait(timeout=10) == 0


def test_credentials_are_made_up_and_told_when_none_are_given() -> None:
    with _running("--store", ":memory:") as (process, url):
        assert process.stdout is not None
        told = process.stdout.readline()
        headers = {"sb-api-key-id": "sandbox-agency", "sb-api-secret-key": told.split()[-1]}
        assert requests.get(f"{url}/api/lines", headers=headers, timeout=5).status_code == 200


def test_a_taken_port_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            _command("--port", str(port), "--store", ":memory:"),
            cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr == f"sandbox: port {port} on 127.0.0.1 is taken; choose another with --port\n"


def test_an_unusable_store_is_told_in_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        _command("--port", "0", "--store", str(tmp_path / "no" / "where.sqlite3")),
        cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith("sandbox: the store ")
    assert ended.stderr.count("\n") == 1


def test_a_killed_sandbox_keeps_every_send_it_answered(tmp_path: Path) -> None:
    store = str(tmp_path / "sandbox.sqlite3")
    with _running("--store", store, SANDBOX_AGENCY_KEY_ID="agency-key", SANDBOX_AGENCY_SECRET="agency-secret") as (
        process,
        url,
    ):
        child = open_child(_At(url))
        handles = [child.send().json()["message_handle"] for _ in range(20)]
        process.kill()
        process.wait(timeout=10)
    with quick(store=store) as again:
        assert [kept.handle for kept in again.ledger()] == handles


class _At(Sandbox):
    """A sandbox that runs elsewhere, as far as the rig's calls need one."""

    def __init__(self, url: str) -> None:
        self._elsewhere = url

    @property
    def url(self) -> str:
        return self._elsewhere


def test_a_restart_keeps_accounts_lines_messages_and_webhooks_and_goes_on(tmp_path: Path) -> None:
    store = str(tmp_path / "sandbox.sqlite3")
    with receiver() as hub:
        with quick(store=store, delivery_delay_s=60) as first:
            child = open_child(first)
            child.hook("outbound", f"{hub.url}/outbound", "own")
            handle = child.send().json()["message_handle"]
            waiting = open_child(first, "415", name="Waiting")
        with quick(store=store) as second:
            child.sandbox = waiting.sandbox = second
            assert child.numbers() == [child.line]
            wait_until(lambda: hub.statuses("/outbound") == ["SENT", "DELIVERED"])
            assert hub.got[0].headers["sb-signing-secret"] == "own"
            assert [kept.handle for kept in second.ledger()] == [handle]
            assert waiting.numbers() == []
            assert waiting.send(CUSTOMER).status_code == 400
            waiting.line = second.place_line(company_name="Waiting")
            assert waiting.send(CUSTOMER).status_code == 200


def test_a_line_due_while_it_was_off_is_placed_after_the_restart(tmp_path: Path) -> None:
    store = str(tmp_path / "sandbox.sqlite3")
    with quick(store=store, line_delay_s=0.3) as first:
        child: Child = open_child(first, "415")
        assert child.numbers() == []
    with quick(store=store) as second:
        child.sandbox = second
        wait_until(child.numbers)


def test_new_agency_credentials_replace_the_old_ones(tmp_path: Path) -> None:
    store = str(tmp_path / "sandbox.sqlite3")
    with quick(store=store, agency_key_id="old", agency_secret="old"):
        pass
    with quick(store=store) as sandbox:
        old = {"sb-api-key-id": "old", "sb-api-secret-key": "old"}
        assert requests.get(f"{sandbox.url}/api/lines", headers=old, timeout=5).status_code == 401
        assert open_child(sandbox).line
