"""The tables of this kind. `clusters`: what we know of each, the columns of the predecessor first, for its readers.

Only this kind writes them, through `Records`. Times are seconds since the epoch. What has to be there has a default in
the database, so that whoever writes a row by SQL names only what is wanted.
"""

from __future__ import annotations

from sqlalchemy import Column, Double, Integer, MetaData, SmallInteger, String, Table, UniqueConstraint

from reconciler.store.tables import NAMING, LongText, Serial

metadata = MetaData(naming_convention=NAMING)

clusters = Table(
    "clusters",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("name", String(63), nullable=False),
    Column("provider", String(32), nullable=False),
    Column("subnet", String(64)),
    Column("node_port", Integer),
    Column("pf_port", Integer),
    Column("http_port", Integer),
    Column("https_port", Integer),
    Column("server_ip", String(64)),
    Column("status", String(16), nullable=False, server_default="unknown", doc="the same as actual_state"),
    Column("desired_state", String(16), nullable=False, server_default="present", doc="present, stopped, absent"),
    Column("actual_state", String(16), nullable=False, server_default="unknown", doc="see states.State"),
    Column("last_reconciled_at", Double, doc="last verified"),
    Column("reconcile_error", LongText, doc="why actual_state is failed"),
    Column("created_at", Double),
    Column("updated_at", Double),
    Column("version", String(32), nullable=False, server_default=""),
    Column("servers", Integer),
    Column("agents", Integer),
    Column("role", String(16), nullable=False, server_default="business", doc="business, management"),
    Column("environment", String(63), nullable=False, server_default=""),
    Column("description", String(512), nullable=False, server_default=""),
    Column("cluster_uid", String(64), nullable=False, server_default="", doc="uid of the namespace kube-system"),
    Column("server", String(255), nullable=False, server_default="", doc="URL of the API"),
    Column("kubeconfig", String(1024), nullable=False, server_default="", doc="path of the kubeconfig to use"),
    Column("context", String(255), nullable=False, server_default="", doc="context in it, empty for its current one"),
    Column("created_by_us", SmallInteger, nullable=False, server_default="0"),
    Column("inventory", LongText, doc="JSON: [{key, path}] of the objects we applied"),
    Column(
        "desired_by", String(16), nullable=False, server_default="row", doc="row, document: where what is wanted is"
    ),
    Column("register_portainer", SmallInteger, doc="as imported; kept and shown"),
    Column("haproxy_route", SmallInteger, doc="as imported; kept and shown"),
    Column("granted_ports", String(255), nullable=False, server_default="{}", doc="JSON: {port: [asked, given]}"),
    Column("made_ports", String(255), doc="JSON: {port: number} that the cluster has, as last recorded"),
    UniqueConstraint("name"),
)

cluster_attachments = Table(
    "cluster_attachments",
    metadata,
    Column("cluster", String(63), primary_key=True, doc="may be gone while something of it is left"),
    Column("field", String(32), primary_key=True, doc="git, route, argocd ...: see attachments/"),
    Column("state", LongText, doc="JSON: what we made, NULL for nothing yet"),
    Column("error", LongText, doc="why it could not be made or removed the last time"),
    Column("updated_at", Double),
)
