"""The emulated endpoints of Sendblue: what they take, what they answer, how they refuse.

Shapes follow the vendor's documented samples and a third party's captures; where neither shows anything, the docstring
of the function says that the answer is ours.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Any

from . import bodies, fields
from .faults import SendFault, line_fault
from .network import TAPBACKS, Network
from .store import Account, Line
from .wire import Request, Response, SandboxError

WEBHOOK_TYPES = ("receive", "call_log", "line_blocked", "line_assigned", "outbound", "contact_created")
CONTENT_LIMIT = 18_995
OVERSIZE_BYTES = 4 * 1024 * 1024
_ORDER = {
    "createdAt": "created_at", "created_at": "created_at", "updatedAt": "updated_at", "updated_at": "updated_at",
    "sentAt": "created_at", "sent_at": "created_at",
}  # fmt: skip
_TIME_FILTERS = {
    "created_at_gte": "created_at >= ?", "created_at_lte": "created_at <= ?", "updated_at_gte": "updated_at >= ?",
    "updated_at_lte": "updated_at <= ?", "sent_at_gte": "created_at >= ?", "sent_at_lte": "created_at <= ?",
}  # fmt: skip
_TEXT_FILTERS = {
    "number": "number = ?",
    "sendblue_number": "COALESCE(shown_from, line) = ?",
    "status": "status = ?",
    "service": "service = ?",
    "from_number": "CASE is_outbound WHEN 1 THEN COALESCE(shown_from, line) ELSE number END = ?",
    "to_number": "CASE is_outbound WHEN 1 THEN number ELSE COALESCE(shown_from, line) END = ?",
}
_PAGE_LIMIT, _PAGE_DEFAULT = 100, 50


class SendblueApi:
    """Answers requests to the emulated provider. The account of the credentials bounds all it shows and does."""

    def __init__(self, network: Network) -> None:
        self.network, self.store = network, network.store
        self._routes: dict[tuple[str, str], Callable[[Account, Request], Response]] = {
            ("POST", "/accounts/lines/request-child-account"): self.request_child_account,
            ("POST", "/request-child-account"): self.request_child_account,
            ("GET", "/api/lines"): self.list_lines,
            ("GET", "/api/v2/lines/state"): self.lines_state,
            ("GET", "/api/account/webhooks"): self.list_webhooks,
            ("POST", "/api/account/webhooks"): self.append_webhooks,
            ("PUT", "/api/account/webhooks"): self.replace_webhooks,
            ("DELETE", "/api/account/webhooks"): self.delete_webhooks,
            ("POST", "/api/send-message"): self.send_message,
            ("GET", "/api/status"): self.status,
            ("GET", "/api/v2/messages"): self.list_messages,
            ("POST", "/api/mark-read"): self.mark_read,
            ("POST", "/api/send-typing-indicator"): self.send_typing_indicator,
            ("POST", "/api/send-reaction"): self.send_reaction,
        }
        self._paths = {path for _, path in self._routes}

    def handle(self, request: Request) -> Response:
        """The answer to any request outside /_sandbox/, /media/ and the page."""
        key_id, secret = request.headers.get("sb-api-key-id"), request.headers.get("sb-api-secret-key")
        if not key_id or not secret:
            return Response.of({"message": "Did not get inputs for authorization"}, 403)
        account_id = self.store.authenticate(key_id, secret)
        if account_id is None:
            return Response.of({"status": "ERROR", "message": "Invalid Credentials"}, 401)
        try:
            if status := self.network.faults.endpoint_status(request.method, request.path):
                raise SandboxError("injected", "Injected failure", status)
            return self._route(request)(self.store.account(account_id), request)
        except NoRouteError as error:
            body = {"status": "ERROR", "status_code": 400, "error_message": error.detail, "number": error.number}
            return Response.of(body, 400)
        except SandboxError as error:
            if request.path == "/api/account/webhooks":
                return Response.of({"status": "ERROR", "message": error.detail}, error.status)
            return refusal(error.detail, error.status)

    def _route(self, request: Request) -> Callable[[Account, Request], Response]:
        if request.path.startswith("/api/v2/messages/") and request.method == "GET":
            return self.get_message
        route = self._routes.get((request.method, request.path))
        if route is None:
            known = request.path in self._paths
            raise SandboxError("no_route", "Method not allowed" if known else "Not found", 405 if known else 404)
        return route

    # Subaccounts and lines

    def request_child_account(self, account: Account, request: Request) -> Response:
        """Create a subaccount; its secret is in this answer and never again.

        Every copy of the vendor's page breaks off after `api_secret`, in a key that starts with "assign": our
        `assigned_number` (null while pending) is an invention, and `line_part="omitted"` leaves it out.
        """
        if not account.is_agency:
            raise SandboxError("not_agency", "This account has no agency permission", 403)
        data = request.json()
        name, email, wants_line = (data.get(key) for key in ("company_name", "primary_email", "provision_line"))
        area_code = data.get("desired_area_code") or None
        if not isinstance(name, str) or not name.strip() or len(name) > 200:
            raise SandboxError("company_name", "company_name is required")
        if not isinstance(email, str) or "@" not in email:
            raise SandboxError("primary_email", "primary_email must be an email address")
        if not isinstance(wants_line, bool):
            raise SandboxError("provision_line", "provision_line is required and must be a boolean")
        if area_code is not None and not (isinstance(area_code, str) and re.fullmatch(r"[2-9]\d\d", area_code)):
            raise SandboxError("area_code", "desired_area_code must be a 3-digit area code")
        rule = line_fault(area_code) if wants_line else None
        if rule and not rule.created:
            raise SandboxError(rule.name, rule.error, rule.status)
        key_id, secret = secrets.token_hex(16), secrets.token_hex(16)
        child = self.store.add_account(name.strip(), email, key_id, secret)
        number = self.network.request_line(child, area_code).number if wants_line else None
        answer: dict[str, Any] = {"company_name": child.company_name, "api_key": key_id, "api_secret": secret}
        if self.network.behaviour.line_part == "assigned_number" and not (rule and not rule.line_part):
            answer["assigned_number"] = number
        response = Response.of({"status": "OK", "data": answer})
        if rule is None or rule.answer == "ok":
            return response
        if rule.answer == "hang":
            response.hold_s = self.network.faults.hang_s
        elif rule.answer == "reset":
            response.manner = "reset"
        elif rule.answer == "garbage":
            response.body, response.content_type = b"<html>upstream says hello", "text/html"
        else:
            return refusal(rule.error, rule.status)
        return response

    def list_lines(self, account: Account, request: Request) -> Response:
        return Response.of({"numbers": [line.number for line in self._placed(account)]})

    def lines_state(self, account: Account, request: Request) -> Response:
        rows = [bodies.line_state(line) for line in self._placed(account)]
        return Response.of({"status": "OK", "snapshot_at": bodies.iso(time.time()), "data": rows})

    def _placed(self, account: Account) -> list[Line]:
        return [line for line in self.store.lines(account_id=account.id) if line.number]

    # Webhooks

    def list_webhooks(self, account: Account, request: Request) -> Response:
        return Response.of({"status": "OK", "webhooks": self._webhooks(account)})

    def append_webhooks(self, account: Account, request: Request) -> Response:
        data = request.json()
        kind = self._webhook_type(data)
        hooks = [fields.webhook(kind, entry) for entry in fields.listed(data.get("webhooks"))]
        for hook in hooks:
            self.store.add_webhook(account.id, hook)
        if data.get("globalSecret"):
            self.store.set_global_secret(account.id, fields.secret(data["globalSecret"]))
        return self._webhooks_changed(account, "Webhooks added successfully")

    def replace_webhooks(self, account: Account, request: Request) -> Response:
        """Replace every registration; the typing indicator is dropped in silence, as was seen at the vendor."""
        wanted = request.json().get("webhooks")
        if not isinstance(wanted, dict):
            raise SandboxError("webhooks", "webhooks must be an object")
        hooks = [fields.webhook(kind, entry) for kind in self._types() for entry in fields.listed(wanted.get(kind, []))]
        secret = wanted.get("globalSecret")
        self.store.replace_webhooks(account.id, hooks, fields.secret(secret) if secret else None)
        return self._webhooks_changed(account, "Webhooks updated successfully")

    def delete_webhooks(self, account: Account, request: Request) -> Response:
        data = request.json()
        kind = self._webhook_type(data)
        urls = [fields.webhook(kind, entry).url for entry in fields.listed(data.get("webhooks"))]
        self.store.remove_webhooks(account.id, kind, urls)
        return self._webhooks_changed(account, "Webhooks deleted successfully")

    def _types(self) -> tuple[str, ...]:
        return (*WEBHOOK_TYPES, "typing_indicator") if self.network.behaviour.allow_typing_webhook else WEBHOOK_TYPES

    def _webhook_type(self, data: dict[str, Any]) -> str:
        kind = data.get("type", "receive")
        if kind not in self._types():
            raise SandboxError("type", f"Invalid webhook type. Must be one of: {', '.join(self._types())}")
        return str(kind)

    def _webhooks_changed(self, account: Account, message: str) -> Response:
        return Response.of({"message": message, "status": "OK", "webhooks": self._webhooks(account)})

    def _webhooks(self, account: Account) -> dict[str, Any]:
        shown: dict[str, Any] = {kind: [] for kind in self._types()}
        for hook in self.store.webhooks(account.id):
            entry = {"url": hook.url, "secret": hook.secret} if hook.secret else hook.url
            shown.setdefault(hook.type, []).append(entry)
        if secret := self.store.account(account.id).global_secret:
            shown["globalSecret"] = secret
        return shown

    # Messages

    def send_message(self, account: Account, request: Request) -> Response:
        data = request.json()
        number, content, media_url = data.get("number"), data.get("content") or "", data.get("media_url") or ""
        if not isinstance(number, str) or not fields.is_e164(number):
            raise SandboxError("number", "You must specify a valid 'number'")
        line = self._own_line(account, data.get("from_number"))
        if not isinstance(content, str) or not isinstance(media_url, str) or not (content or media_url):
            raise SandboxError("content", "You must specify either 'content' or 'media_url'")
        if len(content) > CONTENT_LIMIT:
            raise SandboxError("content", f"'content' must be at most {CONTENT_LIMIT} characters")
        style, callback = data.get("send_style") or "", data.get("status_callback") or ""
        if not isinstance(style, str):
            raise SandboxError("send_style", "'send_style' must be a string")
        if media_url:
            fields.checked_url(media_url)
        if callback:
            fields.checked_url(callback)
        if line.status == "BLOCKED":
            raise SandboxError("line_blocked", "This line has been blocked", 403)
        fault = self.network.faults.for_send(number, content)
        if fault and not fault.accepted:
            return self._refuse_send(fault, request)
        message = self.network.accept(
            account, line, number=number, content=content, media_url=media_url, send_style=style,
            status_callback=callback, fault=fault,
        )  # fmt: skip
        response = Response.of(bodies.send_answer(message, account))
        response.hold_s = self.network.behaviour.answer_delay_s
        return self._spoil_answer(response, fault, message.handle) if fault else response

    def _own_line(self, account: Account, number: object) -> Line:
        line = self.store.line(number=number) if isinstance(number, str) else None
        if line is None or line.account_id != account.id:
            raise SandboxError("from_number", "You must specify a valid 'from_number'")
        return line

    def _refuse_send(self, fault: SendFault, request: Request) -> Response:
        faults = self.network.faults
        if fault.answer == "reset":
            return Response(manner="reset")
        if fault.answer == "redirect":
            return Response(fault.status, headers={"location": f"/redirected{request.path}"})
        response = refusal(fault.error, fault.status)
        if fault.status == 401:
            response = Response.of({"status": "ERROR", "message": fault.error}, 401)
        if fault.retry_after:
            response.headers["retry-after"] = str(faults.retry_after_s)
        if fault.answer == "hang":
            response.hold_s = faults.hang_s
        return response

    def _spoil_answer(self, response: Response, fault: SendFault, handle: str) -> Response:
        """The answer to a message that was taken on, spoilt as the fault says."""
        match fault.answer:
            case "hang":
                response.hold_s = self.network.faults.hang_s
            case "drip":
                response.hold_s, response.manner = self.network.faults.hang_s, "drip"
            case "reset" | "close" | "truncated":
                response.manner = fault.answer
            case "refuse":
                return refusal(fault.error, fault.status)
            case "garbage":
                response.body, response.content_type = b"<html>\x00 502? 200? who knows", "text/html"
            case "oversize":
                response.body = response.body[:-1] + b', "padding": "' + b"x" * OVERSIZE_BYTES + b'"}'
            case "no_handle":
                response = Response.of({"status": "QUEUED", "error_code": None, "error_message": None})
            case "after_callbacks":
                response.prepare = lambda: self.network.sender.drain(10, lane=handle)
        return response

    def status(self, account: Account, request: Request) -> Response:
        return Response.of(self._message_object(account, request.query.get("handle", "")))

    def get_message(self, account: Account, request: Request) -> Response:
        handle = request.path.removeprefix("/api/v2/messages/")
        return Response.of({"status": "OK", "data": self._message_object(account, handle)})

    def _message_object(self, account: Account, handle: str) -> dict[str, Any]:
        message = self.store.message(handle)
        if message is None or message.account_id != account.id:
            raise SandboxError("not_found", "Message not found", 404)
        return bodies.message_object(message, account)

    def list_messages(self, account: Account, request: Request) -> Response:
        query = request.query
        where, values = ["account_id = ?"], [account.id]  # type: tuple[list[str], list[object]]
        for name, condition in _TEXT_FILTERS.items():
            if query.get(name):
                where.append(condition)
                values.append(query[name])
        for name, condition in _TIME_FILTERS.items():
            if query.get(name):
                where.append(condition)
                values.append(fields.moment_of(query[name]))
        if query.get("is_outbound"):
            where.append("is_outbound = ?")
            values.append(query["is_outbound"] == "true")
        column = _ORDER.get(query.get("order_by", "createdAt"))
        direction = query.get("order_direction", "desc")
        if column is None or direction not in ("asc", "desc"):
            raise SandboxError("order", "Invalid order_by or order_direction")
        limit, offset = (
            min(fields.whole_number(query, "limit", _PAGE_DEFAULT), _PAGE_LIMIT),
            fields.whole_number(query, "offset", 0),
        )
        condition = " AND ".join(where)
        found = self.store.messages(
            condition, values, order=f"{column} {direction}, id {direction}", limit=limit, offset=offset
        )
        total = self.store.count_messages(condition, values)
        pagination = {"total": total, "limit": limit, "offset": offset, "hasMore": offset + len(found) < total}
        data = [bodies.message_object(message, account) for message in found]
        return Response.of({"status": "OK", "data": data, "pagination": pagination})

    def mark_read(self, account: Account, request: Request) -> Response:
        """The business has read the customer's messages; the page shows it under them."""
        data = request.json()
        line, number = self._route_of(account, data)
        for message in self.store.messages(
            "line = ? AND number = ? AND is_outbound = 0 AND read_at IS NULL", (line, number)
        ):
            self.store.update_message(message.handle, read_at=time.time())
        return Response.of({"status": "OK", "message": "Mark read request sent", "number": number})

    def send_typing_indicator(self, account: Account, request: Request) -> Response:
        data = request.json()
        line, number = self._route_of(account, data)
        lasts_ms = data.get("max_duration_ms", 60_000)
        if not isinstance(lasts_ms, int) or not 1 <= lasts_ms <= 300_000:
            raise SandboxError("max_duration_ms", "max_duration_ms must be between 1 and 300000")
        if data.get("state", "start") not in ("start", "stop"):
            raise SandboxError("state", "state must be start or stop")
        lasts_s = lasts_ms / 1000 if data.get("state", "start") == "start" else 0
        self.network.set_typing(line=line, customer=number, who="business", lasts_s=lasts_s)
        return Response.of({"status": "QUEUED", "status_code": 200, "error_message": None, "number": number})

    def _route_of(self, account: Account, data: dict[str, Any]) -> tuple[str, str]:
        """Line and customer of a request; refused as the vendor does when they have never exchanged a message."""
        line, number = self._own_line(account, data.get("from_number")).number or "", data.get("number")
        if not isinstance(number, str) or not fields.is_e164(number):
            raise SandboxError("number", "You must specify a valid 'number'")
        if not self.store.has_route(account.id, line, number):
            raise NoRouteError(number)
        return line, number

    def send_reaction(self, account: Account, request: Request) -> Response:
        """Put a tapback on a customer's message. The vendor's answer isn't documented: this one is ours."""
        data = request.json()
        self._own_line(account, data.get("from_number"))
        handle, reaction = data.get("message_handle"), data.get("reaction")
        if reaction not in TAPBACKS:
            raise SandboxError("reaction", f"reaction must be one of: {', '.join(TAPBACKS)}")
        self._message_object(account, handle if isinstance(handle, str) else "")
        self.store.update_message(str(handle), reaction=reaction)
        return Response.of({"status": "OK", "message": "Reaction sent", "message_handle": handle})


class NoRouteError(SandboxError):
    """Line and customer have no conversation."""

    def __init__(self, number: str) -> None:
        super().__init__("no_route_mapping", "No route mapping found for number, have you messaged them before?")
        self.number = number


def refusal(detail: str, status: int) -> Response:
    """A refusal in the vendor's usual shape."""
    return Response.of({"status": "ERROR", "status_code": status, "error_message": detail}, status)
