"""The components of a control plane and what each is started with. Pure; called by `control_plane`.

The command lines are those of controller-runtime's envtest, and beyond it: certificates of ours at both ends of every
connection, tokens for two users, keys for service account tokens, and with kube-controller-manager the admission of
service accounts. Flags as kube-apiserver 1.30 and later and etcd 3.5 and later know them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.kinds.cluster.envtest.binaries import API_SERVER, CONTROLLERS, ETCD
from reconciler.kinds.cluster.envtest.certificates import SERVICE_RANGE, Certificates
from reconciler.kinds.cluster.envtest.recorded import Record

PEER = "etcd-peer"
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of a control plane lie."""

    folder: Path

    @property
    def data(self) -> Path:
        """All that etcd keeps."""
        return self.folder / "etcd"

    @property
    def tokens(self) -> Path:
        """The tokens that kube-apiserver takes."""
        return self.folder / "tokens.csv"

    @property
    def controllers_kubeconfig(self) -> Path:
        """How kube-controller-manager reaches kube-apiserver."""
        return self.folder / "controllers.kubeconfig"

    @property
    def certificates(self) -> Certificates:
        """Keys and certificates."""
        return Certificates(self.folder / "certificates")

    def log(self, component: str) -> Path:
        """What a component says; what it said before is beside it, as `.1`."""
        return self.folder / "logs" / f"{component}.log"


@dataclass(frozen=True, slots=True)
class Component:
    """name: of the program. ports: keys of `Record.ports`, the first is the one that is asked at `ready`."""

    name: str
    ports: tuple[str, ...]
    ready: str
    arguments: Callable[[Layout, Record], Sequence[str]]


def etcd(layout: Layout, record: Record) -> Sequence[str]:
    """One member, whose clients and peers need a certificate of ours. It syncs to disk: data survives a crash."""
    clients, peers = (f"https://{HOST}:{record.ports[name]}" for name in (ETCD, PEER))
    pair, authority = layout.certificates.etcd, layout.certificates.authority.certificate
    return (
        "--name=default",
        f"--data-dir={layout.data}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        f"--cert-file={pair.certificate}",
        f"--key-file={pair.key}",
        f"--trusted-ca-file={authority}",
        "--client-cert-auth=true",
        f"--peer-cert-file={pair.certificate}",
        f"--peer-key-file={pair.key}",
        f"--peer-trusted-ca-file={authority}",
        "--peer-client-cert-auth=true",
    )


def api_server(layout: Layout, record: Record) -> Sequence[str]:
    """The API on a loopback port, with RBAC. Nothing routes to it, so the service `kubernetes` gets no endpoints.

    Without kube-controller-manager nobody makes the service account that the plugin ServiceAccount demands of a pod.
    """
    files = layout.certificates
    admission = () if CONTROLLERS in record.programs else ("--disable-admission-plugins=ServiceAccount",)
    return (
        f"--etcd-servers=https://{HOST}:{record.ports[ETCD]}",
        f"--etcd-cafile={files.authority.certificate}",
        f"--etcd-certfile={files.etcd.certificate}",
        f"--etcd-keyfile={files.etcd.key}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        f"--secure-port={record.ports[API_SERVER]}",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={files.server.certificate}",
        f"--tls-private-key-file={files.server.key}",
        f"--client-ca-file={files.authority.certificate}",
        f"--token-auth-file={layout.tokens}",
        "--anonymous-auth=false",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={files.accounts_public}",
        f"--service-account-signing-key-file={files.accounts_key}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--allow-privileged=true",
        *admission,
    )


def controllers(layout: Layout, record: Record) -> Sequence[str]:
    """Every controller that needs no node and no cloud, each under a service account of its own."""
    files = layout.certificates
    return (
        f"--kubeconfig={layout.controllers_kubeconfig}",
        f"--bind-address={HOST}",
        f"--secure-port={record.ports[CONTROLLERS]}",
        f"--tls-cert-file={files.server.certificate}",
        f"--tls-private-key-file={files.server.key}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={files.accounts_key}",
        f"--root-ca-file={files.authority.certificate}",
    )


def tokens(record: Record) -> str:
    """The token file: the administrator, and kube-controller-manager under the name that RBAC's own roles know."""
    user = "system:kube-controller-manager"
    return f'{record.admin_token},admin,admin,"system:masters"\n{record.controllers_token},{user},{user}\n'


COMPONENTS = (
    Component(ETCD, (ETCD, PEER), "/health", etcd),
    Component(API_SERVER, (API_SERVER,), "/readyz", api_server),
    Component(CONTROLLERS, (CONTROLLERS,), "/healthz", controllers),
)
"""In the order in which they are started; stopped they are the other way round."""


def components_of(record: Record) -> tuple[Component, ...]:
    """Those for which there is a program."""
    return tuple(component for component in COMPONENTS if component.name in record.programs)
