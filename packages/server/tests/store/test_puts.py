"""Statements for many files at once find their rows by index, however many there are."""

import rows
from sqlalchemy import event

from algorium_server.store import accounts, columns, files, puts
from algorium_server.store.database import Database
from algorium_server.store.engines import sqlite_url

JANE = rows.account("jane")
JOE = rows.account("joe")
IMAGES = rows.collection(JANE.account_id, "Images")
OTHERS = rows.collection(JOE.account_id, "Images")


def test_files_and_collections_are_looked_up_and_never_searched_for(sqlite_file, runner):
    async def plans() -> list[str]:
        database = await Database.open(sqlite_url(sqlite_file))
        seen = []
        try:
            async with database.transaction() as connection:
                for account in (JANE, JOE):
                    await accounts.add_account(connection, account)
                for collection in (IMAGES, OTHERS):
                    await files.add_collection(connection, collection)
                event.listen(
                    connection.sync_connection,
                    "before_cursor_execute",
                    lambda _c, _cursor, text, values, _context, _many: seen.append((text, values)),
                )
                ids = [IMAGES.collection_id, OTHERS.collection_id]
                await puts.hold_collections(connection, ids)
                await puts.lock_files(
                    connection, [(each, name) for each in ids for name in ("a", "b", "c")]
                )
                names = [(JANE.account_id, columns.name_key(name)) for name in ("images", "none")]
                found = await puts.collections_named(connection, names)
                assert found == {names[0]: IMAGES}
                explained = []
                for text, values in seen[:]:
                    plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
                    explained.append(" / ".join(step.detail for step in plan))
                return explained
        finally:
            await database.close()

    by_id, *by_name, by_owner = runner.run(plans())

    assert "SEARCH collections" in by_id
    assert "(collection_id=?)" in by_id
    assert len(by_name) == 2
    for plan in by_name:
        assert "SEARCH files" in plan
        assert "(collection_id=? AND name=?)" in plan
    assert "(owner_id=? AND kind=? AND name_key=?)" in by_owner
