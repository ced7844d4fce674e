"""Tokens of service accounts, kept in Secrets: filled in by a controller, good as long as their account is there."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client
from test_conformance_client import raw

SECRET = {
    "type": "kubernetes.io/service-account-token",
    "metadata": {"name": "robot-token", "annotations": {"kubernetes.io/service-account.name": "robot"}},
}


def eventually(look: Callable[[], Any], within: float = 20.0) -> Any:
    """The first true answer."""
    give_up = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.1)
    return found


@pytest.fixture
def token(api_client: Any, namespace: str) -> str:
    """The token of a new account; skips where no controller fills it in (a bare API server)."""
    core = client.CoreV1Api(api_client)
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "robot"}})
    core.create_namespaced_secret(namespace, SECRET)
    try:
        found = eventually(lambda: core.read_namespaced_secret("robot-token", namespace).data)
    except AssertionError:
        pytest.skip("no controller fills in the tokens of service accounts")
    assert base64.b64decode(found["namespace"]).decode() == namespace
    assert base64.b64decode(found["ca.crt"]).startswith(b"-----BEGIN CERTIFICATE-----")
    return base64.b64decode(found["token"]).decode()


def status_with(api_client: Any, token: str) -> int:
    """What a request with a token is answered."""
    pool, host = api_client.rest_client.pool_manager, api_client.configuration.host
    return int(pool.request("GET", f"{host}/api", headers={"Authorization": f"Bearer {token}"}).status)


def test_a_token_in_a_secret_is_good_until_its_account_goes(api_client: Any, namespace: str, token: str) -> None:
    core = client.CoreV1Api(api_client)
    assert status_with(api_client, token) == 200
    header, claims, signature = token.split(".")
    assert status_with(api_client, f"{header}.{claims}.{signature[::-1]}") == 401
    assert status_with(api_client, f"{header}..{signature}") == 401
    core.delete_namespaced_service_account("robot", namespace)
    eventually(lambda: not core.list_namespaced_secret(namespace, field_selector=f"type={SECRET['type']}").items)
    eventually(lambda: status_with(api_client, token) == 401)


def test_a_secret_for_a_token_names_its_account(api_client: Any, namespace: str) -> None:
    body = {**SECRET, "metadata": {"name": "nobodys-token"}}
    status, answer, _ = raw(api_client, "POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    assert status == 422
    assert "kubernetes.io/service-account.name" in answer["message"]
