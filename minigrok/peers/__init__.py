"""The same model elsewhere: what the benchmark runs beside minigrok, and the tests compare it with.

    problem     the work that every contender does, on equal numbers
    own         minigrok itself                                            products     its matrix products alone
    torch_model the model in PyTorch, by itself
    torch_twin  its loss, gradient, Hv and training step                   torch_peer   at work
    jax_twin    the model in JAX                                               jax_peer     at work

Only these modules import torch and jax, and only the benchmark and the tests import these modules.
"""
