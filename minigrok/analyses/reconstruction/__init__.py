"""Reconstruction: how many principal components of its own trajectory rebuild the grokked network."""
