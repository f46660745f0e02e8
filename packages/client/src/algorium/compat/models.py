"""Model files that a manifest names, fetched for the newer development kit."""

import tempfile
from pathlib import Path
from typing import Any

from algorium import _manifest
from algorium.compat.client import Client
from algorium.compat.util import md5_for_file


class ModelData:
    """
    The files of a model manifest, and whatever `load` puts beside them by name.

    Args:
        client: Fetches; a client by default settings, if left out.
        model_manifest_path: The manifest; its freeze file is preferred.
    """

    def __init__(self, client: "Client | None", model_manifest_path: str) -> None:
        self.client = client
        self.models: dict[str, str] = {}
        self.using_frozen = True
        self.manifest_data = self._manifest(Path(model_manifest_path))
        self._told: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        return self._told[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._told[key] = value

    def data(self) -> dict[str, Any]:
        """Return what was put here by name."""
        return dict(self._told)

    def available(self) -> bool:
        """Return whether there is a manifest."""
        return self.manifest_data is not None

    def initialize(self) -> None:
        """
        Fetch the required files.

        Raises:
            RuntimeError: A file is another one than was frozen, and that is to fail.
        """
        for file in (self.manifest_data or {})["required_files"]:
            self._fetch(file)

    def get_model(self, model_name: str) -> str:
        """
        Return where a file is, by its name in the manifest; an optional one is fetched now.

        Raises:
            KeyError: The manifest does not name it.
            RuntimeError: It is another one than was frozen, and that is to fail.
        """
        if model_name not in self.models:
            listed = (self.manifest_data or {}).get("optional_files", [])
            for file in listed:
                if file["name"] == model_name:
                    self._fetch(file)
        if model_name not in self.models:
            raise KeyError(f"model name {model_name} not found in manifest")
        return self.models[model_name]

    def _fetch(self, file: dict[str, Any]) -> None:
        if self.client is None:
            self.client = Client()
        place = Path(tempfile.mkdtemp()) / "model"
        self.client.algorium.file(file["source_uri"]).get_file(place)
        expected = file.get("md5_checksum")
        real = md5_for_file(place)
        if self.using_frozen and file.get("fail_on_tamper") and real != expected:
            raise RuntimeError(
                f"Model File Mismatch for {file['name']}\n"
                f"expected hash:  {expected}\nreal hash: {real}"
            )
        self.models[file["name"]] = str(place)

    def _manifest(self, path: Path) -> dict[str, Any] | None:
        frozen = path.with_name(path.name + _manifest.FREEZE_SUFFIX)
        if frozen.exists():
            found = _manifest.parse(frozen.read_bytes(), name=frozen.name)
            if found.get("lock_checksum") != _manifest.lock_checksum(found):
                raise RuntimeError(
                    f"{frozen.name} was changed by hand: make it anew with `algo freeze`"
                )
            return found
        self.using_frozen = False
        return _manifest.parse(path.read_bytes(), name=path.name) if path.exists() else None
