"""Runs in and out: snapshots of another program become a run folder, a snapshot becomes a PyTorch module."""
