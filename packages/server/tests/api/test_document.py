"""The document of the management API describes bodies, answers and errors."""

import pytest


@pytest.fixture(scope="module")
def document(authoring_site):
    answer = authoring_site.web("").get("/v1/openapispec")
    assert answer.status_code == 200
    return answer.json()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_bodies_answers_and_errors_are_described(document):
    create = document["paths"]["/v1/algorithms/{owner}"]["post"]
    schema = create["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/CreateBody"}
    shape = document["components"]["schemas"]["CreateBody"]
    assert shape["required"] == ["name", "details"]
    assert "201" in create["responses"]
    for path, method, operation in operations(document):
        assert operation["description"], (method, path)
        error = operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert error == {"$ref": "#/components/schemas/Error"}
        assert "422" not in operation["responses"]
        if method in {"put", "post"} and "syncs" not in path:
            assert "requestBody" in operation, path
    listing = document["paths"]["/v1/algorithms/{owner}/{name}/versions"]["get"]
    names = {one["name"] for one in listing["parameters"]}
    assert names == {"owner", "name", "limit", "marker", "published", "callable"}
    assert "/v1/algorithms/{algorithm_id}/versions" in document["paths"]
