"""The `spec` of a project as values with types and defaults. Called by everything in this kind that reads one. Pure.

A spec may be in its stored form (a secret as its digest, a file as path and digest) when its document is gone.
`${project_id}` stands for an id that only the first record gives; `${id8}` for its first eight characters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from reconciler.errors import SpecError
from reconciler.model.duration import parse_duration
from reconciler.model.resource import Resource

PROJECT_ID = "${project_id}"
ID8 = "${id8}"
DEFAULT_NAMESPACE = f"project-{PROJECT_ID}"
MAX_NAME = 63
_SCP = re.compile(r"^([A-Za-z0-9._-]+)@([A-Za-z0-9.-]+):(.+)\Z")
_PUBLIC_API = {"github": "https://api.github.com", "gitlab": "https://gitlab.com/api/v4"}
_ANY_ID = "0" * 8 + "-0000-4000-8000-" + "0" * 12
_DNS = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


class _Type(NamedTuple):
    """What an environment is unless its document says otherwise."""

    name: str
    description: str
    approval_required: bool
    min_approvals: int


_TYPES = {
    "development": _Type("Development", "开发环境", False, 1),
    "staging": _Type("Staging", "预发布环境", True, 1),
    "production": _Type("Production", "生产环境", True, 2),
    "testing": _Type("Testing", "测试环境", False, 1),
}
_DEFAULT_ENVIRONMENTS: Sequence[Mapping[str, Any]] = tuple(
    {"type": name} for name in ("development", "staging", "production")
)


@dataclass(frozen=True, slots=True)
class Auth:
    """Credentials. token, ssh_key: a Secret, or its stored form (a mapping) when the document is gone; None without."""

    username: str = "git"
    token: Any = None
    ssh_key: Any = None
    known_hosts: str = ""


@dataclass(frozen=True, slots=True)
class RepositorySpec:
    """The repository. name: `owner/name`. url: to clone from. flux_url: by which Flux reaches it. api_url: of REST."""

    provider: str
    name: str
    url: str
    flux_url: str
    branch: str
    create: bool
    api_url: str
    visibility: str
    auth: Auth | None


@dataclass(frozen=True, slots=True)
class TemplateSpec:
    """What an empty repository is filled with. Either name or path; folder: where a relative path starts, or None."""

    name: str = ""
    path: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """One environment. namespace: that everything of it is put into, with PROJECT_ID or "" to leave that to its files.

    path: as in the Kustomization, `./k8s/overlays/staging`. replicas: None and host: "" for the template's own.
    """

    slug: str
    type: str
    name: str
    description: str
    approval_required: bool
    min_approvals: int
    cluster: str
    path: str
    namespace: str = ""
    replicas: int | None = None
    host: str = ""
    suspend: bool = False


@dataclass(frozen=True, slots=True)
class FluxSpec:
    """Durations as Flux writes them, "" for its own default. manifest: a SpecFile or its stored form, or None."""

    interval: str = "1m"
    timeout: str = ""
    retry_interval: str = ""
    prune: bool = True
    wait: bool = False
    health_checks: tuple[Mapping[str, Any], ...] = ()
    depends_on: bool = False
    force: bool = False
    install: bool = False
    manifest: Any = None


@dataclass(frozen=True, slots=True)
class ProjectSpec:
    """A desired project. namespace: of its Flux objects, with PROJECT_ID in it. wait_timeout: seconds."""

    name: str
    slug: str
    cluster: str
    namespace: str
    description: str
    visibility: str
    repository: RepositorySpec
    template: TemplateSpec | None
    environments: tuple[EnvironmentSpec, ...]
    flux: FluxSpec
    wait_ready: bool
    wait_timeout: float

    @classmethod
    def of(cls, resource: Resource) -> ProjectSpec:
        """From a document that passed the schema, or from the stored form of one. Raises SpecError."""
        spec = resource.spec
        wait = spec.get("wait", {})
        namespace = spec.get("namespace", DEFAULT_NAMESPACE)
        visibility = spec.get("visibility", "private")
        made = cls(
            name=resource.ref.name,
            slug=spec.get("slug", resource.ref.name),
            cluster=spec["cluster"],
            namespace=namespace,
            description=spec.get("description", ""),
            visibility=visibility,
            repository=_repository(spec["repository"], visibility, spec.get("flux", {}).get("url", "")),
            template=_template(spec.get("template"), resource.source.owner),
            environments=_environments(spec),
            flux=_flux(spec.get("flux", {})),
            wait_ready=wait.get("ready", False),
            wait_timeout=parse_duration(wait.get("timeout", "120s")),
        )
        _check(made)
        return made

    @property
    def clusters(self) -> tuple[str, ...]:
        """Every cluster that it is in, its own first."""
        return tuple(dict.fromkeys((self.cluster, *(one.cluster for one in self.environments))))

    def in_cluster(self, cluster: str) -> tuple[EnvironmentSpec, ...]:
        """Its environments in a cluster, in order."""
        return tuple(one for one in self.environments if one.cluster == cluster)


def with_id(text: str, project_id: str) -> str:
    """A name with the id in it."""
    return text.replace(PROJECT_ID, project_id).replace(ID8, project_id[:8])


def _repository(spec: Mapping[str, Any], visibility: str, flux_url: str) -> RepositorySpec:
    provider = spec["provider"]
    api_url = spec.get("apiUrl", "") or _PUBLIC_API.get(provider, "")
    url = spec.get("url", "") or _url_at(provider, api_url, spec["name"])
    auth = spec.get("auth")
    return RepositorySpec(
        provider=provider,
        name=spec.get("name", "") or _name_in(url),
        url=url,
        flux_url=flux_url or _as_flux_takes(url),
        branch=spec.get("branch", "main"),
        create=spec.get("create", False),
        api_url=api_url.rstrip("/"),
        visibility=visibility,
        auth=None if auth is None else _auth(auth),
    )


def _auth(spec: Mapping[str, Any]) -> Auth:
    username, hosts = spec.get("username", "git"), spec.get("knownHosts", "")
    return Auth(username, spec.get("token"), spec.get("sshKey"), hosts)


def _url_at(provider: str, api_url: str, name: str) -> str:
    """Where a provider serves a repository for git, by where it serves its API."""
    if not api_url:
        raise SpecError("NoAddress", "repository.url is needed: provider generic gives no repository an address")
    api = urlsplit(api_url)
    host = "github.com" if provider == "github" and api.netloc == "api.github.com" else api.netloc
    base = api.path.rstrip("/").removesuffix("/api/v3").removesuffix("/api/v4")
    return f"{api.scheme}://{host}{base}/{name}.git"


def _name_in(url: str) -> str:
    """The full name of a repository, by its address."""
    path = match[3] if (match := _SCP.match(url)) else urlsplit(url).path
    return path.strip("/").removesuffix(".git")


def _as_flux_takes(url: str) -> str:
    """The address in a form that Flux takes: `git@host:path` is `ssh://git@host/path` there."""
    match = _SCP.match(url)
    return f"ssh://{match[1]}@{match[2]}/{match[3].lstrip('/')}" if match else url


def _template(spec: Mapping[str, Any] | None, owner: str) -> TemplateSpec | None:
    if spec is None:
        return None
    folder = Path(owner.removeprefix("file:")).parent if owner.startswith("file:") else None
    variables, overwrite = spec.get("variables", {}), spec.get("overwrite", False)
    return TemplateSpec(spec.get("name", ""), spec.get("path", ""), variables, overwrite, folder)


def _flux(spec: Mapping[str, Any]) -> FluxSpec:
    install = spec.get("install", {})
    return FluxSpec(
        interval=spec.get("interval", "1m"),
        timeout=spec.get("timeout", ""),
        retry_interval=spec.get("retryInterval", ""),
        prune=spec.get("prune", True),
        wait=spec.get("wait", False),
        health_checks=tuple(spec.get("healthChecks", ())),
        depends_on=spec.get("dependsOn", False),
        force=spec.get("force", False),
        install=install.get("mode", "require") == "apply",
        manifest=install.get("manifest"),
    )


def _environments(spec: Mapping[str, Any]) -> tuple[EnvironmentSpec, ...]:
    """In order. Those that would put the same objects into the same namespace get one of their own (see README.md)."""
    found = [_environment(one, spec["cluster"]) for one in spec.get("environments", _DEFAULT_ENVIRONMENTS)]
    shared = Counter(_place(one) for one in found)
    namespace = spec.get("namespace", DEFAULT_NAMESPACE)
    return tuple(_apart(one, namespace) if shared[_place(one)] > 1 and not one.namespace else one for one in found)


def _environment(spec: Mapping[str, Any], cluster: str) -> EnvironmentSpec:
    usual = _TYPES[spec["type"]]
    slug = spec.get("slug", spec["type"])
    return EnvironmentSpec(
        slug=slug,
        type=spec["type"],
        name=spec.get("name", usual.name),
        description=spec.get("description", usual.description),
        approval_required=spec.get("approvalRequired", usual.approval_required),
        min_approvals=spec.get("minApprovals", usual.min_approvals),
        cluster=spec.get("cluster", cluster),
        path=_normal_path(spec.get("path", f"k8s/overlays/{slug}")),
        namespace=spec.get("namespace", ""),
        replicas=spec.get("replicas"),
        host=spec.get("host", ""),
        suspend=spec.get("suspend", False),
    )


def _normal_path(path: str) -> str:
    return "./" + path.removeprefix("./").strip("/")


def _place(environment: EnvironmentSpec) -> tuple[str, str, str]:
    """What two environments may not share: then each would put the same objects into the same namespace."""
    return (environment.cluster, environment.namespace, environment.path)


def _apart(environment: EnvironmentSpec, namespace: str) -> EnvironmentSpec:
    """The environment in a namespace of its own."""
    fields = {name: getattr(environment, name) for name in environment.__slots__}
    return EnvironmentSpec(**{**fields, "namespace": f"{namespace}-{environment.slug}"})


def _check(spec: ProjectSpec) -> None:
    """What the schema cannot say. Raises SpecError naming the field."""
    _check_environments(spec)
    _check_repository(spec)
    known = spec.namespace.replace(PROJECT_ID, "")
    if "$" in known:
        raise SpecError("UnknownValue", f"namespace: only {PROJECT_ID} is known later, and nothing else")
    for what, name in _names(spec):
        made = with_id(name, _ANY_ID)
        if not _DNS.match(made):
            fault = f"it would have {len(made)} characters" if len(made) > MAX_NAME else "it is no DNS label"
            raise SpecError("BadName", f"{what} {name!r}: {fault}; a name has at most {MAX_NAME}")


def _names(spec: ProjectSpec) -> list[tuple[str, str]]:
    """The names that are made of what the spec says, each with the field to change."""
    found = [("namespace", spec.namespace)]
    for index, one in enumerate(spec.environments):
        found.append((f"environments[{index}].slug makes the name", f"{ID8}-{one.slug}"))
        if one.namespace:
            found.append((f"environments[{index}].namespace", one.namespace))
    return found


def _check_environments(spec: ProjectSpec) -> None:
    for field_name in ("slug", "name"):
        values = [getattr(one, field_name) for one in spec.environments]
        for index, value in enumerate(values):
            first = values.index(value)
            if first != index:
                message = f"environments[{index}] and environments[{first}] have the same {field_name}, {value}"
                raise SpecError("DuplicateEnvironment", f"{message}: give one another {field_name}")
    hosts: dict[tuple[str, str], str] = {}
    places: dict[tuple[str, str, str], str] = {}
    for one in spec.environments:
        other = hosts.setdefault((one.cluster, one.host), one.slug) if one.host else one.slug
        if other != one.slug:
            raise SpecError("SameHost", f"{other} and {one.slug} both have host {one.host} in cluster {one.cluster}")
        other = places.setdefault(_place(one), one.slug)
        if other != one.slug:
            message = f"{other} and {one.slug} would put {one.path} into the same namespace of {one.cluster}"
            raise SpecError("SamePlace", f"{message}: give one another namespace or path")
        if spec.template is None and (one.replicas is not None or one.host):
            message = f"environment {one.slug}: replicas and host are values for a template, and there is none"
            raise SpecError("NoTemplate", message)


def _check_repository(spec: ProjectSpec) -> None:
    repository = spec.repository
    if repository.create and repository.provider == "generic":
        raise SpecError("CannotCreate", "repository.create: on a generic git server nothing can be created")
    is_ssh = repository.url.startswith("ssh://") or _SCP.match(repository.url)
    if repository.auth is None:
        return
    if is_ssh and repository.auth.ssh_key is None:
        raise SpecError("NoSshKey", f"repository.auth: {repository.url} is reached over SSH, which needs sshKey")
    if not is_ssh and repository.auth.ssh_key is not None and not repository.flux_url.startswith("ssh://"):
        raise SpecError("NoSshAddress", f"repository.auth.sshKey: {repository.url} is not reached over SSH")
