"""The predecessor's table of clusters (`environments.csv`), read as it was: nine columns, no header but a comment.

Lines that are empty or begin with `#` say nothing, carriage returns and spaces around a field are dropped. A file with
anything wrong in it gives nothing but its mistakes, a line each. Called by `cli.import_commands`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from reconciler.errors import SpecError
from reconciler.loading.sources import SourceError, read_regular
from reconciler.loading.text import shorten
from reconciler.model.resource import NAME_PATTERN

COLUMNS = (
    "env",
    "provider",
    "node_port",
    "pf_port",
    "register_portainer",
    "haproxy_route",
    "http_port",
    "https_port",
    "cluster_subnet",
)
HOST_PORTS = ("pf_port", "http_port", "https_port")
MANAGEMENT = "devops"
_TRUE = frozenset({"1", "y", "yes", "true", "on"})
_MAX_BYTES = 1_000_000
_PORTS = {"node_port": (30000, 32767), **dict.fromkeys(HOST_PORTS, (1024, 65535))}


@dataclass(frozen=True, slots=True)
class CsvCluster:
    """One row. line: where it stands, from 1. values: by the names of columns in the table `clusters`."""

    line: int
    name: str
    values: Mapping[str, Any]


class _MistakeError(Exception):
    """What is wrong with one field."""


def read_csv(path: Path) -> list[CsvCluster]:
    """Every row of a file. Raises SpecError("BadCsv") with `file:line: …` for each mistake."""
    try:
        text = read_regular(str(path), _MAX_BYTES).decode("utf-8-sig")
    except SourceError as error:
        raise SpecError("BadCsv", f"{path}: {error.message}") from error
    except UnicodeDecodeError as error:
        raise SpecError("BadCsv", f"{path}: byte {error.start} is not UTF-8") from error
    found: list[CsvCluster] = []
    mistakes: list[tuple[int, str]] = []
    for line, fields in _lines(text):
        try:
            found.append(_cluster(line, fields))
        except _MistakeError as error:
            mistakes.append((line, str(error)))
    mistakes.extend(_together(found))
    if mistakes:
        raise SpecError("BadCsv", "\n".join(f"{path}:{line}: {text}" for line, text in sorted(mistakes)))
    return found


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.replace("\r", "").split("\n"), 1):
        if line.strip() and not line.strip().startswith("#"):
            yield number, [field.strip() for field in line.split(",")]


def _cluster(line: int, fields: Sequence[str]) -> CsvCluster:
    if len(fields) != len(COLUMNS):
        raise _MistakeError(f"expected {len(COLUMNS)} columns ({','.join(COLUMNS)}), got {len(fields)}")
    row = dict(zip(COLUMNS, fields, strict=True))
    name = row["env"]
    if not re.fullmatch(NAME_PATTERN, name):
        raise _MistakeError(f"env: expected a name of a-z, 0-9 and -, at most 63 characters, got {_quoted(name)}")
    provider = row["provider"] or "k3d"
    if provider not in ("k3d", "kind"):
        raise _MistakeError(f"provider: expected k3d or kind, got {_quoted(provider)}")
    ports = {column: _port(column, row[column]) for column in _PORTS}
    own = [port for column in HOST_PORTS if (port := ports[column]) is not None]
    if len(set(own)) < len(own):
        raise _MistakeError(f"pf_port, http_port, https_port: {', '.join(map(str, own))} are not different ports")
    subnet = _subnet(provider, row["cluster_subnet"])
    flags = {column: int(row[column].lower() in _TRUE) for column in ("register_portainer", "haproxy_route")}
    role = {"role": "management"} if name == MANAGEMENT else {}
    return CsvCluster(line, name, {"provider": provider, "subnet": subnet, **ports, **flags, **role})


def _port(column: str, text: str) -> int | None:
    low, high = _PORTS[column]
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,5}", text) or not low <= int(text) <= high:
        raise _MistakeError(f"{column}: expected a port from {low} to {high} or nothing, got {_quoted(text)}")
    return int(text)


def _subnet(provider: str, text: str) -> str | None:
    if not text:
        return None
    if provider != "k3d":
        raise _MistakeError(f"cluster_subnet: {provider} takes none, got {_quoted(text)}")
    try:
        network = IPv4Network(text)
    except ValueError as error:
        expected = "expected a network such as 10.101.0.0/16"
        raise _MistakeError(f"cluster_subnet: {expected}, got {_quoted(text)}: {error}") from error
    if "/" not in text or not 8 <= network.prefixlen <= 28:
        raise _MistakeError(f"cluster_subnet: expected a network of 8 to 28 bits, got {_quoted(text)}")
    return str(network)


def _together(found: Sequence[CsvCluster]) -> Iterator[tuple[int, str]]:
    """What does not fit together: a name twice, a host port twice, subnets that overlap."""
    names: dict[str, int] = {}
    ports: dict[int, CsvCluster] = {}
    networks: list[tuple[IPv4Network, CsvCluster]] = []
    for one in found:
        if one.name in names:
            yield one.line, f"env: {_quoted(one.name)} stands in line {names[one.name]} already"
        names.setdefault(one.name, one.line)
        for column in HOST_PORTS:
            port = one.values[column]
            if port is not None and (other := ports.setdefault(port, one)) is not one:
                yield one.line, f"{column}: {port} is that of {other.name} in line {other.line} already"
        if one.values["subnet"]:
            network = IPv4Network(one.values["subnet"])
            for before, other in networks:
                if network.overlaps(before):
                    yield one.line, f"cluster_subnet: {network} overlaps {before} of {other.name} in line {other.line}"
            networks.append((network, one))


def _quoted(text: str) -> str:
    return f'"{shorten(text)}"'
