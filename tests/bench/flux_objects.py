"""Projects as plain objects, 6 each: Namespace, Secret, GitRepository and three Kustomizations. Used by `gitops`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import yaml

ENVIRONMENTS = ("development", "staging", "production")
PER_PROJECT = 3 + len(ENVIRONMENTS)
PREFIX = "bench"

Object = dict[str, Any]


def projects(count: int, prefix: str = PREFIX) -> list[Object]:
    """The objects of so many projects. prefix: of their namespaces' names."""
    return [one for number in range(count) for one in _project(f"{prefix}-{number:04}")]


def as_json(objects: list[Object]) -> str:
    """One document an object, as programs write it; JSON is YAML, and is read fastest by everybody."""
    return "".join(f"---\n{json.dumps(one)}\n" for one in objects)


def as_yaml(objects: list[Object]) -> str:
    """One document an object, as people write it."""
    return str(yaml.dump_all(objects, Dumper=yaml.CSafeDumper, explicit_start=True, sort_keys=False))


def _project(name: str) -> Iterator[Object]:
    labels = {"app.kubernetes.io/managed-by": "bench", "app.kubernetes.io/part-of": name}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}

    def placed(api_version: str, kind: str, short: str, **parts: Any) -> Object:
        metadata = {"name": short, "namespace": name, "labels": labels}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts}

    password = base64.b64encode(f"token-of-{name}".encode()).decode()
    secret = {"username": base64.b64encode(b"git").decode(), "password": password}
    yield placed("v1", "Secret", "credentials", type="kubernetes.io/basic-auth", data=secret)
    yield placed(
        "source.toolkit.fluxcd.io/v1",
        *("GitRepository", "source"),
        spec={
            "interval": "1m0s",
            "url": f"https://git.example.com/projects/{name}.git",
            "ref": {"branch": "main"},
            "secretRef": {"name": "credentials"},
        },
    )
    for environment in ENVIRONMENTS:
        yield placed(
            "kustomize.toolkit.fluxcd.io/v1",
            *("Kustomization", environment),
            spec={
                "interval": "1m0s",
                "path": f"./k8s/overlays/{environment}",
                "prune": True,
                "sourceRef": {"kind": "GitRepository", "name": "source"},
                "targetNamespace": name,
                "timeout": "2m0s",
                "wait": False,
            },
        )
