"""`minigrok bench`: minigrok beside PyTorch and JAX on the same work, interleaved in one run.

    suite        what can be measured, in one table                 settings     sizes of a run
    worker       a process that does one contender's work           pipe         the other end of it
    rounds       bursts in turn, and their statistics               gate         no timing of wrong numbers
    machine      memory, start-up, a busy neighbour                 growth       time and memory against size
    report       tables                                             environment  what a measurement depends on

Each contender runs in a process of its own, bound to the same CPUs; one works at a time, the others wait at a pipe.
"""
