"""
Messages of source hosts: checked, noted, and acted on.

A message that has an effect is noted in the transaction that makes it; so it has its effect once,
also when the host sends it again because our answer got lost, or somebody else because they heard
it.

Source: wire specification, "Webhook from the SCM host".
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import INTERNAL_SCM, Algorithm, BuildTrigger
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import NoSuchAlgorithm, NotAuthenticated, ScmWithoutWebhooks
from algorium_server.domain.scms import Provider, Scm, ScmLink
from algorium_server.domain.webhooks import (
    Changed,
    Ignored,
    Pushed,
    delivery_keys,
    is_genuine,
    read_event,
)
from algorium_server.services.auditing import record_on
from algorium_server.services.directory import Directory
from algorium_server.services.source.mirroring import Mirroring
from algorium_server.services.source.scm_directory import ScmDirectory
from algorium_server.store import scms as rows
from algorium_server.store.database import Database


class Webhooks:
    """
    Takes messages of source hosts.

    Args:
        database: Where they are noted.
        directory: Which algorithms there are.
        scms: Hosts and links.
        mirroring: Fetches what is new.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        scms: ScmDirectory,
        mirroring: Mirroring,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._scms = scms
        self._mirroring = mirroring
        self._clock = clock

    def algorithm(self, ref: AlgorithmRef) -> Algorithm:
        """
        Return the algorithm that a message is about, before its body is read.

        Raises:
            NoSuchAlgorithm: There is none.
            ScmWithoutWebhooks: Its source is here.
        """
        algorithm = self._directory.algorithm(ref)
        if algorithm is None:
            raise NoSuchAlgorithm
        if algorithm.scm_id == INTERNAL_SCM:
            raise ScmWithoutWebhooks
        return algorithm

    async def receive(
        self, algorithm: Algorithm, *, headers: Mapping[str, str], body: bytes, token: str
    ) -> str:
        """
        Act on a message.

        Args:
            algorithm: What it is about.
            headers: Names in lower case.
            body: As it arrived.
            token: What the address had as `token`.

        Returns:
            Why nothing is done about it; empty if something is.

        Raises:
            NotAuthenticated: It does not come from the algorithm's host.
            WebhookMalformed: It does, but cannot be read.
        """
        link = self._scms.link(algorithm.algorithm_id)
        scm = self._scms.scm(algorithm.scm_id)
        if link is None or scm is None:
            raise NotAuthenticated("the signature does not fit")
        secret = self._mirroring.secrets(link).webhook_secret
        if not is_genuine(scm.provider, headers, body, secret=secret, token=token):
            raise NotAuthenticated("the signature does not fit")
        event = read_event(scm.provider, headers, body)
        if isinstance(event, Ignored):
            return event.reason
        if event.repository.repository_id not in {"", link.repository_id}:
            return "it is about another repository"
        values = _news(scm, link, event)
        branch = values.get("branch", link.branch)
        pushed = event.branches if isinstance(event, Pushed) else ()
        has_new_commits = branch in pushed
        # Bitbucket does not say which branch is the default one: it may be this one by now.
        may_be_default = bool(pushed) and not event.repository.branch
        if not values and not has_new_commits and not may_be_default:
            return _nothing_of(event, branch)
        keys = delivery_keys(scm.provider, headers, body)
        now = self._clock()
        async with self._database.transaction() as connection:
            if not await rows.is_first_delivery(connection, algorithm.algorithm_id, keys, now=now):
                return "it has come before"
            if values:
                await rows.update_link(connection, algorithm.algorithm_id, **values)
            if has_new_commits or may_be_default or "branch" in values:
                await self._mirroring.enqueue(connection, algorithm, BuildTrigger.WEBHOOK)
            if has_new_commits:
                await record_on(
                    connection,
                    None,
                    AuditAction.REPOSITORY_PUSHED,
                    algorithm,
                    self._directory,
                    detail={"through": "webhook", "branch": branch},
                )
        known = self._scms.link(algorithm.algorithm_id)
        if values and known is not None:
            self._scms.put_link(replace(known, **values))
        self._mirroring.wake()
        return "" if values or has_new_commits else _nothing_of(event, branch)


def _nothing_of(event: Pushed | Changed, branch: str) -> str:
    if isinstance(event, Pushed):
        return f"{', '.join(event.branches)[:200] or 'nothing'} is not the branch {branch}"
    return "nothing has changed that matters here"


def _news(scm: Scm, link: ScmLink, event: Pushed | Changed) -> dict[str, Any]:
    """Return what of a link a message says otherwise."""
    said: dict[str, Any] = {"branch": event.repository.branch or link.branch}
    # GitLab tells a new name with the next push only. Elsewhere a push that was long on its way
    # must not bring the old one back.
    if isinstance(event, Changed) or scm.provider is Provider.GITLAB:
        said |= {"owner": event.repository.owner, "name": event.repository.name}
    return {name: value for name, value in said.items() if value != getattr(link, name)}
