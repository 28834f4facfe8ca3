"""What a handful of runs can say: exact tests, survival, laws, onsets. It sees arrays, never a run."""
