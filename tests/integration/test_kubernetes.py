"""The Kubernetes manifests: valid, able to run what the worker is, and scaled by a figure that exists."""

import base64
import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client import CollectorRegistry

import config
from config.settings import EXPORTER_PORT, Settings
from tests.support.key_settings import key_settings
from tests.support.manifests import (
    DEPLOY,
    InvalidManifestError,
    Manifest,
    build,
    judge,
    needs_kubectl,
    one,
    with_component,
)
from worker.health import HealthServer
from worker.reference.metrics import exporter_metrics

pytestmark = needs_kubectl

OLDEST, NEWEST = "1.27", "1.37"
METRIC = "otpreport_desired_workers"
USER = 10001
DEPLOYMENTS = ("otpreport-worker", "otpreport-exporter")
OPERATOR = "otpreport-operator"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@cache
def example() -> tuple[Manifest, ...]:
    """Return the manifests of the example overlay."""
    return tuple(build(DEPLOY / "overlays" / "example"))


@cache
def with_keda() -> tuple[Manifest, ...]:
    """Return the base with KEDA's autoscaler."""
    with TemporaryDirectory() as folder:
        return tuple(with_component(Path(folder), "keda"))


def found(kind: str, name: str) -> Manifest:
    """Return a copy of a manifest of the example."""
    return copy.deepcopy(one(list(example()), kind, name))


def pod(name: str) -> Manifest:
    """Return the pod template of a deployment of the example."""
    template: Manifest = found("Deployment", name)["spec"]["template"]
    return template


def container(name: str) -> Manifest:
    """Return the container of a deployment of the example."""
    (only,) = pod(name)["spec"]["containers"]
    return dict(only)


def all_manifests() -> Iterator[Manifest]:
    """Yield the example's manifests, and what the other autoscaler changes."""
    yield from example()
    yield one(list(with_keda()), "ScaledObject", "otpreport-worker")
    yield one(list(with_keda()), "Deployment", "otpreport-worker")


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_manifest_fits_its_schema(version: str) -> None:
    """Whatever kustomize builds is valid from the oldest release of Kubernetes to the newest one known here."""
    kinds = set[str]()
    for manifest in all_manifests():
        judge(manifest, version)
        kinds.add(manifest["kind"])
    assert kinds >= {"Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget"}
    assert kinds >= {"PodMonitor", "ScaledObject", "Secret", "ConfigMap", "Service", "ServiceAccount"}


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "replica"), 2),
        ("Deployment", ("spec", "template", "spec", "terminationGracePeriodSeconds"), "40s"),
        ("HorizontalPodAutoscaler", ("spec", "metrics", 0, "external", "target", "avarageValue"), "1"),
        ("NetworkPolicy", ("spec", "egress", 0, "port"), 53),
        ("PodDisruptionBudget", ("spec", "minAvailable"), [1]),
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0, "prt"), "metrics"),
        ("ScaledObject", ("spec", "triggers", 0, "metadata", "threshold"), 1),
        ("ScaledObject", ("spec", "maxReplicas"), 10),
    ],
)
def test_a_fault_in_a_manifest_is_seen(kind: str, path: tuple[str | int, ...], value: object) -> None:
    """The schemas are real ones: a misspelt field or a wrong type is invalid."""
    broken: Any = copy.deepcopy(next(manifest for manifest in all_manifests() if manifest["kind"] == kind))
    part: Any = broken
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    with pytest.raises(InvalidManifestError):
        judge(broken, NEWEST)


def test_a_worker_has_the_time_it_needs_to_stop() -> None:
    """The pod is killed later than the worker itself gives up, with some seconds to spare; no hook delays SIGTERM."""
    grace = Settings.model_fields["grace"].default
    assert pod("otpreport-worker")["spec"]["terminationGracePeriodSeconds"] >= grace + 10
    assert "lifecycle" not in container("otpreport-worker")


async def test_the_probes_ask_what_is_served() -> None:
    """Each probe's path is answered with 200 by the health server, another with 404."""
    paths = {container(name)[probe]["httpGet"]["path"] for name in DEPLOYMENTS for probe in PROBES}
    assert paths == {"/healthz", "/readyz"}
    annotated = {pod(name)["metadata"]["annotations"]["prometheus.io/path"] for name in DEPLOYMENTS}
    server = HealthServer(CollectorRegistry(), lambda: None, lambda: None)
    port = await server.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as client:
            for path, status in {**dict.fromkeys(paths | annotated, 200), "/health": 404}.items():
                async with client.get(f"http://127.0.0.1:{port}{path}") as answer:
                    assert answer.status == status, path
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("otpreport-worker", Settings.model_fields["metrics_port"].default),
        ("otpreport-exporter", EXPORTER_PORT),
    ],
)
def test_ports_are_those_of_the_settings(name: str, port: int) -> None:
    """The port that is open, annotated and probed is the one that the program takes."""
    only = container(name)
    assert only["ports"] == [{"name": "metrics", "containerPort": port}]
    assert pod(name)["metadata"]["annotations"]["prometheus.io/port"] == str(port)
    assert {only[probe]["httpGet"]["port"] for probe in PROBES} == {"metrics"}
    environment = {variable["name"]: variable["value"] for variable in only["env"]}
    assert environment.get("OTPREPORT_METRICS_PORT", str(port)) == str(port)
    (way_in,) = found("NetworkPolicy", name)["spec"]["ingress"]
    assert way_in["ports"] == [{"protocol": "TCP", "port": "metrics"}]


def _relocated(name: str, root: Path) -> dict[str, str]:
    """Lay the files that a pod mounts below `root`; return its environment with the paths changed."""
    only = container(name)
    for volume in pod(name)["spec"]["volumes"]:
        (mount,) = [mount for mount in only["volumeMounts"] if mount["name"] == volume["name"]]
        folder = root / mount["mountPath"].lstrip("/")
        folder.mkdir(parents=True)
        for file, text in _contents(volume).items():
            (folder / file).write_bytes(text)
    return {
        variable["name"]: str(root / variable["value"].lstrip("/"))
        if variable["value"].startswith("/")
        else variable["value"]
        for variable in only["env"]
    }


def _contents(volume: Manifest) -> dict[str, bytes]:
    if "configMap" in volume:
        data = found("ConfigMap", "otpreport-settings")["data"]
        return {name: text.encode() for name, text in data.items()}
    if "secret" not in volume:
        return {}
    secret = volume["secret"]
    assert secret["defaultMode"] == 0o440
    (data,) = [m["data"] for m in example() if m["metadata"]["name"] == secret["secretName"]]
    names = {item["key"]: item["path"] for item in secret.get("items", [])} or {name: name for name in data}
    return {path: base64.b64decode(data[key]) for key, path in names.items()}


@pytest.mark.parametrize("name", [*DEPLOYMENTS, OPERATOR])
def test_the_pods_find_their_settings(name: str, tmp_path: Path) -> None:
    """With the files that the pod mounts and its environment the settings have no fault; each has a user of its own."""
    settings = config.load(_relocated(name, tmp_path), keyless=name == "otpreport-exporter")
    assert set(settings.accounts) == {"tencent", "alibaba"}
    assert settings.redis_url.get_secret_value().startswith(f"redis://{name}:")


def test_who_is_asked_over_http_has_no_key() -> None:
    """No key of a provider is mounted where the exporter runs, and no port is where they are."""
    mounted = {name: _volumes(name) for name in (*DEPLOYMENTS, OPERATOR)}
    assert mounted["otpreport-exporter"] == {"settings", "redis", "tmp"}
    assert mounted["otpreport-worker"] == mounted[OPERATOR] == {"settings", "redis", "tmp", "keys"}
    assert not {"ports", "livenessProbe"} & container(OPERATOR).keys()
    assert "ingress" not in found("NetworkPolicy", OPERATOR)["spec"]
    assert found("NetworkPolicy", OPERATOR)["spec"]["policyTypes"] == ["Ingress", "Egress"]


def _volumes(name: str) -> set[str]:
    return {str(volume["name"]) for volume in pod(name)["spec"]["volumes"]}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_metrics_are_open_to_the_pod_s_network(name: str) -> None:
    """Prometheus and the probes come from outside of the pod."""
    environment = {variable["name"]: variable["value"] for variable in container(name)["env"]}
    assert environment["OTPREPORT_METRICS_HOST"] == "*"


def test_without_its_keys_a_pod_would_not_start(tmp_path: Path) -> None:
    """The settings are judged for real: without the folder of keys they have faults."""
    environment = _relocated("otpreport-worker", tmp_path)
    del environment["OTPREPORT_SECRETS_DIR"]
    with pytest.raises(config.SettingsError, match="secret_key"):
        config.load(environment)


def _unrestricted(spec: Manifest) -> list[str]:
    """Return what in a pod the profile `restricted` of the pod security standards refuses, and what we ask on top."""
    security = spec.get("securityContext", {})
    faults = [
        *(["root"] if security.get("runAsNonRoot") is not True or security.get("runAsUser") != USER else []),
        *(["seccomp"] if security.get("seccompProfile") != {"type": "RuntimeDefault"} else []),
        *(["host"] if any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")) else []),
        *(["token"] if spec.get("automountServiceAccountToken") is not False else []),
        *(["links"] if spec.get("enableServiceLinks") is not False else []),
    ]
    allowed = {"configMap", "secret", "emptyDir"}
    faults += ["volume" for volume in spec.get("volumes", []) if not allowed >= set(volume) - {"name"}]
    for one_container in spec["containers"]:
        own = one_container.get("securityContext", {})
        faults += ["escalation"] if own.get("allowPrivilegeEscalation") is not False else []
        faults += ["capabilities"] if own.get("capabilities") != {"drop": ["ALL"]} else []
        faults += ["root file system"] if own.get("readOnlyRootFilesystem") is not True else []
        faults += ["memory"] if "memory" not in one_container["resources"].get("limits", {}) else []
        ports = one_container.get("ports", [])
        faults += ["ports of the host"] if any("hostPort" in port for port in ports) else []
    return faults


@pytest.mark.parametrize("name", [*DEPLOYMENTS, OPERATOR])
def test_pods_have_no_right_that_they_do_not_need(name: str) -> None:
    """Every pod keeps to the profile `restricted`, with a root that can't be written and no token."""
    assert not _unrestricted(pod(name)["spec"])
    assert found("ServiceAccount", "otpreport")["automountServiceAccountToken"] is False
    enforced = found("Namespace", "otpreport")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert enforced == "restricted"


def test_a_right_too_many_is_seen() -> None:
    """A pod with none of the precautions has every fault."""
    bare = yaml.safe_load(
        "{hostNetwork: true, volumes: [{name: x, hostPath: {}}], containers: [{resources: {}, ports: [{hostPort: 1}]}]}"
    )
    everything = {"root", "seccomp", "host", "token", "links", "volume", "escalation", "capabilities"}
    assert set(_unrestricted(bare)) == everything | {"root file system", "memory", "ports of the host"}


def test_selectors_meet_the_pods_that_are_meant() -> None:
    """Each selector chooses the pods of one deployment, and not the other's."""
    labels = {name: set(pod(name)["metadata"]["labels"].items()) for name in DEPLOYMENTS}
    for name in DEPLOYMENTS:
        spec = found("Deployment", name)["spec"]
        selectors = [spec["selector"], found("PodMonitor", name)["spec"]["selector"]]
        selectors.append(found("NetworkPolicy", name)["spec"]["podSelector"])
        if name == "otpreport-worker":
            selectors.append(found("PodDisruptionBudget", name)["spec"]["selector"])
            selectors += [
                spread["labelSelector"] for spread in pod(name)["spec"]["topologySpreadConstraints"]
            ]
        else:
            selectors.append({"matchLabels": found("Service", name)["spec"]["selector"]})
        for selector in selectors:
            chosen = [other for other in DEPLOYMENTS if labels[other] >= set(selector["matchLabels"].items())]
            assert chosen == [name], selector


def test_a_namespace_is_a_fleet() -> None:
    """Workers and exporter get the same label by the same rule, or the alerts could not hold one against the other."""
    rules = [
        [rule for rule in endpoint["relabelings"] if rule["targetLabel"] == "fleet"]
        for name in DEPLOYMENTS
        for endpoint in found("PodMonitor", name)["spec"]["podMetricsEndpoints"]
    ]
    assert rules == [[{"targetLabel": "fleet", "sourceLabels": ["__meta_kubernetes_namespace"]}]] * 2


def test_pods_reach_redis_and_the_providers_alone() -> None:
    """Workers send, and in the operator's pod `check --probe` asks; neither goes to the cloud's metadata."""
    worker, exporter, operator = (
        found("NetworkPolicy", name)["spec"]["egress"] for name in (*DEPLOYMENTS, OPERATOR)
    )
    assert worker == operator
    assert exporter == worker[:2]  # names and Redis
    assert {port["port"] for rule in worker for port in rule["ports"]} == {53, 6379, 443}
    (block,) = [to["ipBlock"] for rule in worker for to in rule["to"] if "ipBlock" in to]
    assert "169.254.0.0/16" in block["except"]


def test_the_figure_that_scales_is_one_the_exporter_has() -> None:
    """Both autoscalers ask for a metric that the exporter serves, and take it for the number of workers."""
    assert METRIC in {metric.name for metric in exporter_metrics()}
    (metric,) = found("HorizontalPodAutoscaler", "otpreport-worker")["spec"]["metrics"]
    assert metric["external"] == {
        "metric": {"name": METRIC},
        "target": {"type": "AverageValue", "averageValue": "1"},
    }
    adapter = yaml.safe_load((DEPLOY / "components" / "hpa" / "prometheus-adapter.yaml").read_text())
    (rule,) = adapter["rules"]["external"]
    assert (rule["name"]["as"], METRIC in rule["seriesQuery"]) == (METRIC, True)
    (trigger,) = one(list(with_keda()), "ScaledObject", "otpreport-worker")["spec"]["triggers"]
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "1")
    assert trigger["metadata"]["query"] == f"max({METRIC})"


def test_the_number_of_workers_is_the_autoscalers_alone() -> None:
    """With an autoscaler the deployment names no number, which each apply would set; without one it is two."""
    (plain,) = [
        m
        for m in build(DEPLOY / "base")
        if m["metadata"]["name"] == "otpreport-worker" and "replicas" in m["spec"]
    ]
    assert plain["spec"]["replicas"] == 2
    for manifests in (example(), with_keda()):
        assert "replicas" not in one(list(manifests), "Deployment", "otpreport-worker")["spec"]
    target = found("HorizontalPodAutoscaler", "otpreport-worker")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "otpreport-worker")
    assert (
        one(list(with_keda()), "ScaledObject", "otpreport-worker")["spec"]["scaleTargetRef"]["name"]
        == target["name"]
    )


def test_a_key_and_its_id_change_together() -> None:
    """Both are in the Secret that pods see change at once; in the ConfigMap stands no part of a key."""
    assert key_settings(found("ConfigMap", "otpreport-settings")["data"]["otpreport.toml"]) == []
    assert set(found("Secret", "otpreport-keys")["data"]) == {
        "otpreport_accounts__tencent__secret_id",
        "otpreport_accounts__tencent__secret_key",
        "otpreport_accounts__alibaba__access_key_id",
        "otpreport_accounts__alibaba__access_key_secret",
    }


def test_new_settings_roll_out_and_new_keys_do_not() -> None:
    """The settings' name ends in their hash; the keys keep theirs, for workers read them again by themselves."""
    volumes = {volume["name"]: volume for volume in pod("otpreport-worker")["spec"]["volumes"]}
    settings = found("ConfigMap", "otpreport-settings")["metadata"]["name"]
    assert settings != "otpreport-settings"
    assert volumes["settings"]["configMap"]["name"] == settings
    assert volumes["keys"]["secret"]["secretName"] == "otpreport-keys"
    assert not [mount for mount in container("otpreport-worker")["volumeMounts"] if "subPath" in mount]
