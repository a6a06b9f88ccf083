"""Kubernetes manifests: built with kustomize, and judged by the schemas of Kubernetes and of the operators."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import jsonschema  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs, reportMissingModuleSource]
import kubernetes_validate  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "kubernetes"
CUSTOM = {"ScaledObject", "PodMonitor"}
"""Kinds that operators bring; their schemas are in tests/data/crd."""

Manifest = dict[str, Any]

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="needs kubectl, whose kustomize builds the manifests"
)


class InvalidManifestError(Exception):
    """A manifest does not fit its schema."""


def build(folder: Path) -> list[Manifest]:
    """Return what kustomize makes of a folder."""
    ended = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return [cast("Manifest", manifest) for manifest in yaml.safe_load_all(ended.stdout)]


def with_component(folder: Path, name: str) -> list[Manifest]:
    """Return the base with one component, through a kustomization written into `folder`."""
    here = folder.resolve()
    kustomization = {
        "resources": [os.path.relpath(DEPLOY / "base", here)],
        "components": [os.path.relpath(DEPLOY / "components" / name, here)],
    }
    (here / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return build(here)


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the manifest of this kind whose name is this, or this and kustomize's hash."""
    pattern = rf"{name}(-[a-z0-9]{{10}})?"
    found = [
        manifest
        for manifest in manifests
        if manifest["kind"] == kind and re.fullmatch(pattern, manifest["metadata"]["name"])
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def judge(manifest: Manifest, version: str) -> None:
    """Hold a manifest against its schema, and allow nothing else; InvalidManifestError when it does not fit."""
    checker: Any = kubernetes_validate
    try:
        if manifest["kind"] in CUSTOM:
            _judge_custom(manifest)
        else:
            checker.validate(manifest, version, strict=True)
    except jsonschema.ValidationError as error:
        raise InvalidManifestError(str(cast("Any", error).message)) from error


def _judge_custom(manifest: Manifest) -> None:
    file = ROOT / "tests" / "data" / "crd" / f"{manifest['kind'].lower()}.json"
    validator: Any = jsonschema.Draft202012Validator
    validator(_strict(json.loads(file.read_text()))).validate(manifest)


def _strict(schema: Any) -> Any:
    """Return the schema with nothing allowed beside its properties, as the API server would drop it."""
    if isinstance(schema, list):
        return [_strict(item) for item in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    parts = {str(name): _strict(part) for name, part in cast("dict[str, Any]", schema).items()}
    open_ended = "x-kubernetes-preserve-unknown-fields" in parts or "additionalProperties" in parts
    if parts.get("type") == "object" and "properties" in parts and not open_ended:
        return parts | {"additionalProperties": False}
    return parts
