"""Packages that tests install: made here, so that no registry is needed."""

import zipfile

import pytest
from plain_jobs import PlainJobs


@pytest.fixture
def jobs():
    return PlainJobs()


@pytest.fixture
def index(tmp_path):
    """A directory of packages, and the lines that make a requirements file use only that."""
    return Index(tmp_path / "index")


class Index:
    def __init__(self, directory):
        directory.mkdir()
        self.directory = directory

    @property
    def lines(self):
        return f"--no-index\n--find-links {self.directory}\n"

    def add_wheel(self, name, version, source, *, requires=()):
        """Make a wheel with the single module *name*."""
        info = f"{name}-{version}.dist-info"
        metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
        metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
        path = self.directory / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{name}.py", source)
            wheel.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")

    def add_source(self, name, version):
        """Make a source distribution that must be built before it can be installed."""
        self.add_wheel(name, version, "ORIGIN = 'source'\n")
        wheel = self.directory / f"{name}-{version}-py3-none-any.whl"
        root = f"{name}-{version}"
        with zipfile.ZipFile(self.directory / f"{root}.zip", "w") as archive:
            archive.write(wheel, f"{root}/ready.whl")
            archive.writestr(f"{root}/backend.py", _BACKEND.format(wheel=wheel.name))
            archive.writestr(
                f"{root}/pyproject.toml", _PYPROJECT.format(name=name, version=version)
            )
        wheel.unlink()


_BACKEND = """\
import shutil

def build_wheel(directory, config_settings=None, metadata_directory=None):
    shutil.copy("ready.whl", directory + "/{wheel}")
    return "{wheel}"
"""
_PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "{name}"
version = "{version}"
"""
