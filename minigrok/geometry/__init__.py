"""The geometry of a loss and of a path: curvature, subspaces, brackets, spectra. It sees arrays, never a run."""
