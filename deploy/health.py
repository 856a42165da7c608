"""Whether the web process of this container answers: the container's health check. Exit code 0 or 1.

`HUB_HEALTH_URL` names another address than this container's own.
"""

import os
import sys
import urllib.error
import urllib.request

WITHIN_S = 4


def allowed_host() -> str:
    """A name the hub answers to: the first of ALLOWED_HOSTS, as the hub refuses others."""
    first = os.environ.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".")
    return first if first and first != "*" else "localhost"


def main() -> int:
    """Ask once."""
    url = os.environ.get("HUB_HEALTH_URL", "http://127.0.0.1:8000/health/live")
    request = urllib.request.Request(url, headers={"Host": allowed_host()})  # noqa: S310  (an address of ours)
    try:
        with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310
            return 0 if answer.status == 200 else 1
    except (urllib.error.URLError, OSError) as error:
        sys.stderr.write(f"not live: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
