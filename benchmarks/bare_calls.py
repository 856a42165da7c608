"""Calls the provider's adapter, and does nothing else: `python -m benchmarks.bare_calls CALLS CONCURRENCY`.

From a pool of threads like the worker's, in a process of its own. Prints JSON: seconds, and processor seconds.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import django


def main() -> int:
    """Call, and tell how long it took."""
    calls, concurrency = int(sys.argv[1]), int(sys.argv[2])
    django.setup()
    from provisioning.providers import get_adapter
    from provisioning.providers.base import Credentials, Outgoing

    adapter, credentials = get_adapter("sendblue"), Credentials("key", "secret")

    def call(number: int) -> str:
        message = Outgoing(
            to=f"+1212{number % 10_000_000:07}",
            from_number="+15550000001",
            text=f"bare {number}",
            idempotency_key=str(number),
            callback_url="http://127.0.0.1:8000/hooks/sendblue/" + "k" * 43 + "/" + "t" * 43 + "/",
        )
        return adapter.send(credentials, message).provider_id

    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(call, range(concurrency * 4)))  # connections stand, and Python is warm
        began, used = time.monotonic(), time.process_time()
        list(pool.map(call, range(calls)))
        took, used = time.monotonic() - began, time.process_time() - used
    sys.stdout.write(json.dumps({"seconds": took, "cpu_s": used}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
