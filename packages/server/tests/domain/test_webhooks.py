"""Messages of source hosts: which are true, and what they mean; garbage is refused with words."""

import hashlib
import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.errors import WebhookMalformed
from algorium_server.domain.scm_names import is_branch, is_repository
from algorium_server.domain.scms import Provider
from algorium_server.domain.webhooks import (
    Changed,
    Ignored,
    Pushed,
    delivery_keys,
    is_genuine,
    read_event,
)

EXTERNAL = [provider for provider in Provider if provider is not Provider.INTERNAL]
EVENTS = {
    Provider.GITHUB: ("x-github-event", ["push", "repository", "ping", "star"]),
    Provider.GITLAB: ("x-gitlab-event", ["Push Hook", "System Hook", "Tag Push Hook"]),
    Provider.BITBUCKET_SERVER: ("x-event-key", ["repo:refs_changed", "repo:modified"]),
    Provider.BITBUCKET_CLOUD: ("x-event-key", ["repo:push", "repo:updated"]),
}
WORDS = st.sampled_from(
    [
        *("repository", "owner", "login", "name", "id", "ref", "after", "deleted", "changes"),
        *("push", "new", "type", "project", "path_with_namespace", "project_id", "uuid", "action"),
        *("full_name", "displayId", "slug", "key", "object_kind", "mainbranch", "default_branch"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["push", "a/b", "refs/heads/x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)


def signature(secret: bytes, body: bytes, method: str = "sha256") -> str:
    return f"{method}={hmac.new(secret, body, getattr(hashlib, method)).hexdigest()}"


@given(st.sampled_from(EXTERNAL), st.data(), VALUES)
def test_whatever_comes_is_understood_or_refused(provider, data, value):
    header, events = EVENTS[provider]
    headers = {header: data.draw(st.sampled_from(events))}
    try:
        event = read_event(provider, headers, msgspec.json.encode(value))
    except WebhookMalformed:
        return

    assert isinstance(event, (Pushed, Changed, Ignored))
    if not isinstance(event, Ignored):
        assert is_repository(event.repository.owner, event.repository.name)


@given(st.sampled_from(EXTERNAL), st.binary(max_size=40))
def test_what_is_no_json_is_refused(provider, body):
    header, events = EVENTS[provider]
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        with pytest.raises(WebhookMalformed):
            read_event(provider, {header: events[0]}, body)


@pytest.mark.parametrize("provider", EXTERNAL)
def test_a_message_without_the_headers_of_its_host_is_refused(provider):
    with pytest.raises(WebhookMalformed, match="missing"):
        read_event(provider, {}, b"{}")


@given(st.binary(max_size=60), st.text(min_size=1, max_size=20))
def test_only_who_knows_the_secret_signs(body, secret):
    key = secret.encode("utf-8", "replace")
    for method in ("sha1", "sha256"):
        headers = {"x-hub-signature": signature(key, body, method)}
        wrong = {"x-hub-signature": signature(key + b"x", body, method)}
        other = {"x-hub-signature": signature(key, body + b"x", method)}

        for provider in (Provider.GITHUB, Provider.BITBUCKET_SERVER):
            options = {"secret": secret, "token": ""}
            assert is_genuine(provider, headers, body, **options)
            assert not is_genuine(provider, wrong, body, **options)
            assert not is_genuine(provider, other, body, **options)
            assert not is_genuine(provider, {}, body, **options)


def test_two_signatures_must_both_fit():
    good, bad = signature(b"secret", b"body"), signature(b"guess", b"body")

    for first, second in ((good, bad), (bad, good)):
        headers = {"x-hub-signature-256": first, "x-hub-signature": second}
        assert not is_genuine(Provider.GITHUB, headers, b"body", secret="secret", token="")
    for odd in ("", "sha256", "md5=00", "sha256=zz", "=x"):
        headers = {"x-hub-signature": odd}
        assert not is_genuine(Provider.GITHUB, headers, b"body", secret="secret", token="")


def test_a_token_in_the_address_is_enough_for_bitbucket_cloud_unless_it_signs_as_well():
    cloud, body = Provider.BITBUCKET_CLOUD, b"body"
    bad = {"x-hub-signature": signature(b"guess", body)}

    assert is_genuine(cloud, {}, body, secret="secret", token="secret")
    assert not is_genuine(cloud, {}, body, secret="secret", token="")
    assert not is_genuine(cloud, bad, body, secret="secret", token="secret")
    assert not is_genuine(cloud, {}, body, secret="", token="")
    assert not is_genuine(Provider.GITLAB, {}, body, secret="", token="")


def test_a_message_is_known_by_its_number_and_by_its_words():
    headers = {"x-github-event": "push", "x-github-delivery": "1"}
    known = delivery_keys(Provider.GITHUB, headers, b"body")

    for other, body, is_known in (
        ({"x-github-delivery": "2"}, b"body", True),
        ({}, b"other", True),
        ({"x-github-delivery": "2"}, b"other", False),
        ({"x-github-delivery": "2", "x-github-event": "ping"}, b"body", False),
    ):
        keys = delivery_keys(Provider.GITHUB, headers | other, body)
        assert bool(set(keys) & set(known)) is is_known
    assert all(len(key) == 64 for key in known)


@pytest.mark.parametrize(
    ("provider", "name"),
    [(Provider.GITLAB, "idempotency-key"), (Provider.BITBUCKET_CLOUD, "x-request-uuid")],
)
def test_a_push_that_is_taken_back_and_made_again_counts_again(provider, name):
    first, again = (delivery_keys(provider, {name: number}, b"body") for number in "12")

    assert not set(first) & set(again)
    assert delivery_keys(provider, {name: "1", "x-gitlab-event-uuid": "2"}, b"other") == first
    assert delivery_keys(provider, {}, b"body") != delivery_keys(provider, {}, b"other")


def test_a_form_with_json_in_it_is_read_as_well():
    headers = {"x-github-event": "ping", "content-type": "application/x-www-form-urlencoded"}

    assert read_event(Provider.GITHUB, headers, b"payload=%7B%7D") == Ignored(reason="a ping")
    with pytest.raises(WebhookMalformed):
        read_event(Provider.GITHUB, headers, b"payload")


@given(st.text(max_size=20))
def test_names_that_reach_git_are_plain(text):
    if is_branch(text):
        assert not text.startswith(("-", "/", "."))
        assert ".." not in text
        assert text.isascii()
    if is_repository("o", text):
        assert not text.startswith(("-", "."))
        assert "/" not in text
