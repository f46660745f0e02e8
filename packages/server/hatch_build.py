"""Puts the demo algorithms into the distributions, so that an installed server has them too."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ExamplesHook(BuildHookInterface):
    """Adds `examples/` of the checkout to the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """
        Say what else belongs into a distribution before it is built.

        An editable installation finds the examples in the checkout. In a source distribution they
        are where this hook has put them: in the package already.
        """
        examples = Path(self.root).parents[1] / "examples"
        if version == "editable" or not (examples / "catalog.toml").exists():
            return
        source = "src/" if self.target_name == "sdist" else ""
        build_data["force_include"][str(examples)] = f"{source}algorium_server/examples"
