"""The disk: run folders, files that survive a kill, one writer, the tables of a run."""
