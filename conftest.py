"""Settings of the whole test suite."""

from hypothesis import HealthCheck, settings

# Shared machines stall for moments: a slow example says nothing about the code.
settings.register_profile(
    "algorium", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("algorium")
