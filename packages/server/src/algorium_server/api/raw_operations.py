"""
Calls and data in the OpenAPI document: what the faces on raw ASGI answer, described by hand.

They are raw for speed (see decision 0001), so nothing can be read off their code. That what is said
here is true is tested by requests that are made of it: `tests/fuzz.py`.

A path of a file goes on behind its first slash. OpenAPI has no words for that, so generated clients
encode those slashes as `%2F`, which the server reads the same way.

Source: OpenAPI 3.1; wire specification, "Invocation", "Data API, URIs, connectors".
"""

from typing import Any, Final

Json = dict[str, Any]

_TEXT: Final[Json] = {"type": "string"}
_BYTES: Final[Json] = {"type": "string", "format": "binary"}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}


def _object(required: Json, optional: Json | None = None) -> Json:
    return {
        "type": "object",
        "required": list(required),
        "properties": required | (optional or {}),
    }


def _one(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


RAW_SCHEMAS: Final[Json] = {
    "CallResult": {
        "description": "What the algorithm has returned. Binary results are base64.",
        **_object(
            {
                "metadata": _object(
                    {
                        "content_type": {"enum": ["json", "text", "binary", "void"]},
                        "duration": {"type": "number", "exclusiveMinimum": 0},
                    },
                    {"stdout": _TEXT, "timing": {"type": "object"}},
                ),
                "result": {"description": "Any value."},
            }
        ),
    },
    "CallFailure": {
        "description": "The algorithm has failed.",
        **_object(
            {
                "error": _object(
                    {"message": _TEXT, "error_type": _TEXT},
                    {"stacktrace": _TEXT, "hint": _TEXT},
                ),
                "metadata": _object({"duration": {"type": "number"}}, {"stdout": _TEXT}),
                "result": {"type": "null"},
            }
        ),
    },
    "CallAccepted": {
        "description": "The call will run; nobody hears of its result.",
        **_object({"async": {"const": "void"}, "request_id": _TEXT}),
    },
    "DirectoryListing": _object(
        {
            "folders": {"type": "array", "items": _object({"name": _TEXT})},
            "files": {
                "type": "array",
                "items": _object({"filename": _TEXT, "size": _COUNT, "last_modified": _TEXT}),
            },
        },
        {"marker": _TEXT, "acl": _object({"read": {"type": "array", "items": _TEXT}})},
    ),
    "NewDirectory": _object({"name": _TEXT}, {"acl": _one("DirectoryAcl")}),
    "DirectoryAcl": {
        "description": "Who may read: nobody else, algorithms that the owner calls, or everybody.",
        **_object(
            {
                "read": {
                    "type": "array",
                    "maxItems": 1,
                    "items": {"enum": ["algo://.my/*", "user://*"]},
                }
            }
        ),
    },
    "ChangedAcl": _object({"acl": _one("DirectoryAcl")}),
    "DataUriResult": _object({"result": _TEXT}),
    "DeletedResult": _object({"result": _object({"deleted": _COUNT})}),
    "HostedDataList": _object(
        {
            "result": {
                "type": "array",
                "items": _object(
                    {
                        "id": _TEXT,
                        "object_id": _TEXT,
                        "collection_name": _TEXT,
                        "username": _TEXT,
                        "acl": {"type": "object", "additionalProperties": {"type": "boolean"}},
                        "location": _TEXT,
                    }
                ),
            }
        }
    ),
    "UploadBody": _object(
        {"uri": _TEXT},
        {"size_bytes": {"type": ["integer", "null"]}, "part_bytes": {"type": ["integer", "null"]}},
    ),
    "UploadEndBody": _object({"parts_count": {"type": "integer"}}, {"md5": _TEXT}),
    "UploadPart": _object({"number": {"type": "integer"}, "size_bytes": _COUNT, "md5": _TEXT}),
    "UploadObject": _object(
        {
            "upload_id": _TEXT,
            "uri": _TEXT,
            "part_bytes": _COUNT,
            "parts_max": _COUNT,
            "created_at": _TEXT,
            "expires_at": _TEXT,
        },
        {
            "size_bytes": {"type": ["integer", "null"]},
            "parts": {"type": "array", "items": _one("UploadPart")},
        },
    ),
    "UploadList": _object({"results": {"type": "array", "items": _one("UploadObject")}}),
    "UploadedFile": _object({"result": _TEXT, "etag": _TEXT, "md5": _TEXT, "size_bytes": _COUNT}),
    "StorageObject": _object(
        {
            "username": _TEXT,
            "bytes": _COUNT,
            "files": _COUNT,
            "bytes_max": {"type": ["integer", "null"]},
            "files_max": {"type": ["integer", "null"]},
        }
    ),
}


def _path_parameter(name: str, description: str = "") -> Json:
    described = {"description": description} if description else {}
    return {"name": name, "in": "path", "required": True, "schema": _TEXT, **described}


def _query(name: str, description: str, schema: Json = _TEXT) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_FLAG: Final[Json] = {"type": "boolean"}
_OPTIONS: Final = (
    _query("timeout", "Seconds that the call may take.", {"type": "number", "exclusiveMinimum": 0}),
    _query("output", "How the result comes.", {"enum": ["default", "raw", "void"]}),
    _query("stdout", "What was printed, too; for owners of the algorithm.", _FLAG),
    _query("timing", "Where the time went, too.", _FLAG),
    _query("sudo", "Run it as if its owner called; for administrators.", _FLAG),
    _query(
        "on_disconnect", "continue: finish it for a caller who is gone.", {"enum": ["continue"]}
    ),
    {**_query("Idempotency-Key", "Run it once, however often it is sent."), "in": "header"},
)


def _operation(
    summary: str,
    description: str,
    answers: dict[str, tuple[str, Json]],
    *,
    name: str,
    tag: str,
    parameters: tuple[Json, ...] = (),
    body: Json | None = None,
) -> Json:
    responses: Json = {
        status: {"description": said, **({"content": content} if content else {})}
        for status, (said, content) in answers.items()
    }
    operation: Json = {
        "tags": [tag],
        "summary": summary,
        "description": description,
        "operationId": name,
        "responses": responses,
    }
    if parameters:
        operation["parameters"] = list(parameters)
    if body is not None:
        operation["requestBody"] = {"required": False, "content": body}
    return operation


# What goes into an algorithm, and with output=raw what it returns.
_VALUE: Final[Json] = {
    "application/json": {"schema": {}},
    "text/plain": {"schema": _TEXT},
    "application/octet-stream": {"schema": _BYTES},
}
_CALLED_DEFAULT: Final = (
    "`CallResult`, `CallFailure` or `CallAccepted`; with `output=raw` the result."
)


_NAMED: Final = (_path_parameter("owner"), _path_parameter("name"))
_BY_ID: Final = (_path_parameter("algorithm_id", "A UUID; a version may stand behind it."),)


def _call(name: str, *, is_web: bool, version: bool, parameters: tuple[Json, ...] = _NAMED) -> Json:
    if version:
        said = "Such as `1.2.3`, `1.2`, a commit, or `latest`."
        parameters += (_path_parameter("version", said),)
    pages = " For pages in a browser, with keys that allow it." if is_web else ""
    return _operation(
        "Call an algorithm",
        "The body is the input, its type the kind of input. An algorithm that fails is answered"
        " with 200 as well, and `error`." + pages,
        {"200": (_CALLED_DEFAULT, _VALUE)},
        name=name,
        tag="calls",
        parameters=parameters + _OPTIONS,
        body=_VALUE,
    )


def _data(place: str, first: tuple[Json, ...]) -> Json:
    """Return the operations on a file or directory."""
    where = (*first, _path_parameter("path", "Of a file or directory; slashes may be `%2F`."))

    def operation(verb: str, *texts: str, **rest: Any) -> Json:
        summary, description = texts
        rest["parameters"] = where + rest.get("parameters", ())
        return _operation(summary, description, name=f"{verb}_{place}", tag="data", **rest)

    unchanged: tuple[str, Json] = ("The caller has it already.", {})
    return {
        "get": operation(
            "get",
            "Download a file, or list a directory",
            "A directory is a `DirectoryListing`, a file its bytes; `X-Data-Type` says which.",
            answers={
                "200": ("The bytes, or the listing.", {"*/*": {"schema": {}}}),
                "206": ("A part of a file.", {"*/*": {"schema": {}}}),
                "304": unchanged,
            },
            parameters=(
                _query("marker", "Where a listing goes on."),
                _query("acl", "List who may read as well.", _FLAG),
            ),
        ),
        "head": operation(
            "head",
            "Look whether something is there",
            "Tells in headers what it is.",
            answers={"200": ("It is there.", {}), "304": unchanged},
        ),
        "put": operation(
            "put",
            "Create or replace a file",
            "The body is the file. `X-Copy-From` and `X-Move-From` name another one instead.",
            answers={"200": ("It is stored.", _json(_one("DataUriResult")))},
            body={"application/octet-stream": {"schema": _BYTES}},
        ),
        "post": operation(
            "post",
            "Create a directory",
            "The path is where, the body says how it is called.",
            answers={"200": ("It is there.", _json(_one("DataUriResult")))},
            body=_json(_one("NewDirectory")),
        ),
        "patch": operation(
            "patch",
            "Say who may read a directory",
            "Instead of what was said before.",
            answers={"200": ("It is so now.", {})},
            body=_json(_one("ChangedAcl")),
        ),
        "delete": operation(
            "delete",
            "Delete a file or a directory",
            "A directory must be empty, or the query says `force`.",
            answers={"200": ("It is gone.", _json(_one("DeletedResult")))},
            parameters=(_query("force", "Delete what is in it as well.", _FLAG),),
        ),
    }


def _uploads() -> Json:
    one = (_path_parameter("upload_id"),)
    part = (*one, {**_path_parameter("number"), "schema": {"type": "integer", "minimum": 1}})
    upload = _json(_one("UploadObject"))

    def operation(name: str, summary: str, description: str, **rest: Any) -> Json:
        return _operation(summary, description, name=name, tag="data", **rest)

    return {
        "/v1/uploads": {
            "get": operation(
                "list_uploads",
                "List uploads",
                "Those that the caller has begun and not ended.",
                answers={"200": ("All of them.", _json(_one("UploadList")))},
            ),
            "post": operation(
                "begin_upload",
                "Begin an upload in parts",
                "For files that are sent in pieces, also after an interruption.",
                answers={"201": ("It has begun.", upload)},
                body=_json(_one("UploadBody")),
            ),
        },
        "/v1/uploads/{upload_id}": {
            "get": operation(
                "see_upload",
                "See what has arrived",
                "With its parts.",
                answers={"200": ("The upload.", upload)},
                parameters=one,
            ),
            "delete": operation(
                "give_up_upload",
                "Give an upload up",
                "What has arrived is removed.",
                answers={"204": ("It is gone.", {})},
                parameters=one,
            ),
        },
        "/v1/uploads/{upload_id}/parts/{number}": {
            "put": operation(
                "put_part",
                "Send a part",
                "All but the last have `part_bytes` bytes; a part that is sent again is replaced.",
                answers={"200": ("It has arrived.", _json(_one("UploadPart")))},
                parameters=part,
                body={"application/octet-stream": {"schema": _BYTES}},
            )
        },
        "/v1/uploads/{upload_id}/complete": {
            "post": operation(
                "complete_upload",
                "Make a file of the parts",
                "May be asked again: the answer stays the same for a day.",
                answers={"200": ("The file is there.", _json(_one("UploadedFile")))},
                parameters=one,
                body=_json(_one("UploadEndBody")),
            )
        },
    }


def _whole(name: str, summary: str, description: str, schema: str, *parameters: Json) -> Json:
    answers = {"200": ("As it is now.", _json(_one(schema)))}
    return {
        "get": _operation(
            summary, description, answers, name=name, tag="data", parameters=parameters
        )
    }


RAW_PATHS: Final[Json] = {
    "/v1/algo/{algorithm_id}": {
        "post": _call("call_by_id", is_web=False, version=False, parameters=_BY_ID)
    },
    "/v1/algo/{owner}/{name}": {"post": _call("call", is_web=False, version=False)},
    "/v1/algo/{owner}/{name}/{version}": {
        "post": _call("call_version", is_web=False, version=True)
    },
    "/v1/web/algo/{owner}/{name}": {"post": _call("call_from_page", is_web=True, version=False)},
    "/v1/web/algo/{owner}/{name}/{version}": {
        "post": _call("call_version_from_page", is_web=True, version=True)
    },
    "/v1/data/{path}": _data("data", ()),
    "/v1/connector/{connector}/{path}": _data(
        "connector", (_path_parameter("connector", "`data`, or a source such as `s3+photos`."),)
    ),
    "/v1/hostedData": _whole(
        "list_hosted_data",
        "List collections",
        "All that the caller owns, or sees as a member of an organization.",
        "HostedDataList",
    ),
    "/v1/storage": _whole(
        "see_storage",
        "See what an account stores",
        "And how much it may.",
        "StorageObject",
        _query("account", "Of this account; of the caller without it."),
    ),
    **_uploads(),
}
