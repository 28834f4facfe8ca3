"""Names of arrays: what people call them is guessed, what nobody can guess comes from a table, nothing is dropped."""

import re
from pathlib import Path

import numpy as np
import pytest

from minigrok.config import Config, Model, Task
from minigrok.errors import MinigrokError
from minigrok.exchange.names import guessed, named, operations_of, read_table
from minigrok.network.params import layout

OWN = layout(Config("x", task=Task(p=5), model=Model(4, 2, 3, 2))).names
PAPER = [re.sub(r"^heads\.", "head_", re.sub(r"^norm\.", "ln.", name)) for name in OWN]  # of the paper's code
GPT = {r"tok_emb\.": "wte.", "pos_emb": "wpe.weight", r"encoder\.layers": "blocks", r"self_attn\.": "attn.",
       r"linear1\.": "mlp.0.", r"linear2\.": "mlp.2.", r"(?<=\d\.)norm(\d)": r"ln_\1", r"^norm": "ln_f"}  # fmt: skip


def gpt(name: str) -> str:
    for pattern, hers in GPT.items():
        name = re.sub(pattern, hers, name)
    return name


@pytest.mark.parametrize("names", [list(OWN), PAPER, [gpt(name) for name in OWN]], ids=["minigrok", "paper", "gpt"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.model."])
def test_usual_names_are_guessed(names: list[str], prefix: str) -> None:
    assert guessed([prefix + name for name in names], ()) == {
        own: (prefix + name,) for own, name in zip(OWN, names, strict=True)
    }


def test_heads_by_number_or_without_a_name_are_the_operations_in_their_order() -> None:
    assert guessed(["heads.0.bias", "heads.1.bias", "ln.bias"], ("mul", "sub")) == {
        "norm.bias": ("ln.bias",),
        "heads.mul.bias": ("heads.0.bias",),
        "heads.sub.bias": ("heads.1.bias",),
    }
    assert guessed(["tok_emb.weight", "head.weight"], ("sq",))["heads.sq.weight"] == ("head.weight",)
    assert operations_of({"heads.mul.bias": ("a",), "heads.add.bias": ("b",)}) == ("add", "mul")
    with pytest.raises(MinigrokError, match=r"heads called 0.*--operations"):
        operations_of({"heads.0.bias": ("head.bias",)})


def test_shared_parameters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MinigrokError, match="wte more than once: shared parameters"):
        named(tmp_path, {"wte": np.ones(2)}, {"tok_emb.weight": ("wte",), "heads.add.weight": ("wte",)})


def test_two_arrays_of_one_name_are_refused() -> None:
    with pytest.raises(MinigrokError, match=r"one array for norm\.bias - got: ln\.bias and norm\.bias"):
        guessed(["ln.bias", "norm.bias"], ())


def test_a_table_renames_and_joins(tmp_path: Path) -> None:
    path = tmp_path / "names.toml"
    path.write_text('norm.weight = "g"\nencoder.layers.0.self_attn.in_proj_bias = ["q", "k"]\n"pos_emb" = "p"\n')
    table = read_table(path)
    arrays = {"g": np.ones(2), "q": np.zeros(2), "k": np.ones(1), "p": np.ones((1, 2, 3))}
    found = named(path, arrays, table)
    assert {name: x.shape for name, x in found.items()} == {
        "norm.weight": (2,),
        "encoder.layers.0.self_attn.in_proj_bias": (3,),
        "pos_emb": (2, 3),
    }
    assert found["encoder.layers.0.self_attn.in_proj_bias"].tolist() == [0, 0, 1]
    for wrong, said in (
        ({k: x for k, x in arrays.items() if k != "q"}, "an array q in"),
        (arrays | {"mask": np.ones(3)}, r"also mask \(3,\)"),
        (arrays | {"k": np.ones((1, 1))}, "join along their first axis"),
    ):
        with pytest.raises(MinigrokError, match=said):
            named(path, wrong, table)


@pytest.mark.parametrize("text", ["norm.weight = 3", "norm.weight = []", "norm.weight = [1]", "norm", "a = [['b']]"])
def test_what_is_no_table_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "names.toml"
    path.write_text(text)
    with pytest.raises(MinigrokError, match="names"):
        read_table(path)
