"""etcd, kube-apiserver and kube-controller-manager as recorded contracts: a part of what they take, and no more.

`install` writes one script a program into a folder. Each takes the flags of a list below and refuses all others in its
words, checks what it is given (certificates, keys, tokens, that what it needs is reachable) as the real
one does at its start, and notes its command line in `$HOME/argv.jsonl`. kube-apiserver then serves a real sandbox API
with the given certificate and tokens; its objects lie in etcd's data folder, so what etcd loses is lost. How one
misbehaves stands in `$HOME/behave.json`: {program: {dies | never_ready | slow | ignores_term | port_taken}}. What they
do once they run is in envtest_serving.py; most runs only ask for a version, and are over before that is imported.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
VERSION = "1.32.0"

# What we use and a little more: of etcd as its --help (3.5) says, of the others as far as their pages were seen.
FLAGS = {
    "etcd": """
        name data-dir wal-dir snapshot-count heartbeat-interval election-timeout initial-election-tick-advance
        listen-peer-urls listen-client-urls max-snapshots max-wals quota-backend-bytes backend-bbolt-freelist-type
        backend-batch-interval backend-batch-limit max-txn-ops max-request-bytes grpc-keepalive-min-time
        grpc-keepalive-interval grpc-keepalive-timeout socket-reuse-port socket-reuse-address
        initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token advertise-client-urls
        discovery-srv discovery-srv-name strict-reconfig-check pre-vote auto-compaction-retention auto-compaction-mode
        cert-file key-file client-cert-auth client-crl-file client-cert-allowed-hostname trusted-ca-file auto-tls
        peer-cert-file peer-key-file peer-client-cert-auth peer-trusted-ca-file peer-cert-allowed-cn
        peer-cert-allowed-hostname peer-auto-tls self-signed-cert-validity peer-crl-file cipher-suites cors
        host-whitelist auth-token bcrypt-cost auth-token-ttl enable-pprof metrics listen-metrics-urls logger
        log-outputs log-level enable-log-rotation log-rotation-config-json force-new-cluster unsafe-no-fsync version""",
    "kube-apiserver": """
        admission-control-config-file advertise-address aggregator-reject-forwarding-redirect allow-metric-labels
        allow-privileged anonymous-auth api-audiences audit-log-format audit-log-maxage audit-log-maxbackup
        audit-log-maxsize audit-log-mode audit-log-path audit-policy-file audit-webhook-config-file
        authentication-config authentication-token-webhook-config-file authorization-config authorization-mode
        authorization-policy-file authorization-webhook-config-file bind-address cert-dir client-ca-file
        contention-profiling cors-allowed-origins default-not-ready-toleration-seconds
        default-unreachable-toleration-seconds default-watch-cache-size delete-collection-workers
        disable-admission-plugins disabled-metrics egress-selector-config-file enable-admission-plugins
        enable-aggregator-routing enable-bootstrap-token-auth enable-garbage-collector enable-logs-handler
        enable-priority-and-fairness encryption-provider-config encryption-provider-config-automatic-reload
        endpoint-reconciler-type etcd-cafile etcd-certfile etcd-compaction-interval etcd-count-metric-poll-period
        etcd-db-metric-poll-interval etcd-healthcheck-timeout etcd-keyfile etcd-prefix etcd-readycheck-timeout
        etcd-servers etcd-servers-overrides event-ttl external-hostname feature-gates goaway-chance help
        http2-max-streams-per-connection kubelet-certificate-authority kubelet-client-certificate kubelet-client-key
        kubelet-port kubelet-preferred-address-types kubelet-timeout kubernetes-service-node-port
        lease-reuse-duration-seconds livez-grace-period log-flush-frequency logging-format
        max-connection-bytes-per-sec max-mutating-requests-inflight max-requests-inflight min-request-timeout
        oidc-ca-file oidc-client-id oidc-groups-claim oidc-issuer-url oidc-username-claim permit-address-sharing
        permit-port-sharing profiling proxy-client-cert-file proxy-client-key-file request-timeout
        requestheader-allowed-names requestheader-client-ca-file requestheader-extra-headers-prefix
        requestheader-group-headers requestheader-username-headers runtime-config secure-port
        service-account-extend-token-expiration service-account-issuer service-account-jwks-uri
        service-account-key-file service-account-lookup service-account-max-token-expiration
        service-account-signing-key-file service-cluster-ip-range service-node-port-range
        show-hidden-metrics-for-version shutdown-delay-duration shutdown-send-retry-after
        shutdown-watch-termination-grace-period storage-backend storage-media-type strict-transport-security-directives
        tls-cert-file tls-cipher-suites tls-min-version tls-private-key-file tls-sni-cert-key token-auth-file
        tracing-config-file v version vmodule watch-cache watch-cache-sizes""",
    "kube-controller-manager": """
        allocate-node-cidrs allow-metric-labels authentication-kubeconfig authentication-skip-lookup
        authentication-token-webhook-cache-ttl authentication-tolerate-lookup-failure
        authorization-always-allow-paths authorization-kubeconfig bind-address cert-dir cidr-allocator-type
        client-ca-file cloud-config cloud-provider cluster-cidr cluster-name cluster-signing-cert-file
        cluster-signing-duration cluster-signing-key-file concurrent-deployment-syncs concurrent-endpoint-syncs
        concurrent-gc-syncs concurrent-namespace-syncs concurrent-replicaset-syncs concurrent-statefulset-syncs
        configure-cloud-routes contention-profiling controller-start-interval controllers disabled-metrics
        enable-dynamic-provisioning enable-garbage-collector endpoint-updates-batch-period feature-gates help
        horizontal-pod-autoscaler-sync-period http2-max-streams-per-connection kube-api-burst
        kube-api-content-type kube-api-qps kubeconfig leader-elect leader-elect-lease-duration
        leader-elect-renew-deadline leader-elect-resource-lock leader-elect-resource-name
        leader-elect-resource-namespace leader-elect-retry-period log-flush-frequency logging-format master
        max-endpoints-per-slice min-resync-period namespace-sync-period node-cidr-mask-size node-eviction-rate
        node-monitor-grace-period node-monitor-period permit-address-sharing permit-port-sharing profiling
        requestheader-allowed-names requestheader-client-ca-file resource-quota-sync-period root-ca-file
        secure-port service-account-private-key-file service-cluster-ip-range show-hidden-metrics-for-version
        terminated-pod-gc-threshold tls-cert-file tls-cipher-suites tls-min-version tls-private-key-file
        use-service-account-credentials v version vmodule volume-host-allow-local-loopback""",
}


def install(folder: Path, names: Sequence[str] = PROGRAMS) -> Path:
    """Write the programs into `folder`. Schemas of the API are derived once, into it."""
    folder.mkdir(exist_ok=True)
    for name in names:
        script = folder / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from tests.clusters.envtest_programs import main\nmain({name!r})\n"
        )
        script.chmod(0o755)
    return folder


def main(program: str) -> None:
    """Be one of them."""
    home = Path(os.environ["HOME"])
    with (home / "argv.jsonl").open("a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        log.write(json.dumps([program, *sys.argv[1:]]) + "\n")
    behaviour = _behaviour(home, program)
    flags = _flags(program)
    if "version" in flags:
        version = behaviour.get("version", VERSION)
        print(f"Kubernetes v{version}" if program != "etcd" else "etcd Version: 3.5.16\nGit SHA: f20bbad")
        sys.exit(0)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as a Go program does that cannot write its log any more
    print(f"{program} starts", file=sys.stderr, flush=True)
    if behaviour.get("ignores_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if behaviour.get("dies"):
        fail(behaviour["dies"])
    from tests.clusters import envtest_serving

    if behaviour.get("port_taken"):
        envtest_serving.squat(home, program, flags)
    time.sleep(behaviour.get("slow", 0.0))
    envtest_serving.SERVING[program](flags, behaviour)


def _behaviour(home: Path, program: str) -> Mapping[str, Any]:
    try:
        given: Mapping[str, Any] = json.loads((home / "behave.json").read_text()).get(program, {})
    except FileNotFoundError:
        return {}
    return given


def _flags(program: str) -> dict[str, str]:
    known = set(FLAGS[program].split())
    given: dict[str, str] = {}
    for argument in sys.argv[1:]:
        name, _, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in known:
            if program == "etcd":
                print(f"flag provided but not defined: -{name}", file=sys.stderr)
                sys.exit(2)
            fail(f"Error: unknown flag: --{name}")
        given[name] = value
    return given


def fail(message: str) -> NoReturn:
    """End as a program does that was given something wrong."""
    print(message, file=sys.stderr, flush=True)
    sys.exit(1)
