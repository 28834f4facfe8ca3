"""`python -m minigrok_cli`: the command line where the script `minigrok` is not on the path."""

from .main import main

main(prog_name="minigrok")
