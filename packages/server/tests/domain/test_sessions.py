from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.sessions import (
    check_return_to,
    csrf_token,
    is_csrf_token,
    is_from_elsewhere,
)

API = "https://api.example.com"


@pytest.mark.parametrize(
    "path", ["/", "/a/b?c=d&e=/f#g", "/a//b", "/%5cb", "/?next=//evil.example"]
)
def test_a_browser_may_return_to_a_path_here(path):
    assert check_return_to(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        " /",
        "/caf\xe9",
        "/" + "a" * 1000,
    ],
)
def test_it_may_return_to_nowhere_else(path):
    with pytest.raises(InvalidInput):
        check_return_to(path)


@given(st.text(alphabet="/\\.:@?#a\t\n \x00%é", max_size=20))
def test_whatever_is_accepted_stays_on_this_server(path):
    try:
        check_return_to(path)
    except InvalidInput:
        return
    # As browsers do it: backslashes are slashes, tabs and line ends are nothing.
    seen = path.replace("\\", "/").translate({9: None, 10: None, 13: None})

    assert urlsplit(urljoin("https://here.example/x", seen)).netloc == "here.example"


@given(st.text(), st.text())
def test_a_token_belongs_to_one_cookie(cookie, other):
    assert is_csrf_token(csrf_token(cookie), cookie)
    assert is_csrf_token(csrf_token(other), cookie) == (other == cookie)
    assert not cookie or cookie not in csrf_token(cookie) or len(cookie) < 8


@pytest.mark.parametrize(
    ("origin", "fetch_site", "host", "is_elsewhere"),
    [
        (None, None, "", False),
        (API, "same-origin", "other", False),
        (API.upper(), None, "", False),
        ("http://127.0.0.1:8080", "same-origin", "127.0.0.1:8080", False),
        (None, "none", "", False),
        ("http://api.example.com", None, "", True),
        ("https://api.example.com:8443", None, "", True),
        ("https://www.example.com", "same-site", "api.example.com", True),
        (API, "cross-site", "", True),
        (None, "Cross-Site", "", True),
        ("null", None, "null", True),
        ("", None, "", True),
        ("https://[", None, "", True),
    ],
)
def test_pages_of_others_are_told_from_ours(origin, fetch_site, host, is_elsewhere):
    found = is_from_elsewhere(origin=origin, fetch_site=fetch_site, host=host, public_url=API)

    assert found == is_elsewhere
