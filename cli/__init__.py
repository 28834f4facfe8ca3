"""The command line of minigrok: thin commands that parse, make one call and print.

Nothing heavy (numpy, numba, matplotlib, scipy, rich) is imported before the body of a command runs, so that
`minigrok --help` answers at once.
"""
