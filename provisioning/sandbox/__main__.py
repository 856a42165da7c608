"""`python -m provisioning.sandbox`: run the provider emulator until it is told to stop."""

from __future__ import annotations

import argparse
import errno
import os
import secrets
import signal
import sqlite3
import sys
import threading
from collections.abc import Sequence

from .server import Sandbox


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m provisioning.sandbox",
        description="An emulator of the Sendblue API with a phone page. Open its address in a browser to see every "
        "line as a phone, to answer as a customer, and to read which numbers and area codes cause which fault.",
        epilog="It has no login: whoever reaches the port can act as any customer. Keep it on the loopback address or "
        "inside a private network, and never give it real customers' data.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9009, help="port to listen on; 0 takes a free one")
    parser.add_argument("--store", default="sandbox.sqlite3", metavar="PATH", help="file to keep all in, or :memory:")
    parser.add_argument(
        "--agency-key-id",
        default=os.environ.get("SANDBOX_AGENCY_KEY_ID", ""),
        help="key id of the agency account; SANDBOX_AGENCY_KEY_ID otherwise",
    )
    parser.add_argument(
        "--agency-secret",
        default=argparse.SUPPRESS,
        help="secret of the agency account; SANDBOX_AGENCY_SECRET otherwise. Other users of the machine can see "
        "arguments: prefer the variable",
    )
    parser.add_argument("--public-url", default=None, help="how others reach it, for picture addresses")
    parser.add_argument(
        "--delivery-delay", type=float, default=0.2, metavar="S", help="seconds before SENT, and again before DELIVERED"
    )
    parser.add_argument(
        "--answer-delay",
        type=float,
        default=0.0,
        metavar="S",
        help="seconds before a send that was taken on is answered",
    )
    parser.add_argument(
        "--line-delay",
        type=float,
        default=None,
        metavar="S",
        help="seconds until an ordinary line is placed by itself; without it, a person places it on the page",
    )
    parser.add_argument(
        "--line-part",
        choices=["assigned_number", "omitted"],
        default="assigned_number",
        help="whether the creation answer names the line; the vendor's real key is not known",
    )
    parser.add_argument(
        "--line-notice",
        choices=["plain", "odd"],
        default="plain",
        help="shape of the line_assigned webhook; the vendor's real one is not known",
    )
    parser.add_argument(
        "--allow-typing-webhook",
        action="store_true",
        help="accept registrations of typing_indicator, which the vendor was seen to refuse",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit code: 0 stopped as told, 2 it could not start."""
    options = _parser().parse_args(arguments)
    key_id = options.agency_key_id
    secret = getattr(options, "agency_secret", "") or os.environ.get("SANDBOX_AGENCY_SECRET", "")
    made_up = not (key_id and secret)
    if made_up:
        key_id, secret = key_id or "sandbox-agency", secrets.token_hex(16)
    try:
        sandbox = Sandbox(
            host=options.host, port=options.port, store=options.store, agency_key_id=key_id, agency_secret=secret,
            public_url=options.public_url, delivery_delay_s=options.delivery_delay, line_delay_s=options.line_delay,
            line_part=options.line_part, line_notice=options.line_notice,
            allow_typing_webhook=options.allow_typing_webhook, answer_delay_s=options.answer_delay,
        )  # fmt: skip
    except (OSError, OverflowError, sqlite3.Error) as error:
        sys.stderr.write(f"sandbox: {_reason(error, options)}\n")
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with sandbox:
        sys.stdout.write(f"Sandbox listens on {sandbox.url}\n")
        if made_up:
            sys.stdout.write(f"No agency credentials were given; for this run: key id {key_id}, secret {secret}\n")
        sys.stdout.flush()
        stop.wait()
    return 0


def _reason(error: Exception, options: argparse.Namespace) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {options.port} on {options.host} is taken; choose another with --port"
    if isinstance(error, sqlite3.Error):
        return f"the store {options.store} can't be used: {error}"
    return f"can't listen on {options.host}:{options.port}: {error}"


if __name__ == "__main__":
    sys.exit(main())
