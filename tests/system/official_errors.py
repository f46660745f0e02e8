"""Error logs with the official client, unchanged. Run in an environment that has only it."""

import json
import sys

import Algorithmia

address, key, algorithm_id, user, organization = sys.argv[1:]
client = Algorithmia.client(key, address)

print(
    json.dumps(
        {
            "algorithm": client.get_algorithm_errors(algorithm_id),
            "user": client.get_user_errors(user),
            "organization": client.get_organization_errors(organization),
            "nobody": client.get_user_errors("nobody_at_all"),
        }
    )
)
