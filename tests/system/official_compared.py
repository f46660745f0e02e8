"""
Calls, files, permissions and errors as users of the old service's own client write them.

Prints what a program sees, but for what is another each time; another client must print the same.
Arguments: the key, the server, the name of a directory.
"""

import json
import sys

import Algorithmia
from Algorithmia.acl import AclType, ReadAcl
from Algorithmia.algo_response import AlgoResponse
from Algorithmia.algorithm import OutputType
from Algorithmia.data import DataObjectType
from Algorithmia.datafile import DataFile
from Algorithmia.errors import AlgorithmException, ApiError, DataApiError


def main():
    key, api, name = sys.argv[1:]
    client = Algorithmia.client(key, api)
    calls(client)
    failures(client)
    defaults(key, api)
    files(client, client.dir(f"data://.my/{name}"))
    local(client)
    print(client.username(), [each["id"] for each in client.scms()["results"]])


def calls(client):
    hello = client.algo("demo/Hello")
    response = hello.pipe("HAL 9000")
    print(isinstance(response, AlgoResponse), response.result, response.metadata.content_type)
    print(response.metadata["stdout"], response.metadata.duration > 0)
    print(sorted(response.metadata.full_metadata))
    for value in ("text", {"a": [1, None, "ü"]}, [1, 2.5], 7, None, True, b"\x00\xff"):
        echoed = client.algo("algo://util/Echo").pipe(value)
        print(repr(echoed.result), echoed.metadata.content_type)
    print(client.algo("util/Echo").pipe(bytearray(b"ab")).result)
    print(hello.set_options(timeout=60, stdout=True) is hello, hello.query_parameters)
    print(hello.pipe("with stdout").metadata.stdout)
    print(hello.path, hello.username, hello.algoname, hello.url)
    raw = client.algo("demo/Hello").set_options(output=OutputType.raw)
    print(repr(raw.pipe("raw")))
    void = client.algo("demo/Hello").set_options(output=OutputType.void)
    print(void.pipe("x").async_protocol)


def failures(client):
    try:
        client.algo("util/Sleep").pipe("not a number")
    except AlgorithmException as error:
        print(isinstance(error, ApiError), error.error_type)
    try:
        client.algo("util/Whoops").pipe("x")
    except Exception as error:
        print("404" in str(error))
    error = AlgorithmException("message", "trace", "SomeError")
    print(str(error), error.error_type, error.stack_trace, str(AlgorithmException("alone")))
    for wrong in ("nothing", "demo"):
        try:
            client.algo(wrong)
        except ValueError as error:
            print(error)
    try:
        client.file("data://.my/absent/f").getString()
    except DataApiError as error:
        print(error)
    print(client.file("data://.my/absent/f").existsWithError()[0])


def defaults(key, api):
    Algorithmia.apiKey = key
    Algorithmia.apiAddress = api
    print(Algorithmia.algo("demo/Hello").pipe("default").result)
    print(Algorithmia.file("data://.my/absent/f").exists(), Algorithmia.dir("data://.my").exists())


def files(client, directory):
    directory.create(ReadAcl.private)
    print(directory.get_permissions().read_acl is AclType.private, directory.getName())
    print(directory.update_permissions(ReadAcl.public), directory.get_permissions().to_api_param())
    note = directory.file("note.json")
    print(note.putJson({"b": 1, "a": [True]}) is note, note.getJson(), note.getString())
    directory.file("lines.txt").put("one\ntwo\nthree\n")
    lines = client.file(f"data://{directory.path}/lines.txt", cleanup=True)
    print(repr(lines.read()), lines.tell(), lines.seek(0), lines.readlines())
    with lines.getFile() as opened:
        print([line.strip() for line in opened])
    for each in sorted(directory.list(), key=lambda entry: entry.getName()):
        print(each.getName(), each.is_file(), each.get_type() is DataObjectType.file, each.size)
    print(isinstance(directory.file("x"), DataFile), directory.file("x").exists())
    print(client.file(f"data://{directory.path}/lines.txt").getBytes())
    try:
        directory.delete()
    except DataApiError as error:
        print(error)
    print(note.delete(), directory.delete(True), directory.exists())


def local(client):
    file = client.file("file:///tmp/official_compared.txt")
    file.put("local")
    print(file.getString(), file.getName(), file.exists(), file.delete(), file.exists())
    print(json.dumps(Algorithmia.util.getParentAndBase("data://.my/a/b")))


main()
