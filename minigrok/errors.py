"""Errors in three parts: what was required, what arrived, what to do."""


class MinigrokError(Exception):
    """Base of every error that minigrok raises on purpose.

    Parameters
    ----------
    required : str    what would have been right, with the place it was needed
    got : str         what arrived instead
    do : str          what the user can do about it

    Attributes
    ----------
    exit_code : int   process exit code of the command line
    """

    exit_code = 1

    def __init__(self, required: str, got: str, do: str) -> None:
        super().__init__(required, got, do)  # all three in args: the error survives a trip between processes
        self.required = required
        self.got = got
        self.do = do

    def __str__(self) -> str:
        return f"required: {self.required} - got: {self.got} - do: {self.do}"


class MinigrokWarning(UserWarning):
    """What a user should know although the work goes on."""


class ConfigError(MinigrokError):
    """A configuration that cannot be run: unknown key, wrong type, value out of range."""

    exit_code = 2


class RunFolderError(MinigrokError):
    """A run folder, or a file in it, that cannot be read or written."""

    exit_code = 2


class BusyError(RunFolderError):
    """A folder that another process is writing."""


class ShapeError(MinigrokError):
    """An array whose shape does not fit the layout or the model."""

    exit_code = 2


class EngineError(MinigrokError):
    """An engine that is not available on this machine."""

    exit_code = 3


class NonFiniteError(MinigrokError):
    """A loss or gradient that is no longer finite."""

    exit_code = 1


class SweepError(MinigrokError):
    """A sweep that cannot go on: no scheduler, no workers."""

    exit_code = 1
