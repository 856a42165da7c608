"""Every address of the admin, from the URL map itself, and what somebody gets there."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import IntegerField, Model
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from routing.models import User
from tests.admin.world import World, sign_in

PREFIXES = ("admin/", "join/", "files/")
"""What the crawler walks: the admin, and the doors beside it that people open with a browser."""

PEOPLE = ("operator", "admin", "agent", "viewer", "other", "stranger", "nobody")
"""Who looks: the last three are another location's admin, a user who is a member of nothing, and nobody signed in."""

WRITERS = ("operator", "admin", "agent")
OF_THEMSELVES = (
    "login",
    "logout",
    "password_change",
    "account",
    "second_factor",
    "recovery_codes",
    "sign_out_everywhere",
)
"""What everybody may change of themselves."""


@dataclass(frozen=True)
class Address:
    """One pattern of the URL map. `path(world)` is where it leads for the world's rows, None for ids of nothing."""

    name: str
    path: Callable[[World | None], str]
    has_object: bool


@dataclass(frozen=True)
class Seen:
    """What came back."""

    status: int
    body: bytes
    headers: str
    writes: tuple[str, ...]
    queries: int


def addresses() -> list[Address]:
    """Every address below `PREFIXES`, in the order of the URL map."""
    found: dict[str, Address] = {}
    for route, pattern in _patterns(get_resolver().url_patterns, ""):
        if route.startswith(PREFIXES):
            for address in _addresses(route, pattern):
                found.setdefault(address.name, address)
    return list(found.values())


def _patterns(patterns: Any, prefix: str) -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern).removeprefix("^")
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, route)
        else:
            yield route, pattern


def _addresses(route: str, pattern: URLPattern) -> Iterator[Address]:
    parameters = re.findall(r"<(?:\w+:)?(\w+)>", route)
    name = pattern.name or "unnamed:" + re.sub(r"[\s|]", "", route)
    template = _template(route)
    model = _model_of(name)
    if name == "app_list":
        for label in sorted({registered._meta.app_label for registered in admin.site._registry}):
            yield Address(f"{name}:{label}", _filled(template, {"app_label": label}, None), has_object=False)
        return
    fixed = {"url": "no-such-page/"} if name.startswith("unnamed:") else {}
    if name.endswith("_operation") and model is not None:
        operations: Any = admin.site.get_model_admin(model)
        for item in operations.operations:
            yield Address(f"{name}:{item.name}", _filled(template, {"name": item.name}, model), has_object=True)
        return
    if name.endswith("_impact") and model is not None:
        weighed: Any = admin.site.get_model_admin(model)
        for item in weighed.weighed:
            path = _filled(f"{template}?id={{object_id}}", {"name": item}, model)
            yield Address(f"{name}:{item}", path, has_object=True)
        return
    yield Address(name, _filled(template, fixed, model), has_object=bool(set(parameters) - fixed.keys()))


def _template(route: str) -> str:
    """The route with `{parameter}` for each parameter, however it is written."""
    route = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", route)
    route = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)
    return "/" + route.removesuffix("$").removesuffix(r"\Z")


def _model_of(name: str) -> type[Model] | None:
    """The model whose admin named the address."""
    models: dict[str, type[Model]] = {"auth_user_": User}
    models |= {f"{model._meta.app_label}_{model._meta.model_name}_": model for model in admin.site._registry}
    return next((model for start, model in models.items() if name.startswith(start)), None)


def _filled(template: str, fixed: dict[str, str], model: type[Model] | None) -> Callable[[World | None], str]:
    def path(world: World | None) -> str:
        names = re.findall(r"{(\w+)}", template)
        return template.format(**{name: fixed.get(name) or _value(name, world, model) for name in names})

    return path


def _value(parameter: str, world: World | None, model: type[Model] | None) -> str:
    """What a parameter is filled with. A new kind of parameter gets its line here."""
    if parameter in ("object_id", "pk", "id"):
        return str(row_of(world, model))
    if parameter == "content_type_id":
        return str(ContentType.objects.get(app_label="routing", model="contact").pk)
    if parameter in ("order", "position", "index", "number"):
        return "0"
    if parameter in ("token", "secret", "key", "name", "word"):
        return f"no-such-{parameter}"
    by_name = {found._meta.model_name: found for found in admin.site._registry}
    known = by_name.get(parameter.removesuffix("_id").removesuffix("_pk"))
    if known is None:
        raise AssertionError(f"tests/admin/crawl.py, `_value`: say what the parameter “{parameter}” is filled with.")
    return str(row_of(world, known))


_ABSENT = uuid4()
_ABSENT_NUMBER = 987_654_321_012


def row_of(world: World | None, model: type[Model] | None) -> UUID | str | int:
    """The id of the world's row of the model; without a world, or for no model, one that is not there."""
    if world is None:
        numbered = model is not None and isinstance(model._meta.pk, IntegerField)
        return _ABSENT_NUMBER if numbered else _ABSENT
    if model is None:
        return world.contact.pk
    if row := world.rows.get(str(model._meta.model_name)):
        return row
    rows: Any = model._default_manager.all()
    path = getattr(rows, "location_path", "location")
    found = rows.filter(**{path: world.location.pk}).values_list("pk", flat=True).first()
    if found is None:
        raise AssertionError(f"make_world makes no {model._meta.label}: give the crawler one to look at.")
    return found  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Crowd:
    """The people who look, signed in."""

    sessions: dict[str, str]

    @classmethod
    def of(cls, **users: Any) -> "Crowd":
        """Sign in everybody who has an account."""
        return cls({name: sign_in(user).cookies["sessionid"].value for name, user in users.items()})

    def ask(self, who: str, method: str, path: str, *, follow: bool = False) -> Seen:
        """What `who` gets; whatever it changed is taken back."""
        client = Client(raise_request_exception=False)
        if who in self.sessions:
            client.cookies["sessionid"] = self.sessions[who]
        taken_back = transaction.atomic()
        taken_back._from_testcase = True  # type: ignore[attr-defined]  # what must run outside transactions may run here
        queries: list[str] = []

        def note(execute: Any, sql: str, *rest: Any) -> Any:
            queries.append(sql)
            return execute(sql, *rest)

        with taken_back, connection.execute_wrapper(note):
            answer = getattr(client, method.lower())(path, follow=follow)
            body = _body(answer)
            transaction.set_rollback(True)
        writes = tuple(
            sql for sql in queries if re.match(r"(INSERT|UPDATE|DELETE)\b", sql) and '"django_session"' not in sql[:60]
        )
        return Seen(answer.status_code, body, str(dict(answer.headers)), writes, len(queries))


def _body(answer: HttpResponseBase) -> bytes:
    return b"".join(answer) if answer.streaming else getattr(answer, "content", b"")


def normal(body: bytes, path: str, *ids: Any) -> bytes:
    """The body without what differs from one request to the next, and without the id that was asked for."""
    body = re.sub(rb'name="csrfmiddlewaretoken" value="[^"]*"', b"", body)
    body = re.sub(rb'(csrf|token)[^"]{0,20}": ?"[^"]*"', b"", body)
    for row in ids:
        body = body.replace(str(row).encode(), b"ID").replace(str(row).replace("-", "_2D").encode(), b"ID")
    return body
