"""Training: the optimiser, a run between two steps, the loop, interventions; one run on the CPU or many on a device."""
