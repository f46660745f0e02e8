"""The table of codes is the contract with every client ever written: its numbers never move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium.wire.codes import (
    AUTHOR_ERROR_TYPES,
    BY_NUMBER,
    CODES,
    DEFAULT_ERROR_TYPE,
    ERROR_TYPES,
    standard_error_type,
)

# Written out again on purpose: a slip in the table must not move the expectation with it.
STATUS_OF_NUMBERS = {
    400: [
        *(1002, 1003, 1007, 1015, 1016),
        *(2012, 2013, 2014, 2015, 2016, 2017, 2018),
        *(3001, 3005, 3007, 3008, 3009, 3010, 3102, 3103, 3105, 3106, 3107, 3109, 3110),
        *(3300, 3301, 3302),
        *(4001, 4002, 4003, 4004, 4007, 4010, 4011, 4012, 4020, 4021, 4040, 4041, 4042, 4043),
        *(4045, 4050, 4051, 4052, 4070, 4080, 4081, 4082),
        *(5002, 5003, 6001),
        *(8000, 8001, 8003, 8004, 8005, 8010, 8011, 8012, 8013, 8014, 8060, 8061),
    ],
    401: [2002],
    403: [1006, 2001],
    404: [
        *(1000, 1001, 1004, 1005, 1009, 1010, 1011, 1013, 1014, 1017),
        *(3000, 3100, 3108, 4006, 4008, 4009, 5004, 7000, 8006, 8008),
    ],
    409: [1012, 2011, 3003, 3004, 3101, 4005, 4044, 7002, 7003],
    422: [7001],
    500: [1008, 3104, 4083, 4084, 5001, 8002, 8007, 8009],
    501: [5005],
}


def test_every_code_travels_with_its_status():
    expected = {
        number: status for status, numbers in STATUS_OF_NUMBERS.items() for number in numbers
    }

    assert {code.number: code.status for code in CODES} == expected


def test_codes_are_in_order_and_unique():
    numbers = [code.number for code in CODES]
    names = [code.name for code in CODES]

    assert numbers == sorted(set(numbers))
    assert len(names) == len(set(names))
    assert all(BY_NUMBER[code.number] is code for code in CODES)


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_every_code_says_a_sentence(code):
    assert code.sentence.endswith(".")
    assert code.sentence[0] == "`" or code.sentence[0].isupper()
    assert "\n" not in code.sentence


def test_only_failures_of_the_platform_are_worth_a_retry():
    assert all(code.status >= 500 for code in CODES if code.is_retryable)


def test_error_types_are_unique_and_one_is_the_default():
    names = [error_type.name for error_type in ERROR_TYPES]

    assert len(names) == len(set(names)) == 16
    assert DEFAULT_ERROR_TYPE in AUTHOR_ERROR_TYPES


@pytest.mark.parametrize(
    "raw",
    [
        "InputError",
        "OutOfMemoryError",
        "TooLargeError",
        "AlgorithmError",
        "SystemExit",
        "LoadingError",
    ],
)
def test_a_standard_type_passes_as_it_is(raw):
    assert standard_error_type(raw) == raw


@pytest.mark.parametrize(
    "raw",
    [
        None,
        17,
        ["InputError"],
        {"name": "InputError"},
        "",
        "inputerror",
        "class java.lang.RuntimeException",
        "TimeoutError",
        "PaymentRequiredError",
        "SystemError",
    ],
)
def test_what_an_author_may_not_claim_becomes_the_default(raw):
    assert standard_error_type(raw) == DEFAULT_ERROR_TYPE


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text()
    | st.sampled_from([t.name for t in ERROR_TYPES]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(json_values)
def test_any_value_is_reduced_to_a_standard_type_and_stays_there(raw):
    reduced = standard_error_type(raw)

    assert reduced in {error_type.name for error_type in ERROR_TYPES}
    assert standard_error_type(reduced) == reduced
