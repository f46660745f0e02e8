"""The names that settings have for languages."""

import pytest

from algorium_server.domain.languages import Language, language_of


@pytest.mark.parametrize(
    ("language", "names"),
    [
        (
            Language.PYTHON,
            "python3 python3-1 python3.9 python3.13 python-3.x-1 Python3 python-3.x",
        ),
        (Language.NODE, "javascript node nodejs node-5.x-1 node18 nodejs-20"),
        (Language.RUBY, "ruby ruby-2.2-1 ruby3 ruby3.1"),
        (Language.R, "r R r36 r4 r-4.2"),
        (Language.JAVA, "java java8 java11 java17 java-ojdk11 java-openjdk17"),
        (Language.RUST, "rust rust-1.x-1 Rust"),
        (Language.PIPE, "pipe"),
    ],
)
def test_every_spelling_is_known(language, names):
    for name in names.split():
        assert language_of(name) is language, name


@pytest.mark.parametrize(
    "name",
    [
        *("", "python", "python2", "python2-langpack", "python33x", "anaconda3", "scala-2"),
        *("csharp-dotnet-core2", "javascripts", "java script", "rr", "r36x", "rust\n", "pipes"),
    ],
)
def test_everything_else_is_unknown(name):
    assert language_of(name) is None
