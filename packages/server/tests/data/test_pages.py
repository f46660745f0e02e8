import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.data.pages import marker_after, name_of_marker, page_of_folders
from algorium_server.domain.errors import InvalidMarker
from algorium_server.domain.limits import LISTING_ENTRIES_MAX

NAMES = st.text(st.characters(exclude_categories=["Cs"]))


@given(NAMES)
def test_a_marker_leads_back_to_its_name(name):
    assert name_of_marker(marker_after(name)) == name


@given(NAMES)
def test_a_marker_needs_no_encoding_in_a_query(name):
    assert re.fullmatch(r"[A-Za-z0-9_-]+", marker_after(name))


def test_no_marker_means_the_first_page():
    assert name_of_marker("") == ""


@pytest.mark.parametrize(
    "marker", ["x", "true", "ü", "!!!!", "e30", "W10", "eyJhZnRlciI6MX0", "/w"]
)
def test_what_no_listing_gave_is_refused(marker):
    with pytest.raises(InvalidMarker) as caught:
        name_of_marker(marker)

    assert caught.value.code == 5002
    assert caught.value.status == 400


@given(st.text())
def test_any_text_is_a_marker_or_refused(text):
    try:
        name_of_marker(text)
    except InvalidMarker:
        return


def test_folders_are_sorted_and_the_last_page_has_no_marker():
    page = page_of_folders(["b", "a", "C"])

    assert page.folders == ("C", "a", "b")
    assert page.marker == ""


@pytest.mark.parametrize("count", [LISTING_ENTRIES_MAX, LISTING_ENTRIES_MAX + 1, 2500])
def test_pages_hold_every_folder_once(count):
    names = [f"folder{number:05}" for number in range(count)]
    seen, marker, pages = [], "", 0
    while pages == 0 or marker:
        page = page_of_folders(names, marker=marker)
        seen.extend(page.folders)
        marker, pages = page.marker, pages + 1

    assert seen == names
    assert pages == -(-count // LISTING_ENTRIES_MAX)
