"""Frozen nouns that every layer shares. No I/O happens here, and nothing here knows where its values came from."""
