"""Onset of the commutator defect: does it foretell grokking better than events that cannot miss."""
