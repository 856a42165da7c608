"""The site as a whole: what the checks refuse, the content security policy."""

import re
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.checks import WARNING, run_checks
from django.http import HttpRequest

from imessage_hub.admin import HubAdminSite
from provisioning.fields import SecretTextField
from routing.models import Account, Contact, User
from routing.scoped_admin import LocationScopedAdmin, ScopedRelatedFilter
from tests.admin.world import MODELS, World, operation, sign_in, url


def findings(model: Any, **attributes: Any) -> set[str | None]:
    """What the checks say about an admin of the model with these attributes."""
    base = attributes.pop("base", LocationScopedAdmin)
    site = HubAdminSite()
    site.register(model, type("OddAdmin", (base,), attributes))
    return {finding.id for finding in site.check(None)}


# --- checks -----------------------------------------------------------------------------------------------------------


def test_the_checks_are_content() -> None:
    assert [finding for finding in run_checks() if finding.is_serious(WARNING) and "admin" in str(finding.obj)] == []
    assert HubAdminSite().check(None) == admin.site.check(None) == []
    assert findings(Contact, list_filter=[("location", ScopedRelatedFilter)]) == set()


def test_the_checks_refuse_what_would_leak() -> None:
    def unnamed(self: Any, request: HttpRequest, queryset: Any) -> None:
        """An action without permissions."""

    class Inline(admin.TabularInline):  # type: ignore[type-arg]
        model = Contact.tags.through

    assert "hub.E010" in findings(Contact, base=admin.ModelAdmin)
    assert "routing.E101" in findings(Account, list_display=["index", "label"], list_editable=["label"])
    assert "routing.E102" in findings(Contact, raw_id_fields=["location"])
    assert "routing.E103" in findings(Contact, show_facets=admin.ShowFacets.ALLOW)
    assert "routing.E104" in findings(Contact, actions=[unnamed])
    assert "routing.E105" in findings(Contact, inlines=[Inline])
    assert "routing.E106" in findings(Contact, list_filter=["location"])
    assert "routing.E107" in findings(Account, list_filter=["can_send"])


def test_nothing_is_registered_but_ours() -> None:
    registered = {model._meta.model_name: model._meta.app_label for model in admin.site._registry}
    assert registered == MODELS
    assert not admin.site.is_registered(Group)


def test_no_admin_names_a_secret_column_anywhere() -> None:
    for model, model_admin in admin.site._registry.items():
        secret = {field.name for field in model._meta.fields if isinstance(field, SecretTextField)}
        secret |= {"digest", "token_digest", "webhook_key", "password"}
        named = {*model_admin.list_display, *model_admin.search_fields, *model_admin.lookups}  # type: ignore[attr-defined]
        named |= set(model_admin.ordering or ()) | {str(item) for item in model_admin.list_filter}
        assert not {name for name in named if any(word in str(name).split("__") for word in secret)}, model


# --- content security policy ------------------------------------------------------------------------------------------


def test_no_page_needs_more_than_the_policy_allows(ours: World, operator: User) -> None:
    """`default-src 'self'` blocks inline scripts, inline styles and event handlers: there are none."""
    client = sign_in(operator)
    pages = [
        "/admin/",
        "/admin/password_change/",
        "/admin/account/",
        "/admin/account/second-factor/",
        "/admin/routing/",
        "/admin/provisioning/setup/connect/",
    ]
    for model, row in ours.rows.items():
        pages += [url(model), url(model, "change", row), url(model, "history", row), url(model, "add")]
    pages += [url("membership", "delete", ours.rows["membership"]), f"/admin/routing/user/{ours.agent.pk}/password/"]
    pages += [operation("setup", ours.setup.pk, name) for name in ("close", "rotate-webhook-secret")]
    pages += [url("account") + "?q=nothing", url("location") + "?all="]
    for page in pages:
        answer = client.get(page, follow=True)
        content = answer.content.decode()
        assert "default-src 'self'" in answer["Content-Security-Policy"], page
        if answer.status_code == 403:
            continue
        assert not re.search(r"<script(?![^>]*\bsrc=)", content), page
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", content), page
        assert not re.search(r'(?:src|href)="(?:https?:)?//', content), page
        assert "hub/tokens.css" in content, page
        assert "no-store" in answer.get("Cache-Control", ""), page


def test_the_site_bears_our_name(ours: World) -> None:
    content = sign_in(ours.admin).get("/admin/").content.decode()
    assert "<title>Home | iMessage Hub</title>" in content
    assert "Django" not in content
    assert "View site" not in content
