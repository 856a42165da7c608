"""`compose.yaml`, `Dockerfile` and the units of `deploy/`: what they start is there, and no secret is written in them.

No container is started here: what is checked is what would otherwise be noticed only on a server.
"""

import http.server
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

ROOT = Path(settings.BASE_DIR)
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
IMAGE = (ROOT / "Dockerfile").read_text()
DEPLOY = ROOT / "deploy"


def started() -> Iterator[tuple[str, list[str]]]:
    """Every command that a container runs."""
    for name, service in COMPOSE["services"].items():
        if "command" in service:
            yield name, service["command"]
    for instruction in ("CMD", "HEALTHCHECK .* CMD"):
        for words in re.findall(rf"^{instruction} \[(.*?)\]$", IMAGE.replace("\\\n", ""), re.MULTILINE):
            yield "Dockerfile", re.findall(r'"([^"]*)"', words)


STARTED = list(started())


@pytest.mark.django_db  # the WSGI module looks at its keys
@pytest.mark.parametrize(
    ("where", "words"), STARTED, ids=[f"{where} {' '.join(words[:4])}" for where, words in STARTED]
)
def test_what_a_container_starts_exists(where, words):
    match words:
        case ["python", "manage.py", command, *_]:
            assert command in get_commands()
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(f"{module}.__main__")
        case ["python", script]:
            assert (ROOT / script).is_file()
            assert f"!{script}" in (ROOT / ".dockerignore").read_text().splitlines()
        case ["granian", *_, target]:
            module, _, name = target.partition(":")
            assert hasattr(importlib.import_module(module), name)
        case _:
            pytest.fail(f"Nothing is known of {words} in {where}.")


def test_every_process_is_there_and_only_those_that_may_are_reached_from_outside():
    services = COMPOSE["services"]
    assert set(services) == {"db", "migrate", "web", "worker", "sandbox"}
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", ()))
    assert services["sandbox"]["profiles"] == ["sandbox"]
    for name in ("web", "worker"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_workers_get_the_time_they_need_to_stop():
    grace = int(COMPOSE["services"]["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace > (settings.HUB_CALL_DEADLINE + settings.HUB_LEASE).total_seconds()


def test_the_image_holds_what_runs_and_nothing_else():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignore
    assert {app.split(".")[0] for app in settings.INSTALLED_APPS if (ROOT / app.split(".")[0]).is_dir()} <= {
        line.removeprefix("!") for line in ignore if line.startswith("!")
    }
    assert "**/.env*" in ignore
    assert re.search(r"^USER \d+$", IMAGE, re.MULTILINE)
    assert "--require-hashes" in IMAGE


@pytest.mark.parametrize(
    "secret", ["SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "POSTGRES_PASSWORD", "SENDBLUE_AGENCY_SECRET"]
)
def test_no_secret_is_written_down(secret):
    example = (DEPLOY / "env.example").read_text()
    assert re.search(rf"^{secret}=$", example, re.MULTILINE), "the example names it and leaves it empty"
    written = [
        value
        for text in (IMAGE, (ROOT / "compose.yaml").read_text())
        for value in re.findall(rf"(?<!\{{)\b{secret}[=:] ?(\S+)", text)
    ]
    assert all(value.startswith(("${", '"$(')) for value in written), written
    assert not re.search(rf"^(ENV|ARG).*{secret}", IMAGE, re.MULTILINE)


class _Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        right = self.headers["Host"] == "hub.example.com" and self.path == "/health/live"
        self.send_response(200 if right else 400)
        self.end_headers()

    def log_message(self, *args):
        """Nothing."""


@pytest.mark.parametrize(
    ("allowed", "path", "code"),
    [
        ("hub.example.com,other.example.com", "/health/live", 0),
        (".hub.example.com", "/health/live", 0),
        ("", "/health/live", 1),
        ("*", "/health/live", 1),
        ("hub.example.com", "/elsewhere", 1),
    ],
)
def test_the_health_check_asks_by_a_name_that_the_hub_answers_to(allowed, path, code):
    with http.server.HTTPServer(("127.0.0.1", 0), _Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert _check(f"http://127.0.0.1:{server.server_port}{path}", allowed) == code
        finally:
            server.shutdown()
            thread.join()


def test_the_health_check_fails_where_nobody_answers():
    with http.server.HTTPServer(("127.0.0.1", 0), _Hub) as server:
        url = f"http://127.0.0.1:{server.server_port}/health/live"
    assert _check(url, "hub.example.com") == 1


def _check(url: str, allowed: str) -> int:
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "health.py")],
        env={**os.environ, "HUB_HEALTH_URL": url, "ALLOWED_HOSTS": allowed},
        capture_output=True,
        check=False,
        timeout=30,
    )
    return done.returncode


@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda unit: unit.name)
def test_units_start_what_is_there_and_are_no_root(unit):
    lines = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and line[0] != "#")
    assert lines["User"] == "hub"
    program, *words = lines["ExecStart"].split()
    if program.endswith("/python"):
        assert words[0] == "manage.py"
        assert words[1] in get_commands()
        assert int(lines["TimeoutStopSec"]) > (settings.HUB_CALL_DEADLINE + settings.HUB_LEASE).total_seconds()
    else:
        assert program.endswith("/granian")
        assert words[-1] == "imessage_hub.wsgi:application"
