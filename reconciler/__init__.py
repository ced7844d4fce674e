"""An Ansible-style declarative reconciler: desired state in YAML, recorded state in SQLite, live state observed."""

__version__ = "0.1.0"
