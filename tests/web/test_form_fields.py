"""Forms out of schemas: which fields there are, which have to be filled in, and what a filled form means."""

from __future__ import annotations

from reconciler.kinds import discover
from reconciler.loading.messages import Finding
from web.form_fields import Field, document_of, elsewhere, filled_in, groups_of, left_out

PROJECT = discover()["Project"].schema
GROUPS = groups_of(PROJECT)
TOKEN = ("spec", "repository", "auth", "token")


def fields() -> dict[str, Field]:
    return {field.name: field for group in GROUPS for field in group.fields}


def test_fields_of_mappings_in_mappings_are_there_and_the_rest_is_named() -> None:
    assert {group.title for group in GROUPS} >= {"", "Repository", "Repository: auth", "Flux", "Life cycle"}
    assert fields()[".".join(TOKEN)].form == "secret"
    assert not any("manifest" in name for name in fields()), "files of the host cannot be named"
    assert {"environments", "flux.healthChecks", "flux.install.manifest"} <= set(left_out(PROJECT))


def test_what_a_mapping_needs_is_needed_only_where_the_mapping_is() -> None:
    needed = {name for name, field in fields().items() if field.required}
    assert needed == {"metadata.name", "spec.cluster", "spec.repository.provider"}


def test_a_secret_is_the_variable_that_holds_it() -> None:
    filled = {"metadata.name": "shop", ".".join(TOKEN): "RECONCILER_SECRET_GIT", "spec.flux.prune": "false"}
    assert document_of(GROUPS, filled, "Project") == {
        "kind": "Project",
        "metadata": {"name": "shop"},
        "spec": {
            "repository": {"auth": {"token": {"fromEnv": "RECONCILER_SECRET_GIT"}}},
            "flux": {"prune": False},
        },
    }


def test_what_is_wrong_inside_a_secret_stands_beside_its_field() -> None:
    finding = Finding((*TOKEN, "fromEnv"), "may not be read")
    shown = {field.name: field.error for group in filled_in(GROUPS, {}, [finding]) for field in group.fields}
    assert shown[".".join(TOKEN)] == "may not be read"
    assert elsewhere(GROUPS, [finding]) == []
