"""What is in `deploy/` is as the tools that read it want it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
HELM = shutil.which("helm") or shutil.which("helm", path=str(ROOT / ".make/peers/bin"))


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_image_is_described_well():
    run(BIN / "hadolint", DEPLOY / "docker/Dockerfile")


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("vendor.compose-spec", "docker/compose.yaml"),
        ("vendor.github-actions", "github-action/action.yml"),
    ],
)
def test_a_file_follows_its_schema(schema, path):
    run(BIN / "check-jsonschema", "--builtin-schema", schema, DEPLOY / path)


def test_the_image_installs_what_the_lock_says():
    told = run(
        BIN / "uv", "export", "--frozen", "--no-dev", "--no-emit-workspace", "--all-packages", "-q"
    )

    assert "\nuvicorn==" in told
    assert "--hash=sha256:" in told
    assert "pytest" not in told


@pytest.mark.skipif(
    HELM is None, reason="helm is not installed: https://helm.sh/docs/intro/install"
)
@pytest.mark.parametrize("sandbox", ["full", "restricted"])
def test_the_chart_is_whole(sandbox):
    assert HELM is not None
    chart = DEPLOY / "helm/algorium"
    options = ["--set", f"sandbox={sandbox},ingress.enabled=true,ingress.host=api.example"]
    run(HELM, "lint", "--strict", chart, *options)

    told = run(HELM, "template", "algorithms", chart, "--kube-version", "1.33.0", *options)

    assert ("Unconfined" in told) == (sandbox == "full")
