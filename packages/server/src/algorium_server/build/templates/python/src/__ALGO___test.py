from unittest import mock

# Importing the algorithm would serve it.
with mock.patch("Algorithmia.ADK"):
    from .__ALGO__ import apply


def test_it_says_hello():
    assert apply("Jane") == "hello Jane"
