import sys
import threading

from numba.cuda.simulator.kernelapi import FakeCUDAShared

# The simulator's manager of threads spins: with a short interval it soon gives way to the threads it waits for.
sys.setswitchinterval(1e-4)


class OneAtATime(dict):
    """The simulator's table of shared arrays, without its fault.

    Two threads that ask for one shared array at the same moment, and find none, make one each, and then do not share.
    Here whoever finds none keeps the others waiting until it has put its own in.
    """

    def __init__(self):
        super().__init__()
        self._lock = threading.Lock()

    def get(self, key):
        self._lock.acquire()
        found = super().get(key)
        if found is not None:
            self._lock.release()
        return found

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self._lock.release()


_real = FakeCUDAShared.__init__


def _init(self, dynshared_size):
    _real(self, dynshared_size)
    self._allocations = OneAtATime()


FakeCUDAShared.__init__ = _init
