"""The control API under /_sandbox/, for the phone page and for tests; it shows no secret."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlsplit

from .bodies import iso
from .faults import LINE_FAULTS, SEND_FAULTS
from .fields import is_e164
from .network import Network
from .store import Line, Message
from .wire import Request, Response, SandboxError

LONG_POLL_S = 25.0
NEWEST_MESSAGES = 1000
LEDGER_PAGE = 5000
_PICTURES = {
    "image/png": (b"\x89PNG\r\n\x1a\n", "png"),
    "image/jpeg": (b"\xff\xd8\xff", "jpg"),
    "image/gif": (b"GIF8", "gif"),
    "image/webp": (b"RIFF", "webp"),
}


class ControlApi:
    """Lets people and tests act as customers and as the phone company.

    Writing requests need a content type that a foreign page can't send without asking first, and an Origin, if there
    is one, that equals the host asked for.
    """

    def __init__(self, network: Network, public_url: Callable[[], str]) -> None:
        self.network, self.store, self._public_url = network, network.store, public_url
        self._reads: dict[str, Callable[[Request], object]] = {
            "health": self._health,
            "state": self._state,
            "faults": self._faults,
            "webhooks": self._webhooks,
            "ledger": self._ledger,
            "tally": self._tally,
        }
        self._writes: dict[str, Callable[[dict[str, Any]], object]] = {
            "reply": self._reply,
            "react": self._react,
            "read": self._read,
            "typing": self._typing,
            "place": self._place,
            "add-line": self._add_line,
            "line-status": self._line_status,
            "trouble": self._trouble,
            "fail-endpoint": self._fail_endpoint,
        }

    def handle(self, request: Request) -> Response:
        """The answer to a request below /_sandbox/."""
        name = request.path.removeprefix("/_sandbox/")
        try:
            if request.method == "GET" and name in self._reads:
                return Response.of(self._reads[name](request), cache_control="no-store")
            if request.method == "POST" and name == "upload":
                _refuse_foreign(request, lambda kind: kind in _PICTURES)
                return Response.of(self._upload(request), 201)
            if request.method == "POST" and name in self._writes:
                _refuse_foreign(request, lambda kind: kind == "application/json")
                return Response.of(self._writes[name](request.json()))
            raise SandboxError("not_found", "There is no such control.", 404)
        except SandboxError as error:
            return Response.of({"error": {"code": error.code, "detail": error.detail}}, error.status)

    # What is shown

    def _health(self, request: Request) -> object:
        return {"status": "ok", "version": self.store.version}

    def _faults(self, request: Request) -> object:
        numbers = [
            {"name": f.name, "digits": f.digits, "number": f"+1212555{f.digits}", "group": f.group, "label": f.label,
             "effect": f.effect}
            for f in SEND_FAULTS
        ]  # fmt: skip
        areas = [{"name": f.name, "area_code": f.area_code, "label": f.label, "effect": f.effect} for f in LINE_FAULTS]
        return {"numbers": numbers, "area_codes": areas}

    def _webhooks(self, request: Request) -> object:
        return {"deliveries": self.network.sender.log(since=_since(request))}

    def _ledger(self, request: Request) -> object:
        """Every send that was taken on, oldest first, from the one after `since`: id, line, customer, text, fault."""
        rows = self.store.messages("is_outbound = 1 AND id > ?", (_since(request),), limit=LEDGER_PAGE)
        return {"placed": [[row.id, row.line, row.number, row.content, row.fault] for row in rows]}

    def _tally(self, request: Request) -> object:
        """How often each fault struck, and how much is still to be told to the hub."""
        return {"landed": self.network.faults.landed(), "pending": self.network.sender.pending()}

    def _state(self, request: Request) -> object:
        """Everything, or what is newer than `since` within the same `epoch`, after waiting for news to come."""
        since = _since(request) if request.query.get("epoch") == self.store.epoch else 0
        if since:
            self.store.wait_for_news(since, LONG_POLL_S)
        with self.store.writing():
            version = self.store.version
            changed = self.store.messages("version > ?", (since,), order="id DESC", limit=NEWEST_MESSAGES)
            accounts = self.store.accounts()
            lines = self.store.lines()
        held: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for message in reversed(changed):
            held.setdefault(message.line, {}).setdefault(message.number, []).append(_message(message))
        shown = [
            {
                "id": account.id,
                "company_name": account.company_name,
                "lines": [_line(line, held) for line in lines if line.account_id == account.id],
            }
            for account in accounts
            if not account.is_agency or any(line.account_id == account.id for line in lines)
        ]
        return {
            "epoch": self.store.epoch,
            "version": version,
            "full": since == 0,
            "accounts": shown,
            "typing": self.network.typing_now(),
            "deliveries": self.network.sender.log(since=since),
        }

    # What is done

    def _reply(self, data: dict[str, Any]) -> object:
        message = self.network.reply(
            from_number=_number(data, "customer"), to_number=_number(data, "line"), text=_text(data, "text"),
            media_url=_text(data, "media_url"),
        )  # fmt: skip
        return {"message": _message(message)}

    def _react(self, data: dict[str, Any]) -> object:
        return {"message": _message(self.network.react(_text(data, "handle"), _text(data, "reaction")))}

    def _read(self, data: dict[str, Any]) -> object:
        """Read one message by its handle, or all of a conversation by line and customer."""
        if "handle" in data:
            self.network.mark_read(_text(data, "handle"))
            return {"read": 1}
        count = self.network.read_conversation(line=_number(data, "line"), customer=_number(data, "customer"))
        return {"read": count}

    def _typing(self, data: dict[str, Any]) -> object:
        self.network.customer_types(
            from_number=_number(data, "customer"), to_number=_number(data, "line"), typing=data.get("typing") is True
        )
        return {}

    def _place(self, data: dict[str, Any]) -> object:
        line = self.store.line(request_id=_text(data, "request_id"))
        if line is None:
            raise SandboxError("unknown_line", "No line has this request id.", 404)
        number = _number(data, "number") if data.get("number") else None
        return {"line": _line(self.network.place(line, number), {})}

    def _add_line(self, data: dict[str, Any]) -> object:
        wanted = data.get("account")
        account = next((account for account in self.store.accounts() if account.id == wanted), None)
        if account is None:
            raise SandboxError("unknown_account", "There is no such account.", 404)
        return {"line": _line(self.network.request_line(account, None), {})}

    def _line_status(self, data: dict[str, Any]) -> object:
        return {"line": _line(self.network.set_line_status(_number(data, "line"), _text(data, "status")), {})}

    def _trouble(self, data: dict[str, Any]) -> object:
        """Set what is given: `mix` (shares by fault) with `seed`, and durations in seconds: `hang_s`, `late_s`,
        `retry_after_s`, `answer_delay_s`."""
        faults, shares = self.network.faults, data.get("mix")
        if shares is not None:
            if not isinstance(shares, dict) or not all(isinstance(share, int | float) for share in shares.values()):
                raise SandboxError("mix", "mix must be an object of shares by fault.")
            try:
                faults.mix(shares, seed=int(_seconds(data, "seed", 0)))
            except KeyError as error:
                raise SandboxError("unknown_fault", f"There is no fault {error}.") from None
        faults.hang_s = _seconds(data, "hang_s", faults.hang_s)
        faults.late_s = _seconds(data, "late_s", faults.late_s)
        faults.retry_after_s = int(_seconds(data, "retry_after_s", faults.retry_after_s))
        answer_delay_s = _seconds(data, "answer_delay_s", self.network.behaviour.answer_delay_s)
        self.network.behaviour = replace(self.network.behaviour, answer_delay_s=answer_delay_s)
        return {}

    def _fail_endpoint(self, data: dict[str, Any]) -> object:
        """The next `times` requests to `method` and `path` get `status` and do nothing."""
        status, times = int(_seconds(data, "status", 500)), int(_seconds(data, "times", 1))
        if not 400 <= status <= 599 or not times <= 10_000:
            raise SandboxError("status", "status must be from 400 to 599, times at most 10000.")
        self.network.faults.fail_endpoint(_text(data, "method"), _text(data, "path"), status, times=times)
        return {}

    def _upload(self, request: Request) -> object:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        start, extension = _PICTURES[kind]
        if not request.body.startswith(start):
            raise SandboxError("not_a_picture", "The file isn't a picture of the kind it claims to be.", 415)
        name = f"{secrets.token_urlsafe(18)}.{extension}"
        self.store.add_media(name, kind, request.body)
        return {"url": f"{self._public_url()}/media/{name}"}


def _refuse_foreign(request: Request, allowed: Callable[[str], bool]) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not allowed(kind):
        raise SandboxError("content_type", "This content type isn't taken here.", 415)
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise SandboxError("foreign_origin", "Requests from other sites are refused.", 403)


def _since(request: Request) -> int:
    value = request.query.get("since", "0")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name) or ""
    if not isinstance(value, str) or len(value) > 20_000:
        raise SandboxError(name, f"{name} must be a text.")
    return value


def _seconds(data: dict[str, Any], name: str, default: float) -> float:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise SandboxError(name, f"{name} must be a number from 0 on.")
    return float(value)


def _number(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not is_e164(value):
        raise SandboxError(name, f"{name} must be a phone number like +12125550123.")
    return value


def _line(line: Line, held: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    conversations = held.get(line.number or "", {})
    return {
        "request_id": line.request_id,
        "number": line.number,
        "status": line.status,
        "area_code": line.area_code,
        "conversations": [{"number": number, "messages": texts} for number, texts in conversations.items()],
    }


def _message(message: Message) -> dict[str, Any]:
    kept = ("id", "handle", "is_outbound", "content", "media_url", "send_style", "status", "error_code", "service",
            "shown_from", "tapback_of", "reaction", "fault")  # fmt: skip
    values = asdict(message)
    shown = {name: values[name] for name in kept}
    return shown | {"read": message.read_at is not None, "at": iso(message.created_at)}
