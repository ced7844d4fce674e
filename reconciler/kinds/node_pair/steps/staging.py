"""Everything an upgrade needs is gathered on both nodes before anything is stopped on either."""

from __future__ import annotations

from reconciler.kind import Outputs
from reconciler.kinds.node_pair.spec import ROLES, Artifact, Role
from reconciler.kinds.node_pair.steps.work import Work, recorded
from reconciler.transports.ssh_upload import Upload

_SUDO = ("sudo", "-n", "--")
_UPLOAD_TIMEOUT = 3600.0
_UPLOADED = 80.0


@recorded("stage")
def stage(work: Work) -> Outputs:
    """Upload the artifact to both nodes and verify it there, then run `prepare` on both.

    Outputs: `uploaded`, by role, how many bytes were sent: 0 where it was there already.
    """
    uploaded: dict[Role, int] = {}
    if work.spec.artifact is not None:
        artifact, parts = work.spec.artifact, dict.fromkeys(ROLES, 0.0)
        uploaded = work.on_both(lambda role: _upload(work, role, artifact, parts))
    command = work.spec.commands.get("prepare")
    if command is not None:
        work.on_both(
            lambda role: work.carry_out(role, "prepare", command, work.spec.environment(role, work.spec.version))
        )
    return {"uploaded": uploaded}


def _upload(work: Work, role: Role, artifact: Artifact, parts: dict[Role, float]) -> int:
    """Upload it to one node, going on where an earlier try ended. parts: how much each node has, 0 to 1."""
    node = work.nodes[role]

    def progress(percent: float) -> None:
        parts[role] = percent
        work.context.progress(sum(parts.values()) / len(parts) * _UPLOADED / 100, f"uploading {artifact.source.name}")

    upload = Upload(artifact.source, artifact.destination, artifact.sha256)
    done = node.patiently(
        lambda: upload.send(
            node.ssh,
            become=_SUDO if node.spec.become == "sudo" else (),
            progress=progress,
            sleep=work.context.sleep,
            timeout=_UPLOAD_TIMEOUT,
        )
    )
    told = "was there" if done.was_there else f"{done.sent} bytes sent, from byte {done.resumed_at} on"
    work.tell(f"{role}: {artifact.destination}: {told}")
    return done.sent
