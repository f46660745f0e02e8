"""A builder with everything it needs, for tests of builds."""

import asyncio
import uuid
from datetime import UTC, datetime

from algorium_server.build.builder import Builder
from algorium_server.build.environments import Environments
from algorium_server.build.source.repositories import Repositories, Signature
from algorium_server.domain.algorithms import Algorithm, AlgorithmSettings, Build, BuildStatus

NOW = datetime(2026, 1, 2, tzinfo=UTC)
JANE = Signature(name="Jane", email="", at=NOW)
NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


class Site:
    """A builder with everything it needs, below one directory."""

    def __init__(self, home, jobs, *, inherited=NOWHERE, inherited_by_tools=NOWHERE, **options):
        self.home = home
        self.jobs = jobs
        self.repositories = Repositories(home / "repos")
        self.environments = Environments(home / "envs", inherited=inherited)
        self.builder = Builder(
            repositories=self.repositories,
            environments=self.environments,
            builds_dir=home / "builds",
            run_confined=jobs,
            inherited=inherited_by_tools,
            **options,
        )

    def build(self, files, *, language="python3", on_step=None):
        return asyncio.run(self._build(files, language, on_step))

    async def _build(self, files, language, on_step):
        algorithm = Algorithm(
            algorithm_id=str(uuid.uuid4()),
            owner_id="owner",
            name="Hello",
            settings=AlgorithmSettings(language=language),
            created_at=NOW,
        )
        await self.repositories.create("owner", algorithm.algorithm_id)
        sha = await self.repositories.commit(
            "owner", algorithm.algorithm_id, files, author=JANE, message="Begin"
        )
        build = Build(
            build_id=str(uuid.uuid4()),
            algorithm_id=algorithm.algorithm_id,
            commit_sha=sha,
            status=BuildStatus.IN_PROGRESS,
            started_at=NOW,
        )
        return await self.builder.build(build, algorithm=algorithm, on_step=on_step)
