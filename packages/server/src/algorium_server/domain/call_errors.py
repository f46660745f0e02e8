"""
Failed calls as their error log keeps them, and what of one its reader may see.

| reader | sees |
|---|---|
| the owner, members and executors of the owning organization, administrators | everything |
| the caller | message and input; the stack trace if the source may be read, too |
| others | nothing |

A call that an algorithm made is its own: who called that algorithm does not see what it sent.

Source: wire specification, "Error logs", "Errors and visibility".
"""

from base64 import b64encode
from typing import Final

import msgspec

from algorium_server.domain.access import ALLOWED, Refused, Verdict, is_cluster_admin
from algorium_server.domain.calls import ContentType
from algorium_server.domain.identity import KeyKind, Principal
from algorium_server.domain.limits import (
    CALL_ERROR_INPUT_CHARS,
    CALL_ERROR_MESSAGE_CHARS_MAX,
    CALL_ERROR_STACKTRACE_CHARS_MAX,
)

INPUT_HEAD_BYTES: Final = 4 * CALL_ERROR_INPUT_CHARS
"""Of an input: UTF-8 takes at most four bytes for a character."""

_GAP: Final = "\n[... {} characters left out ...]\n"


class CallError(msgspec.Struct, frozen=True, kw_only=True):
    """
    One failed call.

    Attributes:
        created_us: When it failed, in microseconds since 1970 UTC.
        owner_id: Of the algorithm, like *owner* and *name* as they were then.
        version: As in `1.2.3`, or the commit that was called.
        account_id: Who called, and is billed.
        is_nested: An algorithm made the call.
        error_type: A standard error type.
        input: Its first characters, bytes as base64.
        worker: What ran the call.
    """

    request_id: str
    created_us: int
    algorithm_id: str
    owner_id: str
    owner: str
    name: str
    version: str
    account_id: str
    caller: str
    is_nested: bool
    error_type: str
    message: str
    stacktrace: str
    input: str
    worker: str

    @property
    def text(self) -> str:
        """Message and stack trace as readers of the old service's log know them."""
        if not self.stacktrace:
            return f"error:\n{self.message}"
        return f"error:\n{self.message}\nstacktrace:\nSome({self.stacktrace})"


def shown_input(content_type: ContentType, head: bytes) -> str:
    """
    Return the first characters of an input.

    Args:
        content_type: Of the input.
        head: Its first bytes, `INPUT_HEAD_BYTES` of them if it has as many.
    """
    if content_type is ContentType.BINARY:
        return b64encode(head).decode()[:CALL_ERROR_INPUT_CHARS]
    return head.decode("utf-8", "ignore")[:CALL_ERROR_INPUT_CHARS]


def shown_message(message: str) -> str:
    """Return the beginning of a message: what happened stands there."""
    return message[:CALL_ERROR_MESSAGE_CHARS_MAX]


def shown_stacktrace(stacktrace: str) -> str:
    """Return beginning and end of a stack trace: where it came from, and where it failed."""
    dropped = len(stacktrace) - CALL_ERROR_STACKTRACE_CHARS_MAX
    if dropped <= 0:
        return stacktrace
    half = CALL_ERROR_STACKTRACE_CHARS_MAX // 2
    return stacktrace[:half] + _GAP.format(dropped) + stacktrace[-half:]


def may_read_log_of(principal: Principal, account_id: str) -> Verdict:
    """
    Decide whether the principal may read the error log of an account.

    Args:
        principal: Who asks.
        account_id: Whose failed calls, and whose algorithms' failed calls.
    """
    if principal.acting is not None:
        return Refused("algorithms may not read error logs")
    if is_cluster_admin(principal):
        return ALLOWED
    key = principal.key
    is_restricted = key is not None and key.kind is not KeyKind.ADMIN
    if key is not None and is_restricted and not key.permissions.allow_algo_management:
        return Refused("the key has allow_algo_management=false")
    if account_id == principal.account.account_id or account_id in principal.roles:
        return ALLOWED
    return Refused("the account is another's", is_hidden=True)


def seen_by_caller(error: CallError, *, sees_source: bool) -> CallError:
    """Return what the caller may see of its own failed call."""
    hidden = {} if sees_source else {"stacktrace": ""}
    return msgspec.structs.replace(error, worker="", **hidden)
