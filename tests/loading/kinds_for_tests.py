"""Small kinds that only the loader's tests know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.kind import Context, Step
from reconciler.model.observation import Observation
from reconciler.model.plan import Change
from reconciler.model.resource import Resource, ResourceRef, State


class _TestKind:
    recovery = "replan"
    steps_version = 1
    name = ""
    schema: Mapping[str, Any] = {}

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        return ()

    def target(self, resource: Resource) -> str:
        return "test"

    def normalize(self, resource: Resource) -> State:
        return dict(resource.spec)

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        return {}

    def steps(self, change: Change) -> Sequence[Step]:
        return ()


class Widget(_TestKind):
    """Plain fields only."""

    name = "Widget"
    schema: Mapping[str, Any] = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 0, "maximum": 1000, "description": "How big."},
            "color": {"enum": ["red", "green", "blue"], "description": "What it looks like."},
            "enabled": {"type": "boolean", "description": "Whether it runs."},
            "note": {"type": "string", "maxLength": 200, "description": "Free text."},
            "ports": {
                "type": "array",
                "description": "Open ports.",
                "items": {"type": "integer", "description": "A port."},
            },
            "uses": {"type": "string", "description": "Name of a widget that it needs."},
            "free": {"type": "object", "description": "Anything."},
        },
    }

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        uses = resource.spec.get("uses")
        return (ResourceRef("Widget", uses),) if uses else ()


class Vault(_TestKind):
    """Every mark, in every place that a schema can put it."""

    name = "Vault"
    schema: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "token": {"type": "string", "x-secret": True, "description": "A secret."},
            "login": {
                "type": "object",
                "description": "A secret further down.",
                "properties": {
                    "user": {"type": "string", "description": "Who."},
                    "password": {"type": "string", "x-secret": True, "description": "A secret."},
                },
            },
            "script": {"type": "string", "x-file": True, "description": "A file beside the document."},
            "kubeconfig": {"type": "string", "x-file": "anywhere", "description": "A file anywhere."},
            "manifests": {
                "type": "array",
                "description": "Files or objects.",
                "items": {
                    "oneOf": [
                        {"type": "string", "x-file": True, "description": "A file."},
                        {"type": "object", "description": "An object."},
                    ]
                },
            },
            "address": {"type": "string", "x-late": True, "description": "May be known only later."},
            "title": {"type": "string", "description": "Plain."},
            "keys": {
                "type": "object",
                "description": "Secrets by name.",
                "additionalProperties": {"type": "string", "x-secret": True, "description": "A secret."},
            },
            "tree": {"$ref": "#/$defs/node", "description": "A recursive structure."},
            "provider": {
                "description": "One of two forms.",
                "oneOf": [
                    {
                        "type": "object",
                        "required": ["type", "config"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "file", "description": "By file."},
                            "config": {"type": "string", "x-file": True, "description": "A file."},
                        },
                    },
                    {
                        "type": "object",
                        "required": ["type", "config"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "inline", "description": "By text."},
                            "config": {"type": "string", "description": "The text itself."},
                        },
                    },
                ],
            },
        },
        "$defs": {
            "node": {
                "type": "object",
                "description": "A node.",
                "additionalProperties": False,
                "properties": {
                    "secret": {"type": "string", "x-secret": True, "description": "A secret."},
                    "children": {
                        "type": "array",
                        "description": "Nodes below.",
                        "items": {"$ref": "#/$defs/node"},
                    },
                },
            }
        },
    }


KINDS: Mapping[str, Any] = {"Widget": Widget(), "Vault": Vault()}
