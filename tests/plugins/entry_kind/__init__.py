"""A kind from outside the tree: an entry in a JSON file. The suite installs it through the `plugins` setting."""

from entry_kind.kind import Entry

KIND = Entry()
