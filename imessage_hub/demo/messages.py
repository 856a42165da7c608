"""The demo's messages: one for each rule, one that must fail, one through a line that is placed while we wait."""

import time
from dataclasses import dataclass
from typing import Any

import requests

WAIT_S = 60.0
DONE = {"delivered", "read", "failed", "cancelled", "expired"}


class Client:
    """The hub's HTTP API with one key."""

    def __init__(self, hub: str, key: str) -> None:
        self._base = f"{hub}/api/v1/"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {key}"

    def get(self, path: str) -> Any:
        """The JSON of an answer; SystemExit on any error."""
        return self._read(self._session.get(self._base + path, timeout=30))

    def post(self, path: str, body: dict[str, Any] | None = None, *, refusal: int | None = None) -> Any:
        """The JSON of an answer; SystemExit on any error but the status code `refusal`."""
        answer = self._session.post(self._base + path, json=body or {}, timeout=30)
        return answer.json() if answer.status_code == refusal else self._read(answer)

    @staticmethod
    def _read(answer: requests.Response) -> Any:
        if not answer.ok:
            raise SystemExit(f"{answer.request.method} {answer.url} answered {answer.status_code}: {answer.text}")
        return answer.json()


@dataclass(frozen=True)
class Result:
    """How one message fared. `number` is "" where no account was found, `rule` where none spoke."""

    text: str
    rule: str
    sentence: str
    number: str
    status: str
    as_expected: bool


def send_all(client: Client, clinic: dict[str, str]) -> list[Result]:
    """Send the demo's messages and wait until each came to its end."""
    sent = [
        # Before the location has a default.
        _send(client, clinic["nobody"], "Your appointment is confirmed.", "any_available"),
    ]
    client.post(f"accounts/{clinic['default_account']}/set-default/")
    sent += [
        _send(client, clinic["nobody"], "Please bring your insurance card.", "default_account"),
        _send(client, clinic["assigned"], "Dr. Lee has reviewed your chart.", "assigned_user"),
        _send(client, clinic["tagged"], "Your invoice is ready.", "contact_tag"),
        _send(client, clinic["tagged"], "Just this once from here. {TEMP-IM#3}", "temporary_override"),
        _send(client, clinic["assigned"], "Your results are in {IM#2}", "manual_override"),
        _send(client, clinic["nobody"], "This account does not exist {IM#99}", "manual_override", fails=True),
    ]
    index = _wait_for_line(client, clinic["pending_setup"])
    sent.append(_send(client, clinic["nobody"], f"The new line works {{IM#{index}}}", "manual_override"))
    return [_wait_for_end(client, one) for one in sent]


@dataclass(frozen=True)
class Sent:
    """A message on its way, and what is to become of it."""

    id: str
    text: str
    rule: str
    fails: bool


def _send(client: Client, to: str, text: str, rule: str, *, fails: bool = False) -> Sent:
    answer = client.post("messages/", {"to": to, "text": text}, refusal=422)
    return Sent(answer.get("message") or answer["id"], text, rule, fails)


def _wait_for_line(client: Client, setup: str) -> int:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        lines = client.get(f"setups/{setup}/")["phone_lines"]
        number = next((line["phone_number"] for line in lines if line["status"] == "assigned"), None)
        if number:
            accounts = client.get("accounts/?page_size=200")["results"]
            return int(next(account["index"] for account in accounts if account["phone_number"] == number))
        time.sleep(0.25)
    raise SystemExit("The pending line was not placed in time.")


def _wait_for_end(client: Client, sent: Sent) -> Result:
    deadline = time.monotonic() + WAIT_S
    while True:
        message = client.get(f"messages/{sent.id}/")
        if message["status"] in DONE or time.monotonic() > deadline:
            break
        time.sleep(0.25)
    trace = message["routing"]
    return Result(
        text=sent.text,
        rule=trace["rule"] or "",
        sentence=trace["sentence"],
        number=trace["account"]["phone_number"] if trace["account"] else "",
        status=message["status"],
        as_expected=trace["rule"] == sent.rule and message["status"] == ("failed" if sent.fails else "delivered"),
    )
