"""An algorithm that tries to get out; its input says how: {"do": "MODULE.ACTION", "with": {…}}."""

import importlib


def apply(wanted):
    if wanted == "well":
        return "well"
    module, action = wanted["do"].split(".")
    return getattr(importlib.import_module(f"src.{module}"), action)(**wanted.get("with", {}))
