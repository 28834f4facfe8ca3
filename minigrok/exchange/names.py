"""Names of arrays: those of another program, guessed or from a table, under PyTorch's names as minigrok has them.

A table is a TOML file, one line an array: minigrok's name = hers, or a list of hers, joined along the first axis.
    norm.weight = "ln.weight"
    encoder.layers.0.self_attn.in_proj_weight = ["q.weight", "k.weight", "v.weight"]
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from minigrok.config import read_toml
from minigrok.config.operations import OPERATIONS
from minigrok.display import brief
from minigrok.engine import Array
from minigrok.errors import ConfigError, RunFolderError

Table = dict[str, tuple[str, ...]]  # minigrok's name -> hers
EMB = r"(?:emb|embed|embedding)s?"
NAMES = (  # a name, and what it becomes: those of the paper's code (tok_emb, pos_emb, ln, head_add), and usual ones
    (rf"(?:tok(?:en)?_?{EMB}|{EMB}|embed_tokens|wte)\.weight", r"tok_emb.weight"),
    (rf"(?:pos(?:ition)?(?:al)?_?{EMB}|pos|wpe)(?:\.weight)?", r"pos_emb"),
    (r"(?:encoder\.norm|norm|ln|ln_?f|norm_?f|final_?norm|final_?ln|ln_?final)\.(weight|bias)", r"norm.\1"),
    (r"(?:\w+\.)?(?:layers|blocks|h)\.(\d{1,3})\.(.+)", r"encoder.layers.\1.\2"),
    (r"heads?[._](\w+)\.(weight|bias)", r"heads.\1.\2"),
    (r"(\w+)[._]head\.(weight|bias)", r"heads.\1.\2"),
    (r"(?:head|lm_head|fc|out|output|unembed|readout|classifier)\.(weight|bias)", r"heads.0.\1"),
)
INSIDE = (  # the part of a name within a block
    (r"(?:attn|attention)\.", "self_attn."),
    (r"ln_?([12])\.", r"norm\1."),
    (r"(?:mlp|ff|ffn)\.0\.", "linear1."),
    (r"(?:mlp|ff|ffn)\.[23]\.", "linear2."),
)


def guessed(names: Iterable[str], operations: Sequence[str]) -> Table:
    """Return the table that the names themselves suggest; a name that suggests nothing is in no row.

    Parameters
    ----------
    names : iterable of str      hers
    operations : sequence of str    of heads that are numbered, or of the one that has no name; may be empty

    Raises
    ------
    ConfigError    two of hers suggest the same
    """
    names, found = list(names), Table()
    start = len(_prefix(names))
    for name in names:
        own = _own(name[start:], operations)
        if own in found:
            do = "say which is which in a table: --names FILE.toml"
            raise ConfigError(f"one array for {own}", f"{found[own][0]} and {name}", do)
        if own:
            found[own] = (name,)
    return found


def read_table(path: Path) -> Table:
    """Return the table in a TOML file; a ConfigError if it is none."""
    table = Table()

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{name}.{key}" if name else key)
        elif isinstance(value, str):
            table[name] = (value,)
        elif isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            table[name] = tuple(value)
        else:
            required = "a name, or a list of names, in quotes for every array"
            raise ConfigError(
                required, f"{name} = {brief(value)} in {path}", 'write for example norm.weight = "ln.weight"'
            )

    walk(read_toml(path, "a table of names"), "")
    return table


def named(path: Path, arrays: Mapping[str, Array], table: Table) -> dict[str, Array]:
    """Return the arrays of a file under minigrok's names.

    Raises
    ------
    RunFolderError    an array that the table names is not there, or is there twice; one that it does not name is there;
                      parts do not join
    """
    used = [name for names in table.values() for name in names]
    do = "name every array once in a table (--names FILE.toml), and save no others: buffers, masks"
    if twice := {name for name in used if used.count(name) > 1}:
        got = f"{', '.join(sorted(twice)[:3])} more than once: shared parameters, which the network has not"
        raise RunFolderError(f"every array in one place in {path}", got, do)
    if lost := [name for name in used if name not in arrays]:
        raise RunFolderError(f"an array {lost[0]} in {path}", f"arrays: {_list(arrays)}", do)
    if other := {name: array for name, array in arrays.items() if name not in used}:
        raise RunFolderError(f"only arrays that the network has a place for in {path}", f"also {_list(other)}", do)
    try:
        found = {own: np.concatenate([arrays[name] for name in names]) if len(names) > 1 else arrays[names[0]]
                 for own, names in table.items()}  # fmt: skip
    except ValueError as error:
        raise RunFolderError(f"parts that join along their first axis in {path}", str(error), do) from error
    if found.get("pos_emb", np.empty(0)).ndim == 3 and len(found["pos_emb"]) == 1:
        found["pos_emb"] = found["pos_emb"][0]  # (1, T, D), as some broadcast it over the batch
    return found


def operations_of(table: Table) -> tuple[str, ...]:
    """Return the operations that the heads of a table are called after, in the order of the registry."""
    heads = {name.split(".")[1] for name in table if name.startswith("heads.")}
    if not heads or not heads <= OPERATIONS.keys():
        got = f"heads called {', '.join(sorted(heads))}" if heads else "no head"
        do = f"say which operations they are, in their order: --operations, of {', '.join(OPERATIONS)}"
        raise ConfigError("heads called after their operations", got, do)
    return tuple(name for name in OPERATIONS if name in heads)


def _own(name: str, operations: Sequence[str]) -> str:
    """Return minigrok's name for one of hers, or ""."""
    for pattern, own in NAMES:
        if match := re.fullmatch(pattern, name):
            return _inside(_head(match.expand(own), operations))
    return ""


def _inside(name: str) -> str:
    """Return a name with PyTorch's name of the part within a block."""
    if block := re.match(r"encoder\.layers\.\d+\.", name):
        for pattern, own in INSIDE:
            if part := re.match(pattern, name[block.end() :]):
                return block[0] + part.expand(own) + name[block.end() + part.end() :]
    return name


def _head(name: str, operations: Sequence[str]) -> str:
    """Return the name of a head after its operation where it had a number."""
    match = re.fullmatch(r"heads\.(\d{1,3})\.(weight|bias)", name)
    if match and int(match[1]) < len(operations):
        return f"heads.{operations[int(match[1])]}.{match[2]}"
    return name


def _prefix(names: Sequence[str]) -> str:
    """Return what all names begin with, up to a dot: a wrapper's name, such as "module." or "_orig_mod."."""
    words = zip(*(name.split(".")[:-1] for name in names), strict=False)  # as many as the shortest name has
    return "".join(f"{each[0]}." for each in takewhile(lambda each: len({*each}) == 1, words))


def _list(arrays: Mapping[str, Array]) -> str:
    shown = [f"{name} {array.shape}" for name, array in arrays.items()][:3]
    return ", ".join(shown) + ", ..." * (len(arrays) > 3) if shown else "none"
