"""One algorithm to build, publish and look into; what `client.algorithms(...)` returns."""

from collections.abc import Iterator, Mapping
from typing import Any

from algorium import _algorithm_flow, _build_flow, _operation_flow, _secret_flow, _source_flow
from algorium._build_flow import POLL_S, LogReader
from algorium._errors import ConnectionLost, ResponseTimeout
from algorium._messages import Pause
from algorium._retry import pause_after
from algorium._secrets import Secrets
from algorium._source_flow import SourceTree
from algorium._transport import SyncTransport
from algorium._wishes import algorithm_wish, publish_wish
from algorium.wire.authoring import AlgorithmInfo, BuildInfo, CommitInfo, FailedCall, ScmStatus
from algorium.wire.refs import AlgorithmRef
from algorium.wire.uris import DataUri


class ManagedAlgorithm:
    """
    One algorithm to build, publish and look into; see `Algorium.algorithms`.

    Attributes:
        ref: Which one; a version in it does not matter.
    """

    __slots__ = ("_transport", "ref")

    def __init__(self, transport: SyncTransport, ref: AlgorithmRef) -> None:
        self._transport = transport
        self.ref = ref

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ref}>"

    def info(self) -> AlgorithmInfo:
        """
        Return it as it was built or published last, as far as you may see that.

        Raises:
            AlgorithmNotFound: There is none.
            NotAuthorized: There is one, but not for you.
        """
        return self._transport.run(_algorithm_flow.get(self.ref))

    def update(
        self,
        *,
        label: str | None = None,
        summary: str | None = None,
        tagline: str | None = None,
        environment: str | None = None,
        source_visibility: str | None = None,
        license: str | None = None,  # noqa: A002 - what everybody calls it
        network_access: str | None = None,
        is_pipeline_enabled: bool | None = None,
        sample_input: Any = None,
        settings: Mapping[str, Any] | None = None,
    ) -> AlgorithmInfo:
        """
        Change it; what is left out stays as it is. Arguments as for `Algorithms.create`.

        Network access, pipelines and the environment count from the next build or version on.

        Raises:
            AlgorithmNotFound: There is none.
            InvalidInput: A setting is wrong.
        """
        wish = algorithm_wish(
            label=label,
            summary=summary,
            tagline=tagline,
            environment=environment,
            source_visibility=source_visibility,
            license_=license,
            network_access=network_access,
            is_pipeline_enabled=is_pipeline_enabled,
            sample_input=sample_input,
            settings=settings,
        )
        return self._transport.run(_algorithm_flow.update(self.ref, wish))

    def delete(self) -> None:
        """
        Delete it with its source, builds and versions. There is no way back.

        Raises:
            AlgorithmNotFound: There is none.
            NotAuthorized: It is not yours, or has been public: then an administrator may.
        """
        self._transport.run(_algorithm_flow.delete(self.ref))

    @property
    def secrets(self) -> Secrets:
        """Environment variables that only its slots have."""
        return Secrets(self._transport, self.ref)

    def recycle(self) -> None:
        """
        Have it load anew: its warm slots are replaced, calls under way go on.

        Raises:
            AlgorithmNotFound: There is none.
            NotAuthorized: You may not change it.
        """
        self._transport.run(_secret_flow.recycle(self.ref))

    def compile(self, *, commit: str = "") -> AlgorithmInfo:
        """
        Build a commit and wait for the end of that; then it can be called by the commit.

        A build of the same commit that is under way already is joined.

        Args:
            commit: Its whole hash; the newest one of the default branch if left out.

        Raises:
            AlgorithmNotFound: There is none.
            BuildFailed: The commit cannot be called; the exception has the log.
        """
        return self._transport.run(_build_flow.compile_(self.ref, commit=commit))

    def publish(
        self,
        *,
        version_type: str | None = None,
        number: str | None = None,
        commit: str | None = None,
        callability: str | None = None,
        release_notes: str | None = None,
        sample_input: Any = None,
        sample_output: Any = None,
        settings: Mapping[str, Any] | None = None,
    ) -> AlgorithmInfo:
        """
        Publish a build as a version, which never changes again.

        Args:
            version_type: `major`, `minor` or `revision`; the server takes `minor` if left out.
            number: Exactly this version, such as `2.0.0`, instead.
            commit: Of the build; the newest successful one if left out.
            callability: `private`, or `public`: everybody may call it.
            release_notes: What is new.
            sample_input: An example: text, or what becomes JSON.
            sample_output: What it gives for that; found out by the server if left out.
            settings: Further settings, as the wire has them.

        Returns:
            The version; its `warnings` say what the check before found.

        Raises:
            VersionAlreadyPublished: There is no build that is not published yet.
            InvalidInput: The number is not above all others, or the check refuses.
        """
        wish = publish_wish(
            version_type=version_type,
            number=number,
            commit=commit,
            callability=callability,
            release_notes=release_notes,
            sample_input=sample_input,
            sample_output=sample_output,
            settings=settings,
        )
        return self._transport.run(_algorithm_flow.publish(self.ref, wish))

    def versions(
        self,
        *,
        published: bool | None = True,
        callable: bool | None = None,  # noqa: A002 - the wire's
    ) -> Iterator[AlgorithmInfo]:
        """
        Go through its versions, newest first; pages are fetched as you go on.

        Args:
            published: Versions with a number; False: what is built and has none; None: both.
            callable: True: public ones only; False: private ones only.

        Raises:
            AlgorithmNotFound: There is none.
        """
        marker = ""
        while True:
            flow = _algorithm_flow.versions(
                self.ref, marker=marker, published=published, callable_=callable
            )
            page = self._transport.run(flow)
            yield from page.results
            if not (marker := page.marker):
                return

    def version(self, wanted: str) -> AlgorithmInfo:
        """
        Return one version.

        Args:
            wanted: Its number, commit or id.

        Raises:
            VersionNotFound: There is none.
        """
        return self._transport.run(_algorithm_flow.version(self.ref, wanted))

    def builds(self) -> Iterator[BuildInfo]:
        """
        Go through its builds, newest first; pages are fetched as you go on.

        Raises:
            AlgorithmNotFound: There is none.
        """
        marker = ""
        while True:
            page = self._transport.run(_build_flow.builds(self.ref, marker=marker))
            yield from page.results
            if not (marker := page.marker):
                return

    def build(self, build_id: str) -> BuildInfo:
        """
        Return one build.

        Raises:
            BuildNotFound: There is none.
        """
        return self._transport.run(_build_flow.build(self.ref, build_id))

    def build_log(self, build_id: str) -> str:
        """
        Return everything that a build has said.

        Raises:
            BuildNotFound: There is none, or it has not ended yet.
        """
        return self._transport.run(_build_flow.build_log(self.ref, build_id))

    def build_lock(self, build_id: str) -> str:
        """
        Return what a build has installed, as a `requirements.txt` with every version.

        Raises:
            BuildNotFound: There is none.
        """
        return self._transport.run(_build_flow.build_lock(self.ref, build_id))

    def follow_build(self, build_id: str) -> Iterator[str]:
        """
        Yield the log of a build from its beginning, in pieces, as it grows; stop at its end.

        Goes on where it was if the connection breaks off. What came of the build, `build` tells.

        Raises:
            BuildNotFound: There is none.
            ConnectionLost: The connection broke off again and again.
        """
        reader, failures = LogReader(), 0
        while True:
            opened = self._transport.run(
                _build_flow.open_log(self.ref, build_id, after=reader.last_id)
            )
            if opened is None:
                yield self._log_at_the_end(build_id)
                return
            reader.begin()
            problem: ConnectionLost | ResponseTimeout = ConnectionLost("The log broke off.")
            try:
                for data in opened.stream:
                    for piece in reader.feed(data):
                        if piece.is_end:
                            return
                        failures = 0
                        yield piece.text
            except (ConnectionLost, ResponseTimeout) as error:
                problem = error
            finally:
                opened.stream.close()
            failures += 1
            if failures > self._transport.retries_max:
                raise problem
            self._transport.pause(pause_after(failures))

    def _log_at_the_end(self, build_id: str) -> str:
        while not self.build(build_id).is_finished:
            self._transport.pause(Pause(shortest_s=POLL_S, longest_s=POLL_S))
        return self.build_log(build_id)

    def cancel_build(self, build_id: str) -> None:
        """
        End a build that waits or runs; one that has ended stays as it is.

        Raises:
            BuildNotFound: There is none.
        """
        self._transport.run(_build_flow.cancel_build(self.ref, build_id))

    def errors(self) -> list[FailedCall]:
        """
        Return its last failed calls, newest first: 200 at most, and of the last week.

        Raises:
            AlgorithmNotFound: There is none.
            NotAuthorized: You may not read its log.
        """
        return self._transport.run(_algorithm_flow.errors(self.ref))

    def scm_status(self) -> ScmStatus:
        """
        Return whether the server reaches its source.

        Raises:
            AlgorithmNotFound: There is none.
        """
        return self._transport.run(_algorithm_flow.scm_status(self.ref))

    def schema(self, version: str) -> dict[str, Any]:
        """
        Return what a version takes and gives: JSON Schemas under `input` and `output`.

        Raises:
            VersionNotFound: There is none, or nothing is known.
        """
        return self._transport.run(_algorithm_flow.json_document(self.ref, version, "schema"))

    def openapi(self, version: str = "") -> dict[str, Any]:
        """
        Return how a version is called, as a document in OpenAPI 3.1.

        Args:
            version: Left out: the newest public one, or else the newest.

        Raises:
            VersionNotFound: There is none, or not for you.
        """
        return self._transport.run(_algorithm_flow.openapi(self.ref, version))

    def sbom(self, version: str) -> dict[str, Any]:
        """
        Return the bill of materials of a version, in the form of CycloneDX.

        Raises:
            VersionNotFound: There is none, or it has none.
        """
        return self._transport.run(_algorithm_flow.json_document(self.ref, version, "sbom"))

    def provenance(self, version: str) -> dict[str, Any]:
        """
        Return from what, how and by whom a version was built, as an in-toto statement.

        Raises:
            VersionNotFound: There is none, or nothing is kept.
        """
        return self._transport.run(_algorithm_flow.json_document(self.ref, version, "provenance"))

    def lock(self, version: str) -> str:
        """
        Return the packages of a version exactly as they were installed.

        Raises:
            VersionNotFound: There is none, or it has none.
        """
        return self._transport.run(_algorithm_flow.document(self.ref, version, "lock")).decode()

    def commits(self, *, since: str = "", until: str = "") -> list[CommitInfo]:
        """
        Return the commits of the default branch, newest first.

        Args:
            since: The oldest one to return.
            until: The newest one to return.

        Raises:
            NotFound: There is no such commit.
        """
        return self._transport.run(_build_flow.commits(self.ref, since=since, until=until))

    def source(self, *, at: str = "") -> SourceTree:
        """
        Return what is in its source.

        Args:
            at: A commit or branch; the newest commit of the default branch if left out.

        Raises:
            AlgorithmNotFound: There is none, or its source is not for you.
        """
        return self._transport.run(_source_flow.tree(self.ref, at=at))

    def source_file(self, path: str, *, at: str = "") -> bytes:
        """
        Return a file of its source.

        Raises:
            PathNotFound: There is no such file.
        """
        return self._transport.run(_source_flow.source_file(self.ref, path, at=at))

    def set_default_collection(self, collection: str | DataUri) -> None:
        """
        Give it a collection of yours, which it calls `data://.algo/default` from then on.

        Args:
            collection: Such as `data://.my/models`.

        Raises:
            AlgorithmNotFound: There is no such algorithm.
            PathNotFound: There is no such collection of yours.
            ValueError: It is not the URI of a collection.
        """
        uri = DataUri.parse(collection) if isinstance(collection, str) else collection
        self._transport.run(_operation_flow.set_default_collection(self.ref, uri))

    def source_archive(self, *, at: str = "") -> bytes:
        """
        Return all files of its source as a `.tar.gz`, which is held in memory.

        Args:
            at: A commit or branch; the newest commit of the default branch if left out.

        Raises:
            AlgorithmNotFound: There is none, or its source is not for you.
        """
        return self._transport.run(_source_flow.archive(self.ref, at=at))

    def commit(
        self,
        changes: Mapping[str, bytes | str | None],
        *,
        message: str,
        parent: str = "",
        build: bool = False,
    ) -> str:
        """
        Change files of its source, all or none, and return the new commit.

        Args:
            changes: New content by path; None deletes the file.
            message: What the commit is about.
            parent: Do so only if this is the newest commit still.
            build: Ask for a build of it, too; `builds` has it first.

        Raises:
            ConditionFailed: *parent* is not the newest commit any more.
            InvalidInput: A path or the message is wrong.
        """
        return self._transport.run(
            _source_flow.commit(self.ref, changes, message=message, parent=parent, build=build)
        )
