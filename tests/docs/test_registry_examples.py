"""What docs/examples shows of running a registry is accepted by those who read it."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from nacre.cli.registry import COMMAND
from nacre.grammars.serving import ConfigSources, read_config
from nacre.words.rules import ServingConfig

if TYPE_CHECKING:
    from conftest import Nacre

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
UNIT = EXAMPLES / "nacre-registry.service"
TOP = "/var/lib/nacre-registry"


def test_the_unit_starts_the_command_with_its_options() -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    words = parser["Service"]["ExecStart"].split()
    assert words[1:3] == ["registry", "serve"]
    assert {word[2:] for word in words if word.startswith("--")} <= {
        option.name for option in COMMAND.options
    }


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8").replace("/usr/local/bin/nacre", "/bin/true")
    unit = tmp_path / UNIT.name
    unit.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def documents(name: str) -> list[dict[str, Any]]:
    with (EXAMPLES / name).open(encoding="utf-8") as file:
        return list(yaml.safe_load_all(file))


@pytest.fixture
def compose() -> dict[str, Any]:
    return documents("compose.yaml")[0]


@pytest.fixture
def pod() -> dict[str, Any]:
    (deployment,) = (each for each in documents("kubernetes/registry.yaml") if each["kind"] == "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def configured() -> tuple[ServingConfig, set[str]]:
    """The configuration, and the files that it has its secrets from."""
    files = []

    def secret(path: str) -> str:
        files.append(path)
        return f"postgresql://nacre@database/{Path(path).name}"

    text = (EXAMPLES / "registry.toml").read_text(encoding="utf-8")
    return read_config(ConfigSources(text, "registry.toml"), secret), set(files)


def draining(config: ServingConfig) -> float:
    return config.rules.stop.delay + config.rules.stop.patience


def test_the_dockerfile_has_nothing_that_a_check_complains_about(nacre: Nacre) -> None:
    assert "no warnings" in nacre("build", "--check", str(EXAMPLES)).out


def test_the_image_starts_the_registry_with_its_configuration() -> None:
    lines = (EXAMPLES / "Dockerfile").read_text(encoding="utf-8").splitlines()
    said = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    command = [*json.loads(said["ENTRYPOINT"]), *json.loads(said["CMD"])]
    assert command[:4] == ["nacre", "registry", "serve", "--config"]
    assert said["USER"] == "65532:65532"
    assert said["ENV"] == f"HOME={TOP}"


def test_compose_gives_the_registry_what_its_configuration_names(compose: dict[str, Any]) -> None:
    config, files = configured()
    service = compose["services"]["registry"]
    assert {f"/run/secrets/{name}" for name in service["secrets"]} == files
    assert {name for each in compose["services"].values() for name in each.get("secrets", ())} == set(
        compose["secrets"]
    )
    assert any(mount.startswith(f"{TOP}:") for mount in service["tmpfs"])
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["user"] == "65532:65532"
    assert service["deploy"]["replicas"] == 2
    assert Path(config.folder).parent == Path(TOP)  # a volume's own directory may belong to root
    assert float(service["stop_grace_period"].rstrip("s")) > draining(config)


def test_kubernetes_gives_the_registry_what_its_configuration_names(pod: dict[str, Any]) -> None:
    _, files = configured()
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    assert mounts["root"] == TOP
    assert {str(Path(path).parent) for path in files} == {mounts["secrets"]}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 65532


def test_kubernetes_sends_nothing_to_a_replica_that_accepts_nothing_any_more(pod: dict[str, Any]) -> None:
    config, _ = configured()
    (container,) = pod["containers"]
    probe = container["readinessProbe"]
    assert probe["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert probe["periodSeconds"] * probe["failureThreshold"] < config.rules.stop.delay
    assert pod["terminationGracePeriodSeconds"] > draining(config)


def test_service_and_budget_are_for_the_pods() -> None:
    kinds = {each["kind"]: each["spec"] for each in documents("kubernetes/registry.yaml")}
    labels = kinds["Deployment"]["template"]["metadata"]["labels"]
    assert kinds["Service"]["selector"] == labels
    assert kinds["Deployment"]["selector"]["matchLabels"] == labels
    assert kinds["PodDisruptionBudget"]["selector"]["matchLabels"] == labels
    assert kinds["PodDisruptionBudget"]["minAvailable"] < kinds["Deployment"]["replicas"]
