"""`python -m imessage_hub.demo`: web, worker and sandbox provider together, with a clinic to look at."""

import argparse
import json
import sys
import time
from collections.abc import Sequence

from imessage_hub.demo import environment as env
from imessage_hub.demo.messages import Client, send_all
from imessage_hub.demo.processes import Ended, Processes
from imessage_hub.demo.table import table

WEB_PORT = 8000
SANDBOX_PORT = 9009


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo until Ctrl-C; 0 when every message fared as it should, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m imessage_hub.demo", description=__doc__)
    parser.add_argument("--port", type=int, default=WEB_PORT, help="of the hub; another free one if it is taken")
    parser.add_argument("--sandbox-port", type=int, default=SANDBOX_PORT, help="of the provider's phones; likewise")
    parser.add_argument("--once", action="store_true", help="end after the table instead of serving on")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 0
    except Ended as ended:
        sys.stderr.write(f"{ended}\n")
        return 1


def _run(options: argparse.Namespace) -> int:
    lock = env.lock_files()
    if lock is None:
        _say("A demo runs in this checkout already; end it first.")
        return 1
    if env.ensure_env_file():
        _say(f"Secrets for this checkout: made, in {env.CHECKOUT.env_file.name}")
    web_port, sandbox_port = _port("hub", options.port), _port("sandbox", options.sandbox_port)
    variables = env.environment(web_port=web_port, sandbox_port=sandbox_port)
    hub, phones = variables["HUB_PUBLIC_URL"], variables["SENDBLUE_BASE_URL"]
    with Processes(variables, env.CHECKOUT.files) as processes:
        clinic = bring_up(processes, variables)
        _say("Sending one message for each rule …\n")
        results = send_all(Client(hub, clinic["api_key"]), clinic)
        _say(table(results))
        well = all(result.as_expected for result in results)
        _say("Everything fared as it should." if well else "Not everything fared as it should: see the table.")
        if options.once:
            return 0 if well else 1
        _say(_where_to_look(hub, phones, clinic, variables["HUB_DEMO_PASSWORD"]))
        while True:
            processes.check()
            time.sleep(0.5)


def bring_up(
    processes: Processes,
    variables: dict[str, str],
    place: env.Place = env.CHECKOUT,
    *,
    sandbox_options: Sequence[str] = (),
) -> dict[str, str]:
    """Start everything on an empty database, load the clinic, and return what `load_demo` told of it."""
    hub, phones = variables["HUB_PUBLIC_URL"], variables["SENDBLUE_BASE_URL"]
    env.fresh_files(place)
    _say("Database: a fresh SQLite file …")
    processes.run("manage.py", "migrate", "--verbosity", "0")
    _say("Starting the sandbox provider, the web server and the worker …")
    processes.start("sandbox", [*_sandbox(phones, place), *sandbox_options])
    processes.start("web", _web(hub))
    processes.start("worker", ["manage.py", "deliver"])
    processes.wait_for("sandbox", f"{phones}/_sandbox/health")
    processes.wait_for("web", f"{hub}/health/ready")
    _say("A clinic with four connected accounts and a line to come …")
    clinic: dict[str, str] = json.loads(processes.run("manage.py", "load_demo"))
    return clinic


def _port(name: str, wished: int) -> int:
    port = env.free_port(wished)
    if wished and port != wished:
        _say(f"Port {wished} is taken; the {name} takes {port} instead.")
    return port


def _sandbox(url: str, place: env.Place) -> list[str]:
    return ["-m", "provisioning.sandbox", "--port", _port_of(url), "--store", str(place.files / "sandbox.sqlite3")]


def _port_of(url: str) -> str:
    return url.rpartition(":")[2]


def _web(url: str) -> list[str]:
    return [
        "-m",
        "granian",
        "--interface",
        "wsgi",
        "--host",
        env.HOST,
        "--port",
        _port_of(url),
        "--no-ws",
        "--blocking-threads",
        "4",
        "imessage_hub.wsgi:application",
    ]


def _where_to_look(hub: str, phones: str, clinic: dict[str, str], password: str) -> str:
    return f"""
  Admin      {hub}/admin/        sign in as {clinic["admin"]} / {password}
             ({clinic["agent"]} is an agent there, {clinic["viewer"]} a viewer; the same password)
  Phones     {phones}/             every line as a phone: answer as a customer
  API docs   {hub}/api/v1/docs/
  API key    {clinic["api_key"]}
  Logs       {env.CHECKOUT.files.relative_to(env.BASE_DIR)}/*.log

  curl -H 'Authorization: Bearer {clinic["api_key"]}' \\
       -H 'Content-Type: application/json' \\
       -d '{{"to": "{clinic["nobody"]}", "text": "Hello from the hub"}}' {hub}/api/v1/messages/

Ctrl-C stops all three."""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
