"""The commutator of two gradient steps."""
