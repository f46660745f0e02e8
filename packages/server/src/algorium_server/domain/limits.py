"""
Every limit, with its unit in the name and its reason beside it.

Source: wire specification, "Limits"; runtime design, "Slot protocol", "Output capture".
"""

from typing import Final

MIB: Final = 1024 * 1024

# Calls
CALL_INPUT_BYTES_MAX: Final = 10 * MIB
"""Larger inputs belong into the Data API."""
CALL_OUTPUT_BYTES_MAX: Final = 15_000_000
"""15 MB on the wire: base64 output counts as encoded."""
CALL_TIMEOUT_S_DEFAULT: Final = 300.0
CALL_TIMEOUT_S_MAX: Final = 3000.0
"""Longer timeouts are clamped, not refused: callers of the old service relied on that."""
CALLS_IN_FLIGHT_PER_ACCOUNT_MAX: Final = 80
CHILD_CALLS_PER_TREE_MAX: Final = 24
"""Calls that one root call may have open below itself, in parallel or nested."""
CALL_KILL_GRACE_S: Final = 2.0
"""Between SIGTERM and SIGKILL for a call past its deadline."""

# Slots
LOAD_TIMEOUT_S: Final = 300.0
"""A hang while importing or in `load()` must not hang for ever."""
SLOT_HEADER_BYTES_MAX: Final = 64 * 1024
SLOT_BODY_BYTES_MAX: Final = 64 * MIB
"""What a slot may send in one frame: room to say "16 MB is too large" instead of breaking off."""
STDOUT_BYTES_MAX: Final = MIB
"""Kept per call: head and tail, the gap is noted."""
SLOT_MEMORY_BYTES: Final = 2048 * MIB
SLOT_TMP_BYTES: Final = 512 * MIB
SLOT_PROCESSES_MAX: Final = 256
SLOT_OPEN_FILES_MAX: Final = 4096
SLOT_SOURCE_COPY_BYTES_MAX: Final = 64 * MIB
"""Source trees up to this size are writable copies inside the slot, larger ones read-only."""
SLOT_IDLE_S: Final = 600.0
QUEUE_CALLS_MAX: Final = 1000
"""Per slot key; beyond it callers hear "no" at once instead of waiting in vain."""

# Data
FILE_NAME_BYTES_MAX: Final = 255
COLLECTION_NAME_CHARS_MAX: Final = 100
LISTING_ENTRIES_MAX: Final = 1000
DATA_JSON_BYTES_MAX: Final = 64 * 1024
"""Bodies of POST and PATCH on the Data API: a name and an ACL."""
BLOB_CHUNK_BYTES: Final = 256 * 1024
TEMP_COLLECTION_AGE_S: Final = 24 * 3600.0

# Names
ACCOUNT_NAME_CHARS_MAX: Final = 30
ALGORITHM_NAME_CHARS_MAX: Final = 100

# Builds
BUILD_TIMEOUT_S: Final = 1800.0
BUILD_LOG_BYTES_MAX: Final = 16 * MIB
