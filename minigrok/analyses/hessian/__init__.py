"""Curvature of the training loss."""
