"""Algorithms for those who make them: `client.algorithms`."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from algorium import _algorithm_flow, _connector_flow
from algorium._managed import ManagedAlgorithm
from algorium._transport import SyncTransport
from algorium._wishes import AlgorithmChanges, algorithm_wish, known_options
from algorium.wire.authoring import AlgorithmInfo, FailedCall
from algorium.wire.refs import AlgorithmRef


def parsed(ref: str | AlgorithmRef) -> AlgorithmRef:
    """Return a reference, read from text if need be."""
    return AlgorithmRef.parse(ref) if isinstance(ref, str) else ref


class Algorithms:
    """
    Algorithms that you make. See `Algorium.algorithms`.

    Called with a reference it gives a handle to build, publish and look into one algorithm.

    Example:
        client.algorithms.create("ada/Wordcount")
        wordcount = client.algorithms("ada/Wordcount")
        wordcount.compile()
        print(wordcount.publish(version_type="minor", release_notes="The first one.").ref)
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def __call__(self, ref: str | AlgorithmRef) -> ManagedAlgorithm:
        """
        Return a handle of an algorithm; nothing is sent yet.

        Args:
            ref: `owner/name` or the algorithm's id.

        Raises:
            RefSyntaxError: A ValueError that names the column.
        """
        return ManagedAlgorithm(self._transport, parsed(ref))

    def create(
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
        """
        Create an algorithm; its source begins with the template of its language.

        Args:
            ref: `owner/name`; the owner is you or an organization that you belong to.
            language: One of `client.environments.languages()`.
            environment: Id of one of `client.environments.list(language)`, instead of *language*.
            label: Its name for people.
            summary: What it does, for its page.
            tagline: The same in a sentence.
            source_visibility: `closed`, or `open`: whoever may call it may read its source.
            license: `apl`, `apache2`, `gpl3` or `mit`.
            network_access: `isolated`, or `full`: it reaches public addresses.
            is_pipeline_enabled: It may call other algorithms.
            sample_input: An example: text, or what becomes JSON.
            source: Where its source is to be hosted, as the wire has it; here by default.
            settings: Further settings, as the wire has them.

        Raises:
            AlgorithmNameTaken: The owner has one of that name.
            InvalidInput: A setting is wrong.
            NotAuthorized: You may not create algorithms of that owner.
        """
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
        return self._transport.run(_algorithm_flow.create(wanted, wish))

    def get(self, ref: str | AlgorithmRef) -> AlgorithmInfo:
        """
        Return an algorithm as it was built or published last, as far as you may see that.

        Raises:
            AlgorithmNotFound: There is none.
            NotAuthorized: There is one, but not for you.
        """
        return self(ref).info()

    def list(self, owner: str = "") -> Sequence[AlgorithmInfo]:
        """
        Return the algorithms of an account that you may see.

        Args:
            owner: User or organization; yours if left out.
        """
        owner = owner or self._transport.run(_connector_flow.whoami())
        return self._transport.run(_algorithm_flow.owned(owner))

    def update(self, ref: str | AlgorithmRef, **changes: Unpack[AlgorithmChanges]) -> AlgorithmInfo:
        """Change an algorithm, as `ManagedAlgorithm.update`."""
        return self(ref).update(**known_options(changes, AlgorithmChanges))

    def delete(self, ref: str | AlgorithmRef) -> None:
        """Delete an algorithm, as `ManagedAlgorithm.delete`."""
        self(ref).delete()

    def exists(self, ref: str | AlgorithmRef) -> bool:
        """Tell whether there is an algorithm, even one that you may not see."""
        return self._transport.run(_algorithm_flow.exists(parsed(ref)))

    def errors_of(self, account: str, *, is_organization: bool = False) -> Sequence[FailedCall]:
        """
        Return the last failed calls of an account's algorithms, and those it made, newest first.

        Args:
            account: You, or an organization that you belong to.
            is_organization: Say so if it is one.

        Raises:
            NotAuthorized: The key may not read error logs.
        """
        return self._transport.run(
            _algorithm_flow.errors_of(account, is_organization=is_organization)
        )
