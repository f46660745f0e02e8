"""
Notifications, written with what they tell of: in the same transaction, for whom it concerns.

Source: wire specification, "Notifications, features, UI configuration".
"""

import uuid
from datetime import datetime

from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.notifications import Notification, NotificationType
from algorium_server.store import notifications as rows
from algorium_server.store.database import AsyncConnection


async def notify(
    connection: AsyncConnection,
    kind: NotificationType,
    algorithm: Algorithm,
    *,
    owner: str,
    now: datetime,
    semantic_version: str = "",
) -> None:
    """
    Tell the owner of an algorithm, or everybody in the owning organization.

    Args:
        connection: Inside the transaction of what is told.
        kind: What happened.
        algorithm: To what.
        owner: Username of its owner.
        now: When.
        semantic_version: What was published, if anything was.
    """
    # As exact as it is shown: whoever asks for what came since the last one gets it once.
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    await rows.add(
        connection,
        [
            Notification(
                notification_id=str(uuid.uuid4()),
                account_id=account_id,
                kind=kind,
                algorithm_id=algorithm.algorithm_id,
                owner=owner,
                name=algorithm.name,
                semantic_version=semantic_version,
                created_at=now,
            )
            for account_id in await rows.concerned(connection, algorithm.owner_id)
        ],
    )
