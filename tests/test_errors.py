import pickle

from minigrok.errors import ConfigError, EngineError, MinigrokError, NonFiniteError, RunFolderError, ShapeError


def test_errors_survive_pickling_and_know_their_exit_codes() -> None:
    codes = {ConfigError: 2, RunFolderError: 2, ShapeError: 2, EngineError: 3, NonFiniteError: 1}
    for cls, code in codes.items():
        error = pickle.loads(pickle.dumps(cls("a", "b", "c")))
        assert isinstance(error, MinigrokError)
        assert (type(error), str(error), error.exit_code) == (cls, "required: a - got: b - do: c", code)
