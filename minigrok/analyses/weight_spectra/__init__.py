"""Spectra and commutators of W_Q and W_K over training, each beside random matrices of the same norms."""
