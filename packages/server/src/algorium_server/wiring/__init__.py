"""Houses of their own, built and wired together: what `app` opens for a gateway."""
