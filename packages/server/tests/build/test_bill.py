"""Bills of materials, of what locks and distributions say."""

import json
import uuid

import pytest
from rows import NOW

from algorium_server.build.bill import (
    Whole,
    bill_of_materials,
    lock_file,
    other_parts,
    python_parts,
)
from algorium_server.domain.languages import Language

LOCK = f"""\
# a comment
--index-url https://example.com/simple
Six==1.16.0 \\
    --hash=sha256:{"a" * 64}
numpy[x]==2.0 ; python_version > "3" --hash=sha256:{"b" * 64} --hash=sha256:{"c" * 64}
local @ file:///somewhere
odd===1!2.post1+x
"""


def install(environment, name, metadata):
    directory = environment / "lib/python3.11/site-packages" / f"{name}.dist-info"
    directory.mkdir(parents=True)
    (directory / "METADATA").write_text(metadata)


def whole(**fields):
    return Whole(
        **{
            "name": "jane/Hello",
            "version": "1.0.0",
            "commit_sha": "ab" * 20,
            "tree_digest": "cd" * 32,
            "language": "python",
            "licence": "apl",
            "summary": "",
            **fields,
        }
    )


def test_a_lock_with_what_is_installed_becomes_a_bill(tmp_path):
    install(
        tmp_path,
        "six-1.16.0",
        "Metadata-Version: 2.1\nName: SIX\nLicense: MIT\nSummary: two\n  lines\n\nLicense: no",
    )
    install(
        tmp_path,
        "numpy-2.0",
        "Name: numpy\nLicense: UNKNOWN\nClassifier: License :: OSI Approved :: BSD License\n",
    )
    install(tmp_path, "odd-1", f"Name: odd\nLicense: {'whole text ' * 100}\n")
    (tmp_path / "pyvenv.cfg").write_text("home = /usr\nversion_info = 3.11.7\n")
    parts = python_parts(LOCK, tmp_path)

    assert [(part.name, part.version, part.licence) for part in parts] == [
        ("six", "1.16.0", "MIT"),
        ("numpy", "2.0", "BSD License"),
        ("odd", "1!2.post1+x", ""),
        ("cpython", "3.11.7", "PSF-2.0"),
    ]
    assert [part.digest for part in parts] == ["a" * 64, "", "", ""]

    made = json.loads(
        bill_of_materials(whole(), parts, serial_number=uuid.UUID(int=1), made_at=NOW)
    )
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    six = next(each for each in made["components"] if each["name"] == "six")
    assert six["purl"] == "pkg:pypi/six@1.16.0"
    assert six["licenses"] == [{"license": {"id": "MIT"}}]
    assert six["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    root = made["metadata"]["component"]
    depends = {each["ref"]: each.get("dependsOn") for each in made["dependencies"]}
    assert len(depends[root["bom-ref"]]) == 4
    again = bill_of_materials(whole(), parts, serial_number=uuid.UUID(int=1), made_at=NOW)
    assert json.loads(again) == made


@pytest.mark.parametrize(
    ("language", "name", "text", "found"),
    [
        (
            Language.NODE,
            "package-lock.json",
            '{"packages": {"": {"version": "1"}, "node_modules/a/node_modules/@s/b": '
            '{"version": "2.0", "license": "ISC"}}}',
            [("npm", "@s/b", "2.0", "ISC")],
        ),
        (
            Language.RUBY,
            "Gemfile.lock",
            "GEM\n  specs:\n    rack (3.0.1)\n      other (>= 1)\n",
            [("gem", "rack", "3.0.1", "")],
        ),
        (
            Language.RUST,
            "Cargo.lock",
            '[[package]]\nname = "own"\nversion = "0.1.0"\n[[package]]\nname = "serde"\n'
            'version = "1.0.1"\nsource = "registry"\n',
            [("cargo", "serde", "1.0.1", "")],
        ),
    ],
)
def test_lock_files_of_other_languages_are_listed(tmp_path, language, name, text, found):
    (tmp_path / name).write_text(text)
    parts, notes = other_parts(language, tmp_path)

    assert [(part.kind, part.name, part.version, part.licence) for part in parts] == found
    assert notes == ()
    assert lock_file(language, tmp_path) == text


@pytest.mark.parametrize("text", ["", "{", "[]", '{"packages": [1]}', '{"packages": {"a": 1}}'])
def test_what_cannot_be_read_is_noted(tmp_path, text):
    (tmp_path / "package-lock.json").write_text(text)
    parts, (note,) = other_parts(Language.NODE, tmp_path)

    assert parts == ()
    made = bill_of_materials(whole(notes=(note,)), (), serial_number=uuid.UUID(int=1), made_at=NOW)
    assert note in made


@pytest.mark.parametrize(
    "odd",
    [
        {"version": 5},
        {"version": {"x": 1}},
        {"version": "1", "name": ["x"]},
        {"version": "1", "name": "/"},
        {"version": "\ud800"},
        {"version": "1" * 2000},
    ],
)
def test_what_is_no_package_is_left_out(tmp_path, odd):
    packages = {"node_modules/odd": odd, "node_modules/fine": {"version": "1"}}
    (tmp_path / "package-lock.json").write_text(json.dumps({"packages": packages}))
    parts, (note,) = other_parts(Language.NODE, tmp_path)

    assert [part.name for part in parts] == ["fine"]
    assert note == "not listed, as they cannot be read: 1 of package-lock.json"
    assert bill_of_materials(whole(), parts, serial_number=uuid.UUID(int=1), made_at=NOW)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text('{"packages": {"x/node_modules/a": {"version": "1"}}}')
    (tmp_path / "package-lock.json").symlink_to(tmp_path / "secret")

    assert other_parts(Language.NODE, tmp_path)[0] == ()
