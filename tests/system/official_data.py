"""
Every data operation of the old service's own client, as its users write them.

Arguments: the key, the server, a directory for files, a collection of many files, their number.
Run with the interpreter of an environment that has `algorithmia`; ends with `done`.
"""

import sys
import zipfile
from pathlib import Path

import Algorithmia
from Algorithmia.acl import AclType, ReadAcl
from Algorithmia.errors import DataApiError

NAMES = [
    "plain.txt",
    "two words.txt",
    "Пароход.png",
    "100%.txt",
    "a+b&c=d;e.txt",
    "-.-",
    "日本.json",
]
BYTES = bytes(range(256)) * 100


def main():
    key, api, place, crowd, count = sys.argv[1:]
    client = Algorithmia.client(key, api)
    username = client.username()
    walk_directory(client, username)
    walk_files(client, Path(place))
    walk_pages(client, crowd, int(count))
    print("done")


def refuses(work, text):
    try:
        work()
    except DataApiError as error:
        assert text in str(error), str(error)
    except Exception as error:  # where it posts, the client does not look at the answer
        assert text.isdigit(), repr(error)
        assert f"[{text}]" in str(error), str(error)
    else:
        raise AssertionError(f"nothing was refused: {text}")


def walk_directory(client, username):
    directory = client.dir("data://.my/official")
    assert not directory.exists()
    directory.create()
    refuses(directory.create, "409")
    assert directory.exists()
    assert directory.getName() == "official"
    assert client.dir(f"data://{username}/official").exists()
    assert "official" in [one.getName() for one in client.dir("data://.my").dirs()]
    assert directory.get_permissions().read_acl is AclType.my_algos
    for acl in (ReadAcl.public, ReadAcl.private, ReadAcl.my_algos):
        assert directory.update_permissions(acl)
        assert directory.get_permissions().read_acl is acl.read_acl
    directory.file("f").put("x")
    refuses(directory.delete, "directory not empty")
    assert directory.delete(True)
    assert not directory.exists()
    directory.create(ReadAcl.public)
    assert directory.get_permissions().read_acl is AclType.public
    refuses(client.dir("data://.my/not-a-name").create, "400")
    refuses(client.dir("data://.my/absent/below").create, "400")
    refuses(client.dir("data://.my/absent").delete, "path not found")


def walk_files(client, place):
    directory = client.dir("data://.my/official")
    for name in NAMES:
        quoted = name.replace("%", "%25")  # the client leaves that to its caller
        file = directory.file(quoted)
        assert not file.exists()
        file.put(BYTES)
        assert file.getBytes() == BYTES
        assert file.put(name).getString() == name
    listed = {file.getName(): file for file in directory.files()}
    assert set(listed) == set(NAMES), set(listed) ^ set(NAMES)
    assert listed["plain.txt"].size == len("plain.txt")
    assert listed["plain.txt"].last_modified is not None
    for name in NAMES:
        assert directory.file(name.replace("%", "%25")).delete()
    file = directory.file("values.json")
    assert file.putJson({"a": [1, None, "ü"]}).getJson() == {"a": [1, None, "ü"]}
    assert client.dir("data://.my/official").file("values.json").get().status_code == 200
    local = place / "local.bin"
    local.write_bytes(BYTES)
    file = directory.file("local.bin")
    file.putFile(str(local))
    assert Path(file.getFile(as_path=True)).read_bytes() == BYTES
    zipped = directory.file("local.zip").putAsZip(str(local))
    assert zipfile.is_zipfile(zipped.getFile(as_path=True))
    assert Path(zipped.getAsZip()).read_bytes() == BYTES
    assert client.file("data://.my/official/local.bin").exists()
    assert (Path(directory.getDir()) / "local.bin").read_bytes() == BYTES
    assert file.delete()
    assert not file.exists()
    refuses(file.delete, "path not found")
    refuses(file.getString, "path not found")
    refuses(lambda: client.file("data://.my/absent/f").put("x"), "404")
    assert directory.delete(True)


def walk_pages(client, crowd, count):
    names = [file.getName() for file in client.dir(crowd).files()]
    assert names == [f"file{number:04d}" for number in range(count)], len(names)


main()
