"""
Algorithms: created, changed, deleted; what their authors and others see of them.

Source: wire specification, "Create, read, update, delete".
"""

from algorium_server.build.repositories import Repositories
from algorium_server.services.authors import Authors
from algorium_server.services.builds import Builds
from algorium_server.services.directory import Directory
from algorium_server.services.hosts import SourceHosts
from algorium_server.services.publishing import Publishing
from algorium_server.store.database import Database


class Algorithms:
    """
    Use cases of those who make algorithms.

    Args:
        database: Where rows are.
        directory: Told of everything new.
        authors: Says who may do what.
        builds: Builds commits.
        publishing: Publishes builds.
        repositories: Where source is.
        hosts: Where new source is hosted.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        authors: Authors,
        builds: Builds,
        publishing: Publishing,
        repositories: Repositories,
        hosts: SourceHosts,
    ) -> None:
        self._database = database
        self._directory = directory
        self._authors = authors
        self._builds = builds
        self._publishing = publishing
        self._repositories = repositories
        self._hosts = hosts
