"""Orbits: accuracy on test pairs whose answer a symmetry of the operation gives away, and on the others."""
