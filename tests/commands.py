"""The commands as tests call them: in this process, with what every call must keep to."""

from click.testing import CliRunner, Result
from minigrok_cli.main import main


def invoke(*arguments: object) -> Result:
    """Call minigrok with the arguments; no exception may come out of it but the exit."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def minigrok(*arguments: object, code: int = 0, words: tuple[str, ...] = ()) -> Result:
    """Call minigrok; it must end with this exit code, without a traceback and with these words on stderr."""
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    return result
