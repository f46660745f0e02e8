"""
What the old service's own client does with users and organizations, as its users write it.

Arguments: an admin key, the server, a name. Run with the interpreter of an environment that has
`algorithmia`; ends with `done`.
"""

import sys

import Algorithmia


def main():
    key, api, name = sys.argv[1:]
    client = Algorithmia.client(key, api)
    user = client.create_user(
        {
            "username": name,
            "email": name + "@example.com",
            "passwordHash": "",
            "shouldCreateHello": False,
        }
    )
    assert user["username"] == name, user
    names = [kind["name"] for kind in client.get_org_types()]
    assert names[:3] == ["basic", "legacy", "pro"], names
    org = "o_" + name
    body = {
        "org_name": org,
        "org_label": "some label",
        "org_contact_name": "Some owner",
        "org_email": org + "@example.com",
        "org_url": "https://example.com",
        "type_id": "pro",
        "resource_type": "organization",
    }
    made = client.create_org(dict(body))
    assert made["org_name"] == org, made
    found = client.get_org(org)
    assert found == made, found
    edited = client.edit_org(org, dict(body, org_label="another label", type_id="basic"))
    assert edited.status_code == 204, edited
    assert client.get_org(org)["org_label"] == "another label"
    assert client.invite_to_org(org, name).status_code == 201
    assert client.invite_to_org(org, name).status_code == 200
    assert "error" in client.get_org("no_such_org")
    assert client.deleteHelper("/v1/organizations/" + org).reason == "No Content"
    print("done")


if __name__ == "__main__":
    main()
