"""Trees and environments, compared file by file."""

import base64
import hashlib
import os

from algorium_server.build.comparison import (
    broken_records,
    differences,
    environment_manifest,
    tree_manifest,
)


def write(top, **files):
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_every_kind_of_difference_in_a_tree_is_named(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for tree in (one, other):
        write(tree, **{"a": "1", "b": "2", "src/c": "3", "d": "4"})
        os.symlink("a", tree / "link")
    assert list(differences(tree_manifest(one), tree_manifest(other))) == []

    (other / "a").write_text("9")
    (other / "b").unlink()
    write(other, **{"src/new": "x"})
    (other / "d").chmod(0o755)
    (other / "link").unlink()
    os.symlink("b", other / "link")
    os.mkfifo(other / "pipe")
    write(other, **{"src/__pycache__/c.pyc": "bytecode"})

    assert list(differences(tree_manifest(one), tree_manifest(other))) == [
        "a was changed",
        "b is missing",
        "d was changed",
        "link was changed",
        "pipe does not belong there",
        "src/__pycache__/c.pyc does not belong there",
        "src/new does not belong there",
    ]


def environment(top, *, launcher):
    packages = top / "lib/python3.11/site-packages"
    info = packages / "six-1.dist-info"
    write(packages, **{"six.py": "VALUE = 1\n"})
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"VALUE = 1\n").digest()).rstrip(b"=")
    script = hashlib.sha256(os.fsencode(top)).hexdigest()
    info.mkdir()
    (info / "RECORD").write_text(
        f"six.py,sha256={digest.decode()},10\n../../../bin/six,sha256={script},9\n"
        f"six-1.dist-info/RECORD,,\n__pycache__/six.cpython-311.pyc,,\n"
    )
    write(top, **{"pyvenv.cfg": f"made in {top}", "bin/activate": f"cd {top}"})
    (top / "bin" / "six").write_text(launcher.format(top=top) + "import six\n")
    os.symlink("/usr/bin/python3", top / "bin" / "python")
    return packages


SHORT = "#!{top}/bin/python\n"
LONG = "#!/bin/sh\n'''exec' '{top}/bin/python' \"$0\" \"$@\"\n' '''\n"


def test_an_environment_elsewhere_is_the_same(tmp_path):
    one, other = tmp_path / "one", tmp_path / "elsewhere/other"
    environment(one, launcher=SHORT)
    packages = environment(other, launcher=LONG)
    write(packages, **{"__pycache__/six.cpython-311.pyc": "bytecode"})
    write(packages / "six-1.dist-info", **{"uv_cache.json": "{}", "REQUESTED": ""})

    found = list(differences(environment_manifest(one), environment_manifest(other)))
    assert found == []
    assert list(broken_records(other)) == []


def test_what_was_changed_in_an_environment_is_found(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    environment(one, launcher=SHORT)
    packages = environment(other, launcher=SHORT)
    (packages / "six.py").write_text("VALUE = 2\n")
    (packages / "evil.pth").write_text("import os\n")
    (packages / "sourceless.pyc").write_text("bytecode that can be imported")
    (other / "bin" / "six").write_text("import evil\n")
    (other / "bin" / "python").unlink()
    os.symlink("/tmp/python", other / "bin" / "python")

    assert list(differences(environment_manifest(one), environment_manifest(other))) == [
        "bin/python was changed",
        "bin/six was changed",
        "lib/python3.11/site-packages/evil.pth does not belong there",
        "lib/python3.11/site-packages/six.py was changed",
        "lib/python3.11/site-packages/sourceless.pyc does not belong there",
    ]
    assert list(broken_records(other)) == [
        "lib/python3.11/site-packages/six.py is not what its record says"
    ]
    (packages / "six.py").unlink()
    assert list(broken_records(other)) == ["lib/python3.11/site-packages/six.py is missing"]


def test_a_record_that_names_files_elsewhere_is_not_followed(tmp_path):
    top = tmp_path / "one"
    packages = environment(top, launcher=SHORT)
    (tmp_path / "secret").write_text("x")
    (packages / "out").symlink_to(tmp_path)
    (packages / "six-1.dist-info" / "RECORD").write_text(
        "/etc/passwd,sha256=x,1\nout/secret,sha256=x,1\na,b\n\n"
    )

    assert list(broken_records(top)) == []


def test_pipes_are_told_and_not_read(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    environment(one, launcher=SHORT)
    packages = environment(other, launcher=SHORT)
    pipes = (other / "bin/six", packages / "six.py", packages / "six-1.dist-info/RECORD")
    broken = [
        ["lib/python3.11/site-packages/six.py is missing"],
        ["lib/python3.11/site-packages/six-1.dist-info/RECORD is no file"],
    ]
    for pipe in pipes:
        pipe.unlink()
        os.mkfifo(pipe)
        if pipe.parent != other / "bin":
            assert list(broken_records(other)) == broken.pop(0)

    assert list(differences(environment_manifest(one), environment_manifest(other))) == [
        "bin/six was changed",
        "lib/python3.11/site-packages/six-1.dist-info/RECORD was changed",
        "lib/python3.11/site-packages/six.py was changed",
    ]
