"""Secrets with the official client, unchanged. Run in an environment that has only it."""

import json
import sys

import Algorithmia

address, key, ref, variable, value = sys.argv[1:]
client = Algorithmia.client(key, address)
algorithm = client.algo(ref)

providers = client.get_secret_providers()
created = algorithm.set_secret("official", variable, value)
listed = algorithm.get_secrets()

print(json.dumps({"providers": providers, "created": created, "listed": listed}))
