"""Settings of the whole test suite."""

import functools
from contextlib import suppress

from hypothesis import HealthCheck, settings

# Shared machines stall for moments: a slow example says nothing about the code.
settings.register_profile(
    "algorium", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("algorium")

# Each `httpx2.get` makes a client, and each client reads all certificate authorities: 50 ms of
# processor time, thousands of times, for servers that speak no TLS. Read once, they do for all.
with suppress(ImportError):  # tests of the runtime run where nothing else is installed
    import httpcore2

    httpcore2.default_ssl_context = functools.cache(httpcore2.default_ssl_context)
