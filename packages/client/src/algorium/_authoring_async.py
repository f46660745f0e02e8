"""The same as `_authoring.py` and `_managed.py` for `asyncio`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Unpack

from algorium import (
    _algorithm_flow,
    _build_flow,
    _connector_flow,
    _operation_flow,
    _secret_flow,
    _source_flow,
)
from algorium._authoring import parsed
from algorium._build_flow import POLL_S, LogReader
from algorium._errors import ConnectionLost, ResponseTimeout
from algorium._messages import Pause
from algorium._retry import pause_after
from algorium._secrets import AsyncSecrets
from algorium._source_flow import SourceTree
from algorium._transport import AsyncTransport
from algorium._wishes import AlgorithmChanges, algorithm_wish, known_options, publish_wish
from algorium.wire.authoring import AlgorithmInfo, BuildInfo, CommitInfo, FailedCall, ScmStatus
from algorium.wire.refs import AlgorithmRef
from algorium.wire.uris import DataUri


class AsyncAlgorithms:
    """Algorithms that you make; see `Algorithms`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def __call__(self, ref: str | AlgorithmRef) -> "AsyncManagedAlgorithm":
        """Return a handle of an algorithm; nothing is sent yet, as `Algorithms.__call__`."""
        return AsyncManagedAlgorithm(self._transport, parsed(ref))

    async def create(
        self,
        ref: str | AlgorithmRef,
        *,
        language: str = "python3",
        environment: str | None = None,
        label: str | None = None,
        summary: str | None = None,
        tagline: str | None = None,
        source_visibility: str = "closed",
        license: str = "apl",  # noqa: A002 - what everybody calls it
        network_access: str = "isolated",
        is_pipeline_enabled: bool = True,
        sample_input: Any = None,
        source: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> AlgorithmInfo:
        """Create an algorithm, as `Algorithms.create`."""
        wanted = parsed(ref)
        wish = algorithm_wish(
            label=label or wanted.name,
            summary=summary,
            tagline=tagline,
            language=None if environment else language,
            environment=environment,
            source_visibility=source_visibility,
            license_=license,
            network_access=network_access,
            is_pipeline_enabled=is_pipeline_enabled,
            sample_input=sample_input,
            settings=settings,
        )
        wish["name"] = wanted.name
        if source:
            wish["source"] = dict(source)
        return await self._transport.run(_algorithm_flow.create(wanted, wish))

    async def get(self, ref: str | AlgorithmRef) -> AlgorithmInfo:
        """Return an algorithm, as `Algorithms.get`."""
        return await self(ref).info()

    async def list(self, owner: str = "") -> Sequence[AlgorithmInfo]:
        """Return the algorithms of an account that you may see, as `Algorithms.list`."""
        owner = owner or await self._transport.run(_connector_flow.whoami())
        return await self._transport.run(_algorithm_flow.owned(owner))

    async def update(
        self, ref: str | AlgorithmRef, **changes: Unpack[AlgorithmChanges]
    ) -> AlgorithmInfo:
        """Change an algorithm, as `ManagedAlgorithm.update`."""
        return await self(ref).update(**known_options(changes, AlgorithmChanges))

    async def delete(self, ref: str | AlgorithmRef) -> None:
        """Delete an algorithm, as `ManagedAlgorithm.delete`."""
        await self(ref).delete()

    async def exists(self, ref: str | AlgorithmRef) -> bool:
        """Tell whether there is an algorithm, as `Algorithms.exists`."""
        return await self._transport.run(_algorithm_flow.exists(parsed(ref)))

    async def errors_of(
        self, account: str, *, is_organization: bool = False
    ) -> Sequence[FailedCall]:
        """Return the last failed calls of an account, as `Algorithms.errors_of`."""
        return await self._transport.run(
            _algorithm_flow.errors_of(account, is_organization=is_organization)
        )


class AsyncManagedAlgorithm:
    """One algorithm to build, publish and look into; see `ManagedAlgorithm`."""

    __slots__ = ("_transport", "ref")

    def __init__(self, transport: AsyncTransport, ref: AlgorithmRef) -> None:
        self._transport = transport
        self.ref = ref

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ref}>"

    async def info(self) -> AlgorithmInfo:
        """Return it as it is now, as `ManagedAlgorithm.info`."""
        return await self._transport.run(_algorithm_flow.get(self.ref))

    async def update(
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
        """Change it, as `ManagedAlgorithm.update`."""
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
        return await self._transport.run(_algorithm_flow.update(self.ref, wish))

    async def delete(self) -> None:
        """Delete it, as `ManagedAlgorithm.delete`."""
        await self._transport.run(_algorithm_flow.delete(self.ref))

    @property
    def secrets(self) -> AsyncSecrets:
        """Environment variables that only its slots have, as `ManagedAlgorithm.secrets`."""
        return AsyncSecrets(self._transport, self.ref)

    async def recycle(self) -> None:
        """Have it load anew, as `ManagedAlgorithm.recycle`."""
        await self._transport.run(_secret_flow.recycle(self.ref))

    async def compile(self, *, commit: str = "") -> AlgorithmInfo:
        """Build a commit and wait for the end of that, as `ManagedAlgorithm.compile`."""
        return await self._transport.run(_build_flow.compile_(self.ref, commit=commit))

    async def publish(
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
        """Publish a build as a version, as `ManagedAlgorithm.publish`."""
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
        return await self._transport.run(_algorithm_flow.publish(self.ref, wish))

    async def versions(
        self,
        *,
        published: bool | None = True,
        callable: bool | None = None,  # noqa: A002 - the wire's
    ) -> AsyncIterator[AlgorithmInfo]:
        """Go through its versions, as `ManagedAlgorithm.versions`."""
        marker = ""
        while True:
            flow = _algorithm_flow.versions(
                self.ref, marker=marker, published=published, callable_=callable
            )
            page = await self._transport.run(flow)
            for each in page.results:
                yield each
            if not (marker := page.marker):
                return

    async def version(self, wanted: str) -> AlgorithmInfo:
        """Return one version, as `ManagedAlgorithm.version`."""
        return await self._transport.run(_algorithm_flow.version(self.ref, wanted))

    async def builds(self) -> AsyncIterator[BuildInfo]:
        """Go through its builds, as `ManagedAlgorithm.builds`."""
        marker = ""
        while True:
            page = await self._transport.run(_build_flow.builds(self.ref, marker=marker))
            for each in page.results:
                yield each
            if not (marker := page.marker):
                return

    async def build(self, build_id: str) -> BuildInfo:
        """Return one build, as `ManagedAlgorithm.build`."""
        return await self._transport.run(_build_flow.build(self.ref, build_id))

    async def build_log(self, build_id: str) -> str:
        """Return everything that a build has said, as `ManagedAlgorithm.build_log`."""
        return await self._transport.run(_build_flow.build_log(self.ref, build_id))

    async def build_lock(self, build_id: str) -> str:
        """Return what a build has installed, as `ManagedAlgorithm.build_lock`."""
        return await self._transport.run(_build_flow.build_lock(self.ref, build_id))

    async def follow_build(self, build_id: str) -> AsyncIterator[str]:
        """Yield the log of a build as it grows, as `ManagedAlgorithm.follow_build`."""
        reader, failures = LogReader(), 0
        while True:
            opened = await self._transport.run(
                _build_flow.open_log(self.ref, build_id, after=reader.last_id)
            )
            if opened is None:
                yield await self._log_at_the_end(build_id)
                return
            reader.begin()
            problem: ConnectionLost | ResponseTimeout = ConnectionLost("The log broke off.")
            try:
                async for data in opened.stream:
                    for piece in reader.feed(data):
                        if piece.is_end:
                            return
                        failures = 0
                        yield piece.text
            except (ConnectionLost, ResponseTimeout) as error:
                problem = error
            finally:
                await opened.stream.aclose()
            failures += 1
            if failures > self._transport.retries_max:
                raise problem
            await self._transport.pause(pause_after(failures))

    async def _log_at_the_end(self, build_id: str) -> str:
        while not (await self.build(build_id)).is_finished:
            await self._transport.pause(Pause(shortest_s=POLL_S, longest_s=POLL_S))
        return await self.build_log(build_id)

    async def cancel_build(self, build_id: str) -> None:
        """End a build, as `ManagedAlgorithm.cancel_build`."""
        await self._transport.run(_build_flow.cancel_build(self.ref, build_id))

    async def errors(self) -> list[FailedCall]:
        """Return its last failed calls, as `ManagedAlgorithm.errors`."""
        return await self._transport.run(_algorithm_flow.errors(self.ref))

    async def scm_status(self) -> ScmStatus:
        """Return whether the server reaches its source, as `ManagedAlgorithm.scm_status`."""
        return await self._transport.run(_algorithm_flow.scm_status(self.ref))

    async def schema(self, version: str) -> dict[str, Any]:
        """Return what a version takes and gives, as `ManagedAlgorithm.schema`."""
        return await self._transport.run(_algorithm_flow.json_document(self.ref, version, "schema"))

    async def openapi(self, version: str = "") -> dict[str, Any]:
        """Return how a version is called, as `ManagedAlgorithm.openapi`."""
        return await self._transport.run(_algorithm_flow.openapi(self.ref, version))

    async def sbom(self, version: str) -> dict[str, Any]:
        """Return the bill of materials of a version, as `ManagedAlgorithm.sbom`."""
        return await self._transport.run(_algorithm_flow.json_document(self.ref, version, "sbom"))

    async def provenance(self, version: str) -> dict[str, Any]:
        """Return how a version was built, as `ManagedAlgorithm.provenance`."""
        return await self._transport.run(
            _algorithm_flow.json_document(self.ref, version, "provenance")
        )

    async def lock(self, version: str) -> str:
        """Return the packages of a version, as `ManagedAlgorithm.lock`."""
        return (
            await self._transport.run(_algorithm_flow.document(self.ref, version, "lock"))
        ).decode()

    async def commits(self, *, since: str = "", until: str = "") -> list[CommitInfo]:
        """Return the commits of the default branch, newest first, as `ManagedAlgorithm.commits`."""
        return await self._transport.run(_build_flow.commits(self.ref, since=since, until=until))

    async def source(self, *, at: str = "") -> SourceTree:
        """Return what is in its source, as `ManagedAlgorithm.source`."""
        return await self._transport.run(_source_flow.tree(self.ref, at=at))

    async def source_file(self, path: str, *, at: str = "") -> bytes:
        """Return a file of its source, as `ManagedAlgorithm.source_file`."""
        return await self._transport.run(_source_flow.source_file(self.ref, path, at=at))

    async def set_default_collection(self, collection: str | DataUri) -> None:
        """Give it a collection of yours, as `ManagedAlgorithm.set_default_collection`."""
        uri = DataUri.parse(collection) if isinstance(collection, str) else collection
        await self._transport.run(_operation_flow.set_default_collection(self.ref, uri))

    async def source_archive(self, *, at: str = "") -> bytes:
        """Return all files of its source, as `ManagedAlgorithm.source_archive`."""
        return await self._transport.run(_source_flow.archive(self.ref, at=at))

    async def commit(
        self,
        changes: Mapping[str, bytes | str | None],
        *,
        message: str,
        parent: str = "",
        build: bool = False,
    ) -> str:
        """Change files of its source, as `ManagedAlgorithm.commit`."""
        return await self._transport.run(
            _source_flow.commit(self.ref, changes, message=message, parent=parent, build=build)
        )
