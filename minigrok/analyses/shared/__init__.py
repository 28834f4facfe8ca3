"""What several analyses measure with: events, trajectories, probes, curvature, the defect, changed networks, costs."""
