"""
What accounts may use, and what was done, as values. Standard library only.

Source: ours; the old service had nothing like it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from algorium.wire.bodies import BodyError
from algorium.wire.reading import count, flag, inner, members, moment, needed, number, text


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaInfo:
    """
    How much of something an account may use, and does.

    Attributes:
        limit: How much at most, None for without a limit.
        used: How much it does, None if it is not counted.
        renews_at: When *used* begins anew, None if it does not by itself.
        is_default: Whether this is the limit of the server, not one of the account's own.
    """

    limit: float | None = None
    used: float | None = None
    renews_at: datetime | None = None
    is_default: bool = True

    @classmethod
    def from_json(cls, value: object) -> "QuotaInfo":
        """
        Read a quota.

        Raises:
            BodyError: It is not one.
        """
        told = members(value, "quota")
        return cls(
            limit=number(told, "limit"),
            used=number(told, "used"),
            renews_at=moment(told, "renews_at"),
            is_default=flag(told, "is_default"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountQuotas:
    """
    What an account may use.

    Attributes:
        account: Which one.
        account_id: Names it to the server.
        quotas: By their names, such as `calls_per_minute`.
    """

    account: str
    account_id: str = ""
    quotas: Mapping[str, QuotaInfo] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: object) -> "AccountQuotas":
        """
        Read an account's quotas.

        Raises:
            BodyError: It has no name.
        """
        told = members(value, "quotas")
        found = inner(told, "quotas").items()
        return cls(
            account=needed(told, "account", "quotas"),
            account_id=text(told, "account_id"),
            quotas={name: QuotaInfo.from_json(each) for name, each in found},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """
    Something that was done, or tried.

    Attributes:
        number: Its place in the log.
        at: When.
        actor: Who, empty for the server itself.
        behalf: For which other account, or empty.
        key_id: The key that was shown, or empty.
        action: What, such as `member.role_changed`.
        target: To what, such as `member:acme/joe`.
        outcome: `done`, `denied` or `failed`.
        request_id: Of the request, or empty.
        address: From where, if you may see it.
        detail: What else there is to know.
    """

    number: int
    at: datetime | None = None
    actor: str = ""
    behalf: str = ""
    key_id: str = ""
    action: str = ""
    target: str = ""
    outcome: str = ""
    request_id: str = ""
    address: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: object) -> "AuditEntry":
        """
        Read an entry.

        Raises:
            BodyError: It has no number or no action.
        """
        told = members(value, "entry")
        place = told.get("number")
        if not isinstance(place, int):
            raise BodyError("entry: no number")
        return cls(
            number=place,
            at=moment(told, "at"),
            actor=text(told, "actor"),
            behalf=text(told, "behalf"),
            key_id=text(told, "key_id"),
            action=needed(told, "action", "entry"),
            target=text(told, "target"),
            outcome=text(told, "outcome"),
            request_id=text(told, "request_id"),
            address=text(told, "address"),
            detail=inner(told, "detail"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """
    What was used on a day.

    Attributes:
        day: As `2026-03-29`.
        subject: The organization, the account or `owner/name`.
        version: Of an algorithm, otherwise empty; a commit if that was called.
        executions: Calls that ran.
        errors: Those that failed.
        cpu_core_s: Processor time.
        cpu_time_s: Time in slots.
        cpu_cost: That time at the rate that an administrator has set.
        memory_mib: The most that one slot held.
        hosted_storage_mib: Stored at the end of the day, None for algorithms.
        members: Of an organization, otherwise None.
        algorithms: Of an organization, otherwise None.
    """

    day: str
    subject: str
    version: str = ""
    executions: int = 0
    errors: int = 0
    cpu_core_s: float = 0.0
    cpu_time_s: float = 0.0
    cpu_cost: float = 0.0
    memory_mib: float = 0.0
    hosted_storage_mib: float | None = None
    members: int | None = None
    algorithms: int | None = None

    @classmethod
    def from_json(cls, value: object, *, by: str) -> "ReportRow":
        """
        Read a row of a report that tells *by* apart.

        Raises:
            BodyError: It has no day or no subject.
        """
        told = members(value, "row")
        return cls(
            day=needed(told, "day", "row"),
            subject=needed(told, by, "row"),
            version=text(told, "version"),
            executions=count(told, "executions"),
            errors=count(told, "errors"),
            cpu_core_s=number(told, "cpu_core_s") or 0.0,
            cpu_time_s=number(told, "cpu_time_s") or 0.0,
            cpu_cost=number(told, "cpu_cost") or 0.0,
            memory_mib=number(told, "memory_mib") or 0.0,
            hosted_storage_mib=number(told, "hosted_storage_mib"),
            members=count(told, "members") if "members" in told else None,
            algorithms=count(told, "algorithms") if "algorithms" in told else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernanceReport:
    """
    What was used, by day.

    Attributes:
        first: The first day, as `2026-03-01`.
        last: The last one, which is part of it.
        by: What rows are told apart by: `organization`, `account` or `algorithm`.
        rows: In the order of the server.
    """

    first: str
    last: str
    by: str
    rows: tuple[ReportRow, ...] = ()

    @classmethod
    def from_json(cls, value: object) -> "GovernanceReport":
        """
        Read a report.

        Raises:
            BodyError: It is not one.
        """
        told = members(value, "report")
        rows, by = told.get("results"), needed(told, "by", "report")
        if not isinstance(rows, list):
            raise BodyError("report: no rows")
        return cls(
            first=text(told, "start_date"),
            last=text(told, "end_date"),
            by=by,
            rows=tuple(ReportRow.from_json(each, by=by) for each in rows),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyAlgorithm:
    """
    An algorithm whose environment is not offered any more.

    Attributes:
        algorithm: `owner/name`.
        language: Which it is written in.
        created_at: When it was made.
        compiled_at: When it was built last, None if never.
    """

    algorithm: str
    language: str = ""
    created_at: datetime | None = None
    compiled_at: datetime | None = None

    @classmethod
    def from_json(cls, value: object) -> "LegacyAlgorithm":
        """
        Read one.

        Raises:
            BodyError: It has no name.
        """
        told = members(value, "algorithm")
        owner, name = (needed(told, each, "algorithm") for each in ("username", "algoname"))
        return cls(
            algorithm=f"{owner}/{name}",
            language=text(told, "language"),
            created_at=moment(told, "createdAt"),
            compiled_at=moment(told, "lastCompiledAt"),
        )
