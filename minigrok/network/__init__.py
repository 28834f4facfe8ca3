"""The network: its parameters, its passes over a batch on every engine, and the objective, which is the door."""
