"""Names that Kubernetes and registries take, made of what people choose freely. Pure; called by `rendering`."""

from __future__ import annotations

import hashlib
import re

MAX_APP = 50
MAX_PREFIX = 13
"""Together they are no longer than what Kubernetes takes, 63 characters."""
_USUAL = {"development": "dev-", "production": "prod-", "testing": "test-"}
_NOT_IN_LABELS = re.compile(r"[^a-z0-9-]+")
_NOT_IN_IMAGES = re.compile(r"[^a-z0-9._/-]+")
_IMAGE_PART = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")


def app_name(slug: str) -> str:
    """A DNS-1035 label of at most MAX_APP characters: the slug itself where it is one.

    Services refuse names that begin with a digit, so such a slug gets a prefix. Where something had to be cut or
    replaced, the name ends in a digest of the whole slug.
    """
    return _label(slug, "app", MAX_APP)


def prefix(slug: str) -> str:
    """What the names of an environment's objects begin with, at most MAX_PREFIX characters, the dash at its end too."""
    return _USUAL.get(slug) or f"{_label(slug, 'env', MAX_PREFIX - 1)}-"


def _label(slug: str, start: str, limit: int) -> str:
    name = _NOT_IN_LABELS.sub("-", slug.lower()).strip("-")
    if not name[:1].isalpha():
        name = f"{start}-{name}".rstrip("-")
    if len(name) <= limit and name in (slug, f"{start}-{slug}"):
        return name
    digest = hashlib.sha256(slug.encode()).hexdigest()[:6]
    return f"{name[: limit - 7].rstrip('-')}-{digest}"


def image_path(repository: str, fallback: str) -> str:
    """`owner/name` of a repository's address as a registry takes it; the fallback where it has no such path."""
    path = re.sub(r"^[a-z+]+://[^/]*/|^[^/]*:", "", repository.rstrip("/").removesuffix(".git"))
    parts = [part for part in _NOT_IN_IMAGES.sub("-", path.lower()).split("/") if part][-2:]
    found = ["-".join(_IMAGE_PART.findall(part)) for part in parts]
    return "/".join(part for part in found if part) or fallback
