"""What each step of a project's change does. Listed and ordered in `plan_steps`; run by the engine, one after another.

Everything is called directly and awaited: a step is done when what it is for is there. Any step may have run before, in
part or in whole, by a process that was killed: each looks before it acts. One that fails leaves its row and its project
`failed`, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.errors import TerminalError, TransientError
from reconciler.kind import Context, Outputs, Records
from reconciler.kinds.project import rows
from reconciler.kinds.project.applying import apply_objects, planned_objects
from reconciler.kinds.project.changing import (
    STEPS,
    WAIT_READY,
    WAITING,
    Done,
    apis,
    completed,
    failing,
    in_the_row,
    plan_the_steps,
    rows_of,
    spec_of,
    start,
    tell,
    wait_until,
)
from reconciler.kinds.project.flux_install import ensure_flux
from reconciler.kinds.project.looking import Look, Subject
from reconciler.kinds.project.objects import Place
from reconciler.kinds.project.preflight import check_clusters, check_repository
from reconciler.kinds.project.removing import Api, remove_namespaces, remove_objects
from reconciler.kinds.project.repositories import ensure_repository
from reconciler.kinds.project.repositories import push_template as push
from reconciler.kinds.project.rows import Made
from reconciler.kinds.project.seeing import Seen, fetch
from reconciler.kinds.project.spec import ProjectSpec
from reconciler.kinds.project.templating import made_of, rendered
from reconciler.model.secret import Secret
from reconciler.planning.diff import diff
from reconciler.transports.git_objects import blob_id


def resolve_credentials(context: Context) -> Outputs | None:
    """The project gets its id and its rows, and its credentials are there.

    What can be known to be missing is found here where the next steps would change something outside of its clusters.
    """
    spec, began, name = spec_of(context), context.now(), "resolve_credentials"
    with context.records.transaction() as records:
        project_id = rows.ensure(records, spec, began)
        plan_the_steps(records, project_id, STEPS, began)
        start(records, project_id, name, began)
    with failing(context, name, began):
        _check_credentials(spec)
        if spec.repository.create or spec.template is not None:
            check_clusters(spec, context)
            check_repository(spec, context, rendered(spec, project_id, context.settings).files)
        completed(context, name, began)
    return {"id": project_id}


@in_the_row(lambda spec: spec.repository.create)
def create_repository(context: Context) -> Done | None:
    """Where that is asked for, the repository is made, or one that exists adopted.

    That we made it is noted when this step ends. After a kill between the forge's answer and then, nothing tells it
    from one that somebody else made, and it counts as adopted.
    """
    spec = spec_of(context)
    if not spec.repository.create:
        context.log(f"{spec.repository.url} is given, and nothing is created\n")
        return None
    facts = ensure_repository(spec, context)

    def write(records: Records, project_id: str) -> None:
        if facts.created:
            key = {"project_id": project_id, "step": "create_repository"}
            records.put(rows.STEPS, key, {"metadata": json.dumps({"made": spec.repository.name})})

    return Done({"url": facts.url, "created": facts.created}, write)


@in_the_row(lambda spec: spec.template is not None)
def push_template(context: Context) -> Done | None:
    """The files of the template are in the repository; one commit, and none when they are there already."""
    spec = spec_of(context)
    if spec.template is None:
        context.log("there is no template, and the repository is taken as it is\n")
        return None
    recorded = rows_of(context)
    files, folder = rendered(spec, recorded.id, context.settings)
    published = push(spec, files, context, rows.pushed_of(recorded.project).files)
    pushed = {path: blob_id(content, published.commit) for path, content in files.items()}
    config = json.dumps({"template": made_of(spec), "pushed": pushed, "folder": folder}, sort_keys=True)

    def write(records: Records, project_id: str) -> None:
        records.put(rows.PROJECTS, {"id": project_id}, {"template_config": config})

    return Done({"commit": published.commit, "changed": published.changed, "files": len(files)}, write)


@in_the_row(lambda _spec: False)
def create_environments(context: Context) -> Done | None:
    """A row for each environment."""
    spec, now = spec_of(context), context.now()
    context.log(f"environments: {', '.join(one.name for one in spec.environments)}\n")
    return Done(None, lambda records, project_id: rows.settle_environments(records, spec, project_id, now))


@in_the_row(lambda _spec: False)
def create_db_records(context: Context) -> Done | None:
    """What the document says of the project and of its repository."""
    spec, now = spec_of(context), context.now()

    def write(records: Records, project_id: str) -> None:
        rows.describe(records, spec, project_id, now)
        step = records.get(rows.STEPS, project_id=project_id, step="create_repository") or {}
        made = json.loads(step.get("metadata") or "{}").get("made")
        if made is not None:
            key = {"project_id": project_id, "full_name": spec.repository.name}
            records.put(rows.REPOSITORIES, key, {"created_by_us": int(made == spec.repository.name)})

    return Done(None, write)


@in_the_row(lambda _spec: True)
def setup_gitops(context: Context) -> Done | None:
    """The objects are in the clusters, in order, and what is not wanted any more is not."""
    assert context.change is not None
    spec, recorded = spec_of(context), rows_of(context)
    _preflight(context, spec)
    planned = planned_objects(context.change, recorded.id)
    wanted = [Made(place.cluster, place.kind, place.namespace, place.name) for place, *_ in planned]
    is_new = not recorded.inventory
    if not set(wanted) <= set(recorded.inventory):
        with context.records.transaction() as records:
            rows.note_inventory(records, recorded.id, (*recorded.inventory, *wanted))
    assert context.resource is not None
    subject = Subject(context.resource, spec, recorded)
    with apis(context) as api_of:
        seen = _seen(context, subject, api_of) if not is_new else {name: Seen() for name in spec.clusters}
        written = apply_objects(context, api_of, seen, recorded.id)
        left = [_made(place) for place in Look(subject, seen, context).leftovers()]
        remove_objects(context, api_of, left)
        remove_namespaces(context, api_of, left, recorded.id)
    flux = [(place, manifest) for place, manifest, _ in planned if place.kind in rows.ROW_TYPES]
    tell(context, f"GitOps setup completed: {written} objects written")
    now, outputs = context.now(), dict[str, Any]()

    def write(records: Records, project_id: str) -> None:
        outputs.update(_ids(flux, rows.settle_resources(records, project_id, flux, now)))
        if left or any(one not in wanted for one in recorded.inventory):
            rows.note_inventory(records, project_id, wanted)

    return Done(outputs, write)


@in_the_row(lambda _spec: True)
def finalize(context: Context) -> Done | None:
    """Every object is read back and is as wanted; only then the project is active, and done to 100 %."""
    assert context.change is not None
    subject = _subject(context)
    with apis(context) as api_of:
        state = Look(subject, _seen(context, subject, api_of), context).state()
    wanted = {name: context.change.after[name] for name in ("clusters", "environments")}
    left = diff(wanted, state, None, context.change.resource.lifecycle.ignore)
    if left:
        paths = ", ".join(entry.path for entry in left[:5])
        raise TransientError("NotThere", f"everything was written, but read back it still differs: {paths}")
    now = context.now()

    def write(records: Records, project_id: str) -> None:
        values: dict[str, Any] = {"status": "active", "initialization_error": None, "updated_at": now}
        if subject.recorded is not None and subject.recorded.project["initialization_completed_at"] is None:
            values["initialization_completed_at"] = now
        records.put(rows.PROJECTS, {"id": project_id}, values)

    return Done(None, write)


def wait_ready(context: Context) -> Outputs | None:
    """Until Flux says that everything is ready, at most `wait.timeout`. What was made stays when it takes longer."""
    spec, began, name = spec_of(context), context.now(), WAIT_READY
    with context.records.transaction() as records:
        recorded = rows.read(records, spec.name)
        plan_the_steps(records, recorded.id, {**STEPS, WAIT_READY: WAITING}, began)
        start(records, recorded.id, name, began)
    with failing(context, name, began), apis(context) as api_of:
        subject = _subject(context)

        def trouble() -> str:
            return Look(subject, _seen(context, subject, api_of), context).trouble()

        wait_until(context, spec.wait_timeout, "TIMEOUT: Flux was not ready", trouble, "Timeout")
        completed(context, name, began)
    return None


def delete_gitops(context: Context) -> Outputs | None:
    """The project is being deleted: its objects go, and Flux takes away what it deployed."""
    recorded = _recorded(context)
    if recorded is None:
        return {"deleted": 0}
    with context.records.transaction() as records:
        values = {"status": "deleting", "updated_at": context.now()}
        records.put(rows.PROJECTS, {"id": recorded.id}, values)
    made = _reachable(context, recorded)
    with apis(context) as api_of:
        remove_objects(context, api_of, made)
    return {"deleted": len(made)}


def delete_namespaces(context: Context) -> Outputs | None:
    """The namespaces that were made for it go, unless they hold anything of somebody else."""
    recorded = _recorded(context)
    if recorded is None:
        return None
    with apis(context) as api_of:
        remove_namespaces(context, api_of, _reachable(context, recorded), recorded.id)
    with context.records.transaction() as records:
        rows.note_inventory(records, recorded.id, ())
    return None


def delete_records(context: Context) -> Outputs | None:
    """Its rows go."""
    recorded = _recorded(context)
    if recorded is not None:
        with context.records.transaction() as records:
            for table in (rows.RESOURCES, rows.STEPS, rows.ENVIRONMENTS, rows.REPOSITORIES):
                records.delete(table, project_id=recorded.id)
            records.delete(rows.PROJECTS, id=recorded.id)
    return None


def _check_credentials(spec: ProjectSpec) -> None:
    auth = spec.repository.auth
    for field, value in (("token", auth and auth.token), ("sshKey", auth and auth.ssh_key)):
        if isinstance(value, Secret) and not value.reveal().strip():
            raise TerminalError("EmptyCredential", f"repository.auth.{field}: {value.origin} holds nothing")


def _preflight(context: Context, spec: ProjectSpec) -> None:
    """Nothing is written into a cluster that cannot be used, or for what a repository does not have."""
    check_clusters(spec, context)
    check_repository(spec, context)
    ensure_flux(spec, context)


def _subject(context: Context) -> Subject:
    assert context.resource is not None
    return Subject(context.resource, spec_of(context), rows_of(context))


def _recorded(context: Context) -> rows.Rows | None:
    assert context.resource is not None
    name = context.resource.ref.name
    return rows.load(context.records, [name]).get(name)


def _seen(context: Context, subject: Subject, api_of: Api) -> dict[str, Seen]:
    """What is there of it now, by cluster; nothing of a cluster that is recorded no longer."""
    known = context.clusters()
    return {
        name: fetch(api_of(name), own := subject.namespaces(name), (*own, *subject.targets(name)))
        for name in subject.clusters
        if name in known or name in subject.spec.clusters
    }


def _reachable(context: Context, recorded: rows.Rows) -> list[Made]:
    """What it may have in clusters that there still are: what was in another went with that."""
    known = context.clusters()
    for name in sorted({one.cluster for one in recorded.inventory} - known.keys()):
        tell(context, f"cluster {name} is recorded no longer, and what was in it is taken to be gone with it")
    return [one for one in recorded.inventory if one.cluster in known]


def _made(place: Place) -> Made:
    return Made(place.cluster, place.kind, place.namespace, place.name)


def _ids(flux: list[tuple[Place, Mapping[str, Any]]], ids: list[str]) -> Outputs:
    """The ids of the rows, as the predecessor returned them."""
    pairs = list(zip((place.kind for place, _ in flux), ids, strict=True))
    return {
        "gitRepositories": [row_id for kind, row_id in pairs if kind == "GitRepository"],
        "kustomizations": [row_id for kind, row_id in pairs if kind == "Kustomization"],
    }
