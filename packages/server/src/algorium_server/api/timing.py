"""
Where the time of a call went, as a header for browsers and people.

Source: W3C, "Server Timing".
"""

from algorium_server.domain.calls import Timings


def server_timing(timings: Timings) -> bytes:
    """
    Return the value of `Server-Timing`: in line, loading, running, each in milliseconds.

    Example: `queue;dur=0.1, load;dur=0, run;dur=1.2`. Tenths of a millisecond; zero is short.
    """
    load_s = timings.load_s
    return b"queue;dur=%.1f, load;dur=%b, run;dur=%.1f" % (
        timings.queue_s * 1000,
        b"%.1f" % (load_s * 1000) if load_s else b"0",
        timings.run_s * 1000,
    )
