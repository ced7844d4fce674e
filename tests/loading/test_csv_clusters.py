"""The predecessor's table of clusters: read as it was, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import SpecError
from reconciler.loading.csv_clusters import read_csv
from tests.clusters.kindler import CSV, NAMES


def read(tmp_path: Path, text: str | bytes) -> list[Any]:
    file = tmp_path / "environments.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_csv(file)


def test_the_seven_rows(tmp_path: Path) -> None:
    found = {one.name: (one.line, one.values) for one in read(tmp_path, CSV)}
    assert sorted(found) == NAMES
    assert found["dev"] == (
        6,
        {
            "provider": "k3d",
            "subnet": "10.101.0.0/16",
            "node_port": 30080,
            "pf_port": 19001,
            "http_port": 18090,
            "https_port": 18443,
            "register_portainer": 1,
            "haproxy_route": 1,
        },
    )
    assert found["devops"][1]["role"] == "management"
    assert (found["devops"][1]["subnet"], found["devops"][1]["haproxy_route"]) == (None, 0)
    assert [found[name][1]["subnet"] for name in ("dev-a", "dev-b", "dev-c")] == [None] * 3


def test_comments_empty_lines_returns_and_spaces_mean_nothing(tmp_path: Path) -> None:
    text = "\ufeff# a, b\r\n\r\n   \r\n  # c\r\n  dev , k3d ,30080, ,Y, no ,18090 ,18443, 10.101.0.0/16 \r\n"
    (one,) = read(tmp_path, text)
    assert (one.line, one.name) == (5, "dev")
    assert one.values["provider"] == "k3d"
    assert (one.values["pf_port"], one.values["http_port"]) == (None, 18090)
    assert (one.values["register_portainer"], one.values["haproxy_route"]) == (1, 0)


@pytest.mark.parametrize(
    ("text", "value"),
    [(text, 1) for text in ("1", "Y", "yes", "TRUE", "on")] + [(text, 0) for text in ("", "0", "no", "2", "ja")],
)
def test_booleans(tmp_path: Path, text: str, value: int) -> None:
    (one,) = read(tmp_path, f"dev,k3d,,,{text},{text},,,\n")
    assert (one.values["register_portainer"], one.values["haproxy_route"]) == (value, value)


def test_without_a_provider_it_is_k3d(tmp_path: Path) -> None:
    assert read(tmp_path, "dev,,,,,,,,")[0].values["provider"] == "k3d"


WRONG: dict[str, tuple[str, str]] = {
    "provider": ("dev,k4d,,,,,,,", ':1: provider: expected k3d or kind, got "k4d"'),
    "name": ("Dev_1,k3d,,,,,,,", ':1: env: expected a name of a-z, 0-9 and -, at most 63 characters, got "Dev_1"'),
    "a port that is none": (
        "dev,k3d,,,,,80x,,",
        ':1: http_port: expected a port from 1024 to 65535 or nothing, got "80x"',
    ),
    "a port out of range": ("dev,k3d,,,,,,99999,", ":1: https_port: expected a port from 1024 to 65535"),
    "a privileged port": ("dev,k3d,,80,,,,,", ":1: pf_port: expected a port from 1024 to 65535"),
    "a node port out of range": ("dev,k3d,8080,,,,,,", ":1: node_port: expected a port from 30000 to 32767"),
    "a digit of another script": ("dev,k3d,,,,,１８０９０,,", ":1: http_port: expected a port"),
    "octets": ("dev,k3d,,,,,,,999.1.1.1/16", ':1: cluster_subnet: expected a network such as 10.101.0.0/16, got "999'),
    "bits": ("dev,k3d,,,,,,,10.0.0.0/99", ":1: cluster_subnet: expected a network"),
    "no bits": ("dev,k3d,,,,,,,10.0.0.0", ":1: cluster_subnet: expected a network of 8 to 28 bits"),
    "an address": ("dev,k3d,,,,,,,10.101.0.1/16", "has host bits set"),
    "a subnet for kind": ("dev,kind,,,,,,,10.101.0.0/16", ':1: cluster_subnet: kind takes none, got "10.101.0.0/16"'),
    "too few columns": ("dev,k3d,30080", ":1: expected 9 columns (env,provider,"),
    "too many columns": ("dev,k3d,,,,,,,,x", ":1: expected 9 columns"),
    "a name twice": ("dev,k3d,,,,,,,\n\ndev,kind,,,,,,,", ':3: env: "dev" stands in line 1 already'),
    "a host port twice": ("a,k3d,,,,,18090,,\nb,k3d,,18090,,,,,", ":2: pf_port: 18090 is that of a in line 1 already"),
    "a host port twice in a row": (
        "a,k3d,,,,,18090,18090,",
        ":1: pf_port, http_port, https_port: 18090, 18090 are not",
    ),
    "subnets that overlap": (
        "a,k3d,,,,,,,10.101.0.0/16\nb,k3d,,,,,,,10.101.8.0/24",
        ":2: cluster_subnet: 10.101.8.0/24 overlaps 10.101.0.0/16 of a in line 1",
    ),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, case: tuple[str, str]) -> None:
    text, message = case
    with pytest.raises(SpecError) as caught:
        read(tmp_path, text)
    assert f"environments.csv{message}" in caught.value.message or message in caught.value.message
    assert caught.value.reason == "BadCsv"
    assert caught.value.message.startswith(f"{tmp_path}/environments.csv:")


def test_every_mistake_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, "a,x,,,,,,,\nb,k3d,,,,,,,\nc,k3d,1,,,,,,\n")
    assert [line.split(":")[1] for line in caught.value.message.splitlines()] == ["1", "3"]


@pytest.mark.parametrize("content", [b"dev,k3d,\xff,,,,,,", b"x" * 1_000_001], ids=["no text", "endless"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SpecError, match=r"environments\.csv"):
        read(tmp_path, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"missing\.csv: does not exist"):
        read_csv(tmp_path / "missing.csv")


def test_the_same_node_port_thrice_is_right(tmp_path: Path) -> None:
    found = [one for one in read(tmp_path, CSV) if one.values["node_port"] == 30080]
    assert [one.name for one in found] == ["dev", "uat", "prod"]
