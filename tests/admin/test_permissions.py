"""Who may open which page, and who may post to it: every role, every model."""

import pytest
from django.test import Client

from routing.models import Membership, User
from tests.admin.world import MODELS, World, operation, sign_in, url
from tests.factories import make_account, make_user

ALL = frozenset(MODELS)
NONE: frozenset[str] = frozenset()
SEEN = ALL - {"user", "apikey", "invitation", "auditentry"}
# Per role: what it may list and open, add, change, delete.
MAY = {
    "operator": (ALL, {"location", "membership", "user", "apikey", "invitation", "contact", "setup"},
                 ALL - {"apikey", "invitation", "auditentry", "providerevent", "message", "thread", "messagebatch"},
                 {"membership"}),
    "admin": (ALL - {"user"}, {"apikey", "invitation", "contact", "setup"},
              {"location", "membership", "account", "contact", "setup"}, {"membership"}),
    "agent": (SEEN, NONE, {"contact"}, NONE),
    "viewer": (SEEN, NONE, NONE, NONE),
    "stranger": (NONE, NONE, NONE, NONE),
}  # fmt: skip


@pytest.fixture
def people(ours: World, operator: User) -> dict[str, User]:
    """Everybody by role."""
    return {
        "operator": operator,
        "admin": ours.admin,
        "agent": ours.agent,
        "viewer": ours.viewer,
        "stranger": make_user("stranger"),
    }


@pytest.mark.parametrize("role", list(MAY))
def test_pages_open_for_those_who_may(role: str, people: dict[str, User], ours: World) -> None:
    client = sign_in(people[role])
    for model, row in ours.rows.items():
        view, add, change, delete = (model in names for names in MAY[role])
        got = {
            "list": client.get(url(model)).status_code,
            "add": client.get(url(model, "add")).status_code,
            "change": client.get(url(model, "change", row)).status_code,
            "delete": client.get(url(model, "delete", row)).status_code,
            "history": client.get(url(model, "history", row)).status_code,
        }
        # Rows of a model that is not for the user are as absent as their history: back to the index.
        assert got == {
            "list": 200 if view else 403,
            "add": 200 if add else 403,
            "change": 200 if view else 403,
            "delete": 200 if delete else 403,
            "history": 200 if view else 302,
        }, model
        if view:
            assert (b'name="_save"' in client.get(url(model, "change", row)).content) is change, model


@pytest.mark.parametrize("role", list(MAY))
def test_posts_are_refused_to_those_who_may_not(role: str, people: dict[str, User], ours: World) -> None:
    client = sign_in(people[role])
    for model, row in ours.rows.items():
        _, add, change, delete = (model in names for names in MAY[role])
        assert (client.post(url(model, "add"), {}).status_code == 403) is not add, model
        assert (client.post(url(model, "change", row), {}).status_code == 403) is not change, model
        if not delete:
            assert client.post(url(model, "delete", row), {"post": "yes"}).status_code == 403, model


@pytest.mark.parametrize("role", list(MAY))
def test_the_index_names_only_what_the_user_may_see(role: str, people: dict[str, User]) -> None:
    answer = sign_in(people[role]).get("/admin/")
    assert answer.status_code == 200
    shown = {model for model in MODELS if f'href="{url(model)}"'.encode() in answer.content}
    assert shown == MAY[role][0]


def test_strangers_to_the_admin_are_sent_to_sign_in(ours: World) -> None:
    inactive = make_user("gone", superuser=True, is_active=False)
    nobody = make_user("nobody", superuser=True, is_staff=False)
    for client in (Client(), sign_in(inactive), sign_in(nobody)):
        for model, row in ours.rows.items():
            for page in (url(model), url(model, "change", row), url(model, "add")):
                assert client.get(page).status_code == 302
                assert client.get(page)["Location"].startswith("/admin/login/")


OPERATIONS = [
    ("account", "make-default", {"operator", "admin"}),
    ("account", "disable", {"operator", "admin"}),
    ("account", "retire", {"operator", "admin"}),
    ("contact", "opt-out", {"operator", "admin", "agent"}),
    ("message", "cancel", {"operator", "admin", "agent"}),
    ("apikey", "revoke", {"operator", "admin"}),
    ("invitation", "withdraw", {"operator", "admin"}),
    ("setup", "refresh", {"operator", "admin"}),
    ("setup", "rotate-webhook-secret", {"operator", "admin"}),
    ("setup", "close", {"operator", "admin"}),
]


@pytest.mark.parametrize("role", ["agent", "viewer", "stranger"])
def test_operations_are_refused_to_those_who_may_not(role: str, people: dict[str, User], ours: World) -> None:
    second = make_account(ours.location).pk
    client = sign_in(people[role])
    for model, name, allowed in OPERATIONS:
        row = second if model == "account" else ours.rows[model]
        door = operation(model, row, name)
        offered = door.encode() in client.get(url(model, "change", row)).content
        assert offered is (role in allowed), (model, name)
        if role in allowed:
            assert client.get(door).status_code in (200, 302), (model, name)
        else:
            # What a role may not even see is not there for it.
            assert client.post(door).status_code in (403, 404), (model, name)


def test_an_agent_marks_the_default_only_where_it_was_granted(ours: World) -> None:
    second = make_account(ours.location)
    door = operation("account", second.pk, "make-default")
    assert sign_in(ours.agent).post(door).status_code == 403

    Membership.objects.filter(user=ours.agent).update(can_set_default=True)
    assert sign_in(ours.agent).post(door).status_code == 302
    ours.location.refresh_from_db()
    assert ours.location.default_account_id == second.pk


def test_a_viewer_marks_no_default_whatever_was_granted(ours: World) -> None:
    second = make_account(ours.location)
    Membership.objects.filter(user=ours.viewer).update(can_set_default=True)
    client = sign_in(ours.viewer)
    assert client.post(operation("account", second.pk, "make-default")).status_code == 403
    data = {"action": "make_default", "_selected_action": [str(second.pk)]}
    client.post(url("account"), data)
    ours.location.refresh_from_db()
    assert ours.location.default_account_id == ours.account.pk


@pytest.mark.parametrize("action", ["enable", "disable", "make_default"])
def test_account_actions_do_nothing_for_a_viewer(action: str, ours: World) -> None:
    second = make_account(ours.location, is_enabled=action != "enable")
    sign_in(ours.viewer).post(url("account"), {"action": action, "_selected_action": [str(second.pk)]})
    before = second.is_enabled
    second.refresh_from_db()
    ours.location.refresh_from_db()
    assert second.is_enabled is before
    assert ours.location.default_account_id == ours.account.pk


def test_a_role_in_one_location_is_none_in_another(ours: World, theirs: World) -> None:
    """Admin there, viewer here: actions change there only."""
    Membership.objects.create(user=ours.viewer, location=theirs.location, role="admin")
    client = sign_in(ours.viewer)
    both = [str(ours.message.pk), str(theirs.message.pk)]
    client.post(url("message"), {"action": "cancel", "_selected_action": both})
    ours.message.refresh_from_db()
    theirs.message.refresh_from_db()
    assert (ours.message.status, theirs.message.status) == ("queued", "cancelled")

    both = [str(ours.account.pk), str(theirs.account.pk)]
    answer = client.post(url("account"), {"action": "disable", "_selected_action": both})
    assert str(ours.account.pk) not in answer["Location"]
    client.post(answer["Location"])  # the page that says whom it touches
    ours.account.refresh_from_db()
    theirs.account.refresh_from_db()
    assert ours.account.is_enabled
    assert not theirs.account.is_enabled
    assert client.post(url("account", "change", ours.account.pk), {"label": "mine"}).status_code == 403
    assert client.get(url("apikey", "change", ours.api_key.pk)).status_code == 302
    assert client.get(url("apikey", "change", theirs.api_key.pk)).status_code == 200
