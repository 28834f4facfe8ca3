"""The execution manifold: how much of a step stays in the span of the trajectory, and what chance does."""
