"""
Collections, files and ACLs of two users and an organization against a model of them, over HTTP.

Whatever they do, one after the other or at the same time, what the server answers and what it has
afterwards is what the model says, or one of the things that it says when several race.
"""

import asyncio
import itertools
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from data_site import running_site
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from algorium_server.domain.limits import FILE_IN_ROW_BYTES_MAX
from algorium_server.services.files.checking import Check

USERS = ("jane", "bob")
WRITERS = {"jane": {"jane"}, "bob": {"bob"}, "lab": {"jane"}}
"""Who may write what an account owns; jane is owner of lab, bob may only use it."""
MEMBERS = {"jane": {"jane"}, "bob": {"bob"}, "lab": {"jane", "bob"}}
ACLS = ([], ["algo://.my/*"], ["user://*"])
REFUSED = {403, 404}
"""Whether something that may not be read is there, may be hidden."""

COLLECTIONS = st.tuples(st.sampled_from(sorted(WRITERS)), st.sampled_from(["a", "B"]))
NAMES = st.sampled_from(["f", "F", "ä b", "%41+"])
CONTENTS = st.tuples(
    st.sampled_from([0, 1, FILE_IN_ROW_BYTES_MAX, FILE_IN_ROW_BYTES_MAX + 1, 70_000]),
    st.integers(0, 255),
).map(lambda drawn: bytes([drawn[1]]) * drawn[0])


@dataclass
class Folder:
    acl: list[str]
    files: dict[str, bytes] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    numbers = itertools.count()

    def __init__(self, site, runner, clients):
        super().__init__()
        self.site, self.run, self.clients = site, runner.run, clients
        self.prefix = f"c{next(self.numbers)}"
        self.folders: dict[tuple[str, str], Folder] = {}

    def path(self, place, name=None):
        owner, folder = place
        # Collections are found in whatever case.
        root = f"/v1/data/{owner}/{self.prefix}{folder}"
        if name is None:
            return root
        escaped = name.replace("%", "%25").replace("ä", "%C3%A4").replace(" ", "%20")
        return f"{root}/{escaped}"

    def uri(self, place, name):
        return "data://" + self.path(place, name).removeprefix("/v1/data/")

    async def ask(self, user, method, path, **options):
        return await self.clients[user].request(method, path, **options)

    def do(self, user, method, path, **options):
        return self.run(self.ask(user, method, path, **options))

    def at_once(self, *asked):
        async def scenario():
            return await asyncio.gather(*asked)

        return self.run(scenario())

    def may_read(self, user, place):
        folder = self.folders.get(place)
        return folder is not None and (user in MEMBERS[place[0]] or folder.acl == ["user://*"])

    def may_write(self, user, place):
        return place in self.folders and user in WRITERS[place[0]]

    @rule(user=st.sampled_from(USERS), place=COLLECTIONS, acl=st.sampled_from(ACLS))
    def create(self, user, place, acl):
        body = {"name": self.prefix + place[1], "acl": {"read": acl}}
        answer = self.do(user, "POST", f"/v1/data/{place[0]}", json=body)
        if user not in WRITERS[place[0]]:
            assert answer.status_code in REFUSED
        elif place in self.folders:
            assert answer.status_code == 409
        else:
            assert answer.status_code == 200
            self.folders[place] = Folder(acl)

    @rule(user=st.sampled_from(USERS), place=COLLECTIONS, acl=st.sampled_from(ACLS))
    def change_acl(self, user, place, acl):
        answer = self.do(user, "PATCH", self.path(place), json={"acl": {"read": acl}})
        if self.may_write(user, place):
            assert answer.status_code == 200
            self.folders[place].acl = acl
        else:
            assert answer.status_code in REFUSED

    @rule(
        user=st.sampled_from(USERS),
        place=COLLECTIONS,
        name=NAMES,
        content=CONTENTS,
        condition=st.sampled_from(["", "new", "current", "stale"]),
    )
    def put(self, user, place, name, content, condition):
        there = self.folders.get(place, Folder([])).files.get(name)
        headers, holds = {}, True
        if condition == "new":
            headers, holds = {"if-none-match": "*"}, there is None
        elif condition:
            etag = '"stale"'
            if condition == "current" and self.may_read(user, place):
                etag = self.do(user, "HEAD", self.path(place, name)).headers.get("etag", etag)
            headers = {"if-match": etag}
            holds = there is not None and condition == "current" and etag != '"stale"'
        answer = self.do(user, "PUT", self.path(place, name), content=content, headers=headers)
        if not self.may_write(user, place):
            assert answer.status_code in REFUSED
        elif not holds:
            assert answer.status_code == 412
        else:
            assert answer.status_code == 200
            self.folders[place].files[name] = content

    @rule(user=st.sampled_from(USERS), place=COLLECTIONS, name=NAMES)
    def get(self, user, place, name):
        answer = self.do(user, "GET", self.path(place, name))
        if self.may_read(user, place) and name in self.folders[place].files:
            assert answer.content == self.folders[place].files[name]
        else:
            assert answer.status_code in REFUSED

    @rule(user=st.sampled_from(USERS), place=COLLECTIONS, name=NAMES)
    def delete(self, user, place, name):
        answer = self.do(user, "DELETE", self.path(place, name))
        if self.may_write(user, place) and name in self.folders[place].files:
            assert answer.json() == {"result": {"deleted": 1}}
            del self.folders[place].files[name]
        else:
            assert answer.status_code in REFUSED

    @rule(user=st.sampled_from(USERS), place=COLLECTIONS, is_forced=st.booleans())
    def delete_collection(self, user, place, is_forced):
        force = "true" if is_forced else "false"
        answer = self.do(user, "DELETE", self.path(place) + f"?force={force}")
        if not self.may_write(user, place):
            assert answer.status_code in REFUSED
        elif self.folders[place].files and not is_forced:
            assert answer.status_code == 400
        else:
            count = len(self.folders.pop(place).files) + 1
            assert answer.json() == {"result": {"deleted": count}}

    @rule(
        user=st.sampled_from(USERS),
        source=st.tuples(COLLECTIONS, NAMES),
        goal=st.tuples(COLLECTIONS, NAMES),
        is_move=st.booleans(),
    )
    def transfer(self, user, source, goal, is_move):
        header = "x-move-from" if is_move else "x-copy-from"
        answer = self.do(
            user, "PUT", self.path(*goal), content=b"", headers={header: self.uri(*source)}
        )
        may_take = self.may_write if is_move else self.may_read
        if (
            self.may_write(user, goal[0])
            and may_take(user, source[0])
            and source[1] in self.folders[source[0]].files
        ):
            assert answer.status_code == 200, answer.text
            content = self.folders[source[0]].files[source[1]]
            if is_move:
                del self.folders[source[0]].files[source[1]]
            self.folders[goal[0]].files[goal[1]] = content
        else:
            assert answer.status_code in REFUSED, answer.text

    @precondition(lambda self: self.folders)
    @rule(data=st.data(), name=NAMES, contents=st.lists(CONTENTS, min_size=2, max_size=6))
    def race_to_create(self, data, name, contents):
        place = data.draw(st.sampled_from(sorted(self.folders)))
        (user, *_) = WRITERS[place[0]]
        there = name in self.folders[place].files
        answers = self.at_once(
            *(
                self.ask(
                    user,
                    "PUT",
                    self.path(place, name),
                    content=content,
                    headers={"if-none-match": "*"},
                )
                for content in contents
            )
        )
        won = [
            content
            for content, answer in zip(contents, answers, strict=True)
            if answer.status_code == 200
        ]
        assert len(won) == (0 if there else 1)
        assert {answer.status_code for answer in answers} <= {200, 412}
        if won:
            self.folders[place].files[name] = won[0]

    @precondition(lambda self: self.folders)
    @rule(
        data=st.data(),
        puts=st.lists(st.tuples(NAMES, CONTENTS), min_size=2, max_size=6),
        deletes=st.sampled_from(["", "file", "collection"]),
    )
    def race(self, data, puts, deletes):
        place = data.draw(st.sampled_from(sorted(self.folders)))
        (user, *_) = WRITERS[place[0]]
        asked = [
            self.ask(user, "PUT", self.path(place, name), content=content) for name, content in puts
        ]
        if deletes:
            path = self.path(place, puts[0][0] if deletes == "file" else None)
            asked.insert(len(asked) // 2, self.ask(user, "DELETE", path + "?force=true"))
        answers = self.at_once(*asked)
        if deletes == "collection":
            assert {answer.status_code for answer in answers} <= {200, 404}
            del self.folders[place]
            return
        assert all(
            answer.status_code == 200 for answer in answers if answer.request.method == "PUT"
        )
        files = self.folders[place].files
        possible = {name: {c for n, c in puts if n == name} for name, _ in puts}
        for name, contents in possible.items():
            answer = self.do(user, "GET", self.path(place, name))
            if answer.status_code == 404 and deletes == "file" and name == puts[0][0]:
                files.pop(name, None)
            else:
                assert answer.content in contents
                files[name] = answer.content

    @invariant()
    def listings_are_right(self):
        for place, folder in self.folders.items():
            listed = self.do("jane", "GET", self.path(place))
            if not self.may_read("jane", place):
                assert listed.status_code in REFUSED
                continue
            sizes = {entry["filename"]: entry["size"] for entry in listed.json()["files"]}
            assert sizes == {name: len(content) for name, content in folder.files.items()}

    def teardown(self):
        report = self.run(Check(self.site.database, self.site.blobs).run(datetime.now(UTC)))
        assert report.is_clean, report
        blobs = sum(
            len(content) > FILE_IN_ROW_BYTES_MAX
            for folder in self.folders.values()
            for content in folder.files.values()
        )
        assert len(self.site.blob_files()) == blobs, "space is given back at once"
        for place in list(self.folders):
            (user, *_) = WRITERS[place[0]]
            self.delete_collection(user, place, is_forced=True)


@pytest.mark.slow
def test_the_data_api_does_what_the_model_says(database_url, tmp_path, runner):
    stack = AsyncExitStack()
    site = runner.run(stack.enter_async_context(running_site(database_url, tmp_path / "blobs")))
    clients = {user: runner.run(stack.enter_async_context(site.client(user))) for user in USERS}
    try:
        run_state_machine_as_test(
            lambda: Machine(site, runner, clients),
            settings=settings(
                max_examples=12,
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        runner.run(stack.aclose())
