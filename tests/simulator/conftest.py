import sys

# The simulator's manager of threads spins: with a short interval it soon gives way to the threads it waits for.
sys.setswitchinterval(1e-4)
