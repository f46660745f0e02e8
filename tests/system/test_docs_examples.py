"""
What the pages ask a reader to type does what they say.

Every page of the guides and concepts, and the README: its blocks are typed in order, in a home and
a directory of their own, beside one server. A page that needs what this machine may not have says
so here, with the reason.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from pages import SHOWN, TYPED, Block, blocks_of, type_all
from projects import without_requirements
from running import RunningServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    *(
        path.relative_to(ROOT).as_posix()
        for part in ("guides", "concepts")
        for path in sorted((ROOT / "docs" / part).glob("*.md"))
    ),
]

ADDRESSES = r"http://127\.0\.0\.1:8080|https://algorium\.example\.com"
"""What pages call the server, here and elsewhere."""

NOT_TYPED = {
    "docs/guides/backup-and-upgrade.md": "it stops and replaces the server; tests/system/"
    "test_backup.py takes the same steps",
    "docs/guides/connect-a-bucket.md": "it needs a bucket; tests/system/test_connectors.py has one",
    "docs/guides/connect-source-hosting.md": "it needs accounts at GitHub and others; "
    "tests/system/test_source_hosts.py plays them",
    "docs/guides/models.md": "it needs models; tests/system/test_models.py has some",
    "docs/guides/tutorial.md": "tests/system/test_stranger.py follows it, in terminals",
}
"""Pages whose blocks cannot be typed here, and why."""

WITH_PACKAGES = {"README.md"}
"""Pages whose algorithms have requirements, which the server fetches."""

EXPECTED = {
    "README.md": ['"result":"Hello HAL 9000"', "Hello HAL 9000\n", "hello Jane"],
    "docs/guides/author-from-the-command-line.md": [
        "\n3\n",
        "admin/Wordcount/0.1.0\n",
        "admin/Wordcount/0.1.1\n",
        "failed, as it should\n",
        "AlgorithmError: there is no text",
        "nothing new\n",
        "admin/Charcount/0.1.0 4\n",
    ],
    "docs/guides/first-call.md": [
        '"result":"Hello HAL 9000"',
        "Hello HAL 9000\n",
        "1000 algorithm algo://util/WhoopsWrongAlgo not found",
    ],
    "docs/guides/calling-from-python.md": [
        "Hello HAL 9000\n",
        "apple 3\nb'\\x00\\x01'\n",
        "Hello Ann\nHello Bob\nHello Cleo\n",
        "the call failed: 1000 algorithm algo://util/WhoopsWrongAlgo not found\n",
        "a cat, from far away\n['cat.txt']\nHello asyncio\n",
    ],
    "docs/guides/ci-cd.md": ["desserts\n"],
    "docs/guides/migrating-from-algorithmia.md": [
        "admin/Themes/1.4.2",
        '["be", "not", "or", "to"]',
        "net.bin",
        '"result":["be","not","to"]',
    ],
    "docs/guides/other-clients.md": ['"result":"Hello HAL 9000"'],
    "docs/guides/moving-from-the-official-client.md": [
        "Hello HAL 9000 text\n",
        "Hello old friend\n",
    ],
    "docs/guides/publish-an-algorithm.md": ["Welcome, Jane", "1.0.0", "Welcome, everybody"],
    "docs/guides/working-with-data.md": [
        "Hello\n",
        "somebody else was faster\n",
        "('3.txt',) ('4.txt',)\n",
        "copied b.jpg\ndeleted a.jpg\npicture\n121\n",
    ],
}
"""What must be among the output of a page, in this order."""


FOUND = {
    "docs/guides/migrating-from-algorithmia.md": """
mkdir -p old/data/models old/Themes/src
echo weights > old/data/models/net.bin
git -C old/Themes init --quiet --initial-branch=master
cat > old/Themes/src/Themes.py <<'END'
def apply(input):
    return sorted(set(input.split()))
END
git -C old/Themes add --all
git -C old/Themes commit --quiet --message "As it was"
""",
}
"""What a reader of a page has already, as commands that make it."""


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Yield a server with the people that pages speak of: jane and joe, and jane's acme."""
    place = tmp_path_factory.mktemp("documented")
    examples = without_requirements(ROOT / "examples", place / "examples")
    with RunningServer(place / "home", "--demo", "--examples-dir", str(examples)) as running:
        for name in ("jane", "joe"):
            running.add_user(name)
        made = httpx2.post(
            f"{running.api}/v1/organizations",
            json={"org_name": "acme", "org_label": "Acme", "org_contact_name": "Jane Doe"}
            | {"org_email": "acme@example.com", "owner_ids": ["jane"]},
            headers={"Authorization": f"Simple {running.credentials['admin_api_key']}"},
            timeout=60,
        )
        assert made.status_code == 200, made.text
        yield running


def furnished(home: Path, beside: RunningServer) -> Path:
    """Make the home of a reader who has met git and curl, and answers when git asks."""
    home.mkdir()
    (home / ".algorium").symlink_to(beside.home)
    (home / ".gitconfig").write_text("[user]\nname = Reader\nemail = reader@example.com\n")
    # A refusal must not pass for a success.
    (home / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    answers = home / "answers"
    answers.write_text(
        f'#!/bin/sh\ncase "$1" in Username*) echo admin ;; *) echo "{beside.key}" ;; esac\n'
    )
    answers.chmod(0o700)
    return home


def blocks_on(page: str) -> list[Block]:
    return blocks_of((ROOT / page).read_text(encoding="utf-8"))


def typed_pages() -> list[str]:
    return [
        page
        for page in PAGES
        if page not in NOT_TYPED and any(block.language in TYPED for block in blocks_on(page))
    ]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.network if page in WITH_PACKAGES else ())
        for page in typed_pages()
    ],
)
def test_what_a_page_says_can_be_typed(
    page: str, beside: RunningServer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if page in WITH_PACKAGES:
        request.getfixturevalue("registry")
    home = furnished(tmp_path / "home", beside)
    blocks = [
        block._replace(text=re.sub(ADDRESSES, beside.api, block.text)) for block in blocks_on(page)
    ]

    found = [Block(line=0, language="sh", text=FOUND[page])] if page in FOUND else []

    told = type_all(
        found + blocks,
        tmp_path,
        environment={
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ALGORITHMIA_API": beside.api,
            "ALGORITHMIA_API_KEY": beside.key,
            "GIT_ASKPASS": str(home / "answers"),
        },
        timeout_s=200,
    )

    rest = told
    for expected in EXPECTED.get(page, ()):
        assert expected in rest, told
        rest = rest.partition(expected)[2]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_whether_it_is_typed(page: str) -> None:
    unknown = [
        f"{page}:{block.line}: {block.language or 'no language'}"
        for block in blocks_on(page)
        if block.language not in TYPED | SHOWN
    ]

    assert unknown == []


def test_pages_that_are_not_typed_have_something_to_type() -> None:
    for page in NOT_TYPED:
        assert any(block.language in TYPED for block in blocks_on(page)), page
    assert set(EXPECTED) <= set(typed_pages())


def test_every_route_of_the_openapi_document_is_in_the_reference(beside: RunningServer) -> None:
    document = httpx2.get(f"{beside.api}/v1/openapispec", timeout=60).json()
    reference = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
    described = set(re.findall(r"[\w.-]+", reference))

    words = {word for path in document["paths"] for word in re.findall(r"/([\w.-]+)", path)}
    assert len(words) > 50
    assert words <= described
