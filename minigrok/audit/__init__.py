"""The audit: every claim of the paper, decided by rules that were written before the runs.

`claims.toml` says what each claim is, `rules` how a kind of claim is decided, `verdict` what follows from it,
`evidence` where the numbers come from.
"""
