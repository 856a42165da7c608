"""/health/live and /health/ready."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.utils import timezone

from imessage_hub import health
from messaging.models import Message


@pytest.fixture
def anybody():
    return Client(raise_request_exception=False)


def test_live_asks_nobody(anybody, django_assert_num_queries):
    answer = anybody.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


@pytest.mark.django_db
def test_ready_tells_of_each_part(anybody):
    answer = anybody.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "database": "ok",
        "migrations": "ok",
        "queue": {"oldest_due_s": 0.0},
    }


def test_ready_tells_how_long_the_first_waits(clinic, api, anybody):
    for minutes in (1, 5):
        message = api.post("/api/v1/messages/", clinic.text()).json()
        Message.objects.filter(pk=message["id"]).update(due_at=timezone.now() - timedelta(minutes=minutes))
    waited = anybody.get("/health/ready").json()["queue"]["oldest_due_s"]
    assert 300 <= waited < 360
    api.post("/api/v1/messages/", clinic.text(scheduled_at="2027-01-01T00:00:00Z"))
    assert anybody.get("/health/ready").json()["queue"]["oldest_due_s"] < 360


@pytest.mark.django_db
def test_not_ready_without_the_migrations(anybody, monkeypatch):
    monkeypatch.setattr(health, "_migrated", False)
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda self, targets: ["one"])
    answer = anybody.get("/health/ready")
    assert (answer.status_code, answer.json()["migrations"]) == (503, "pending")
    monkeypatch.undo()
    assert anybody.get("/health/ready").status_code == 200


@pytest.mark.django_db
def test_not_ready_without_the_database(anybody, monkeypatch):
    def away(*args, **kwargs):
        raise OperationalError("could not connect to host db-canary.internal")

    monkeypatch.setattr(connection, "cursor", away)
    answer = anybody.get("/health/ready")
    assert (answer.status_code, answer.json()["database"]) == (503, "unreachable")
    assert "canary" not in answer.content.decode()
    assert anybody.get("/health/live").status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_only_to_be_read(anybody, path):
    assert anybody.post(path).status_code == 405
