"""kubectl as a function, and the objects that the conformance tests write."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Images that a real cluster can run as well: one that waits, in two versions, and one that ends.
RUNS, RUNS_TOO = "nginx:1.27-alpine", "nginx:1.26-alpine"
ENDS = "busybox:1.36"


@dataclass
class Kubectl:
    """kubectl as it is installed, against the server under test."""

    kubeconfig: Path
    home: Path
    namespace: str = "default"

    def run(self, *arguments: str, stdin: Any = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it; objects given as `stdin` are sent as JSON."""
        text = stdin if isinstance(stdin, (str, type(None))) else json.dumps(stdin)
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig),
            **environment,
        }
        command = ["kubectl", "-n", self.namespace, *arguments]
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=120, env=variables, check=False
        )

    def ok(self, *arguments: str, stdin: Any = None, **environment: str) -> str:
        """Run it and demand success; what it printed."""
        done = self.run(*arguments, stdin=stdin, **environment)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def fails(self, *arguments: str, stdin: Any = None) -> str:
        """Run it and demand failure; what it complained of."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode != 0, (arguments, done.stdout)
        return done.stderr

    def json(self, *arguments: str) -> Any:
        """The object that a get prints."""
        return json.loads(self.ok("get", *arguments, "-o", "json"))


WIDGET_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1},
                "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
                    },
                },
            },
        },
        "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
    },
}


def definition(plural: str) -> dict[str, Any]:
    """A namespaced type with defaults, bounds, a keyed list, a free field, status and scale."""
    kind = plural.capitalize().rstrip("s")
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.conformance.example.com"},
        "spec": {
            "group": "conformance.example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": plural.rstrip("s"), "kind": kind, "listKind": f"{kind}List"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": WIDGET_SCHEMA},
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
                    },
                    "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                }
            ],
        },
    }


def widget(plural: str, **spec: Any) -> dict[str, Any]:
    """An object of `definition(plural)` named `one`."""
    return {
        "apiVersion": "conformance.example.com/v1",
        "kind": plural.capitalize().rstrip("s"),
        "metadata": {"name": "one"},
        "spec": {"size": 3, **spec},
    }


def config_map(name: str = "one", **values: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": values}


def deployment(name: str = "web", image: str = "registry.example.com/web:1", replicas: int = 1) -> dict[str, Any]:
    """A Deployment of one container with a port and a variable."""
    container = {
        "name": "web",
        "image": image,
        "ports": [{"containerPort": 80}],
        "env": [{"name": "A", "value": "1"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


def _template(name: str, image: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image}], **spec}}


def workload(kind: str, name: str, image: str = RUNS, **spec: Any) -> dict[str, Any]:
    """A Deployment, StatefulSet or DaemonSet of Pods that wait."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": _template(name, image), **spec},
    }


def job(name: str, *command: str, **spec: Any) -> dict[str, Any]:
    """A Job whose Pods run `command`."""
    template = _template(name, ENDS, restartPolicy="Never")
    template["spec"]["containers"][0]["command"] = list(command)
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template, **spec}}
