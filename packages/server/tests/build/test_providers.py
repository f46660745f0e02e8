"""What providers answer is a stranger's word: checked, quoted without secrets, never followed."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scm_providers.github_place import GitHubPlace
from scm_providers.place import running

from algorium_server.build.providers.calling import Caller, api_of, oauth_of
from algorium_server.build.providers.provider import Answer, RemoteRepository
from algorium_server.domain.errors import (
    AlgoriumError,
    OAuthUnsupported,
    ScmFailed,
    ScmForbids,
    ScmLacks,
    ScmRejects,
    ScmRejectsCredentials,
    ScmUnreachable,
)
from algorium_server.domain.scms import Provider, Scm, ScmCredentials, ScmUrls

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MINE = ScmCredentials(token="secret-token-0123456789", username="jane")
KNOWN = RemoteRepository(repository_id="1", owner="o", name="n", branch="main")
EXTERNAL = [provider for provider in Provider if provider is not Provider.INTERNAL]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("id", "uuid", "owner", "login", "name", "slug", "project", "key", "values"),
                    *("path_with_namespace", "full_name", "username", "mainbranch", "error"),
                    *(
                        "default_branch",
                        "message",
                        "errors",
                        "access_token",
                        "next",
                        "organization",
                    ),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


def host(provider: Provider, web: str = "https://host.example") -> Scm:
    urls = ScmUrls(web=web, api=web, ssh="ssh://git@host.example")
    return Scm(scm_id="x", provider=provider, urls=urls, client_id="id", created_at=NOW)


def driven(operation, *answers):
    """Drive an operation by hand; return its result and what it asked."""
    asked = []
    try:
        asked.append(next(operation))
        for answer in answers:
            asked.append(operation.send(answer))  # noqa: PERF401 - it ends by an exception
    except StopIteration as end:
        return end.value, asked
    raise AssertionError("it asks for more")


def said(value, status=200, **headers):
    return Answer(status=status, body=json.dumps(value).encode(), headers=headers)


OPERATIONS = (
    lambda api: api.profile(MINE),
    lambda api: api.create_repository(MINE, owner="o", name="n", description=""),
    lambda api: api.repository(MINE, owner="o", name="n"),
    lambda api: api.repository_now(MINE, KNOWN),
    lambda api: api.add_deploy_key(MINE, KNOWN, title="t", public_key="ssh-ed25519 A"),
    lambda api: api.add_webhook(MINE, KNOWN, url="https://x", secret="s"),
    lambda api: api.remove_webhook(MINE, KNOWN, "1"),
    lambda api: api.remove_deploy_key(MINE, KNOWN, "1"),
    lambda api: api.remove_repository(MINE, KNOWN),
)


@given(
    st.sampled_from(EXTERNAL),
    st.sampled_from(OPERATIONS),
    st.lists(
        st.tuples(JSON, st.sampled_from([200, 201, 301, 401, 403, 404, 422, 500])), max_size=30
    ),
)
def test_whatever_a_provider_says_ends_in_a_result_or_in_words(provider, operation, answers):
    running_operation = operation(api_of(host(provider)))
    try:
        request = next(running_operation)
        for value, status in [*answers, *[(None, 500)] * 40]:
            assert request.url.startswith("https://host.example/")
            request = running_operation.send(said(value, status))
    except StopIteration:
        return
    except AlgoriumError:
        return
    raise AssertionError("it asks without end")


@pytest.mark.parametrize("provider", EXTERNAL)
def test_refusals_become_errors_that_say_what_to_do(provider):
    api = api_of(host(provider))
    for status, kind in (
        (401, ScmRejectsCredentials),
        (403, ScmForbids),
        (404, ScmLacks),
        (422, ScmRejects),
        (302, ScmRejects),
        (503, ScmFailed),
    ):
        with pytest.raises(kind, match=provider.label):
            driven(api.repository(MINE, owner="o", name="n"), said({"message": "No."}, status))
    body = {"message": "No.", "errors": [{"message": "name is taken"}, "No."]}
    with pytest.raises(ScmRejects, match=r"No\.; name is taken"):
        driven(api.repository(MINE, owner="o", name="n"), said(body, 422))


def test_names_that_git_would_take_for_options_are_not_taken():
    api = api_of(host(Provider.GITHUB))
    for owner, name, branch in (("-o", "n", "b"), ("o", "--upload-pack=x", "b"), ("o", "n", "-b")):
        value = {"id": 1, "owner": {"login": owner}, "name": name, "default_branch": branch}
        with pytest.raises(ScmFailed, match="not supported"):
            driven(api.repository(MINE, owner="o", name="n"), said(value))


def test_organizations_come_in_pages():
    api = api_of(host(Provider.GITHUB))
    page = [{"role": "member", "organization": {"login": f"o{n}"}} for n in range(100)]
    last = [{"role": "admin", "organization": {"login": "last"}}]
    profile, asked = driven(api.profile(MINE), said({"login": "jane"}), said(page), said(last))

    assert len(profile.organizations) == 101
    assert profile.organizations[-1].access_level == "OWNER"
    assert [request.url.rpartition("page=")[2] for request in asked[1:]] == ["1", "2"]


def test_bitbucket_clouds_api_tokens_go_by_another_name_in_git():
    api = api_of(host(Provider.BITBUCKET_CLOUD))
    for username, in_git in (("jane", "jane"), ("j@example.com", "x-bitbucket-api-token-auth")):
        login = api.git_login(ScmCredentials(username=username, password="secret"))
        assert (login.username, login.password) == (in_git, "secret")


def test_bitbucket_server_is_not_connected_in_a_browser():
    with pytest.raises(OAuthUnsupported, match="token"):
        oauth_of(host(Provider.BITBUCKET_SERVER))


def test_secrets_are_struck_out_of_what_a_host_repeats(tmp_path):
    async def ask(web):
        caller = Caller()
        try:
            api = api_of(host(Provider.GITHUB, web))
            await caller.run(api.profile(MINE), secrets=MINE.secrets)
        finally:
            await caller.close()

    with running(GitHubPlace(tmp_path)) as place:
        place.answer = lambda call: (422, {"message": f"bad {call.bearer()}"}, {})  # type: ignore[method-assign]
        with pytest.raises(ScmRejects) as refused:
            asyncio.run(ask(place.web))
        place.answer = lambda _: (200, {"login": "x" * 5_000_000}, {})  # type: ignore[method-assign]
        with pytest.raises(ScmFailed, match="too long"):
            asyncio.run(ask(place.web))
        place.answer = lambda _: (302, None, {"Location": "http://127.0.0.1:9/"})  # type: ignore[method-assign]
        with pytest.raises(ScmRejects, match="urls"):
            asyncio.run(ask(place.web))

    assert MINE.token not in refused.value.message
    assert "bad ***" in refused.value.message
    with pytest.raises(ScmUnreachable, match=r"127\.0\.0\.1"):
        asyncio.run(ask("http://127.0.0.1:1"))
