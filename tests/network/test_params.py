import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrok.config import Config, Init, Model, Task, preset, with_settings
from minigrok.errors import ConfigError, ShapeError
from minigrok.network.params import Layout, initial, layout
from minigrok.rng import rng

SMALL = Config("small", task=Task(p=5), model=Model(width=4, heads=2, mlp_width=3, blocks=3))

small_configs = st.builds(
    lambda heads, head_width, mlp_width, blocks, operations: Config(
        "small",
        task=Task(p=5, operations=tuple(operations)),
        model=Model(width=heads * head_width, heads=heads, mlp_width=mlp_width, blocks=blocks),
    ),
    heads=st.integers(1, 3),
    head_width=st.integers(1, 3),
    mlp_width=st.integers(1, 5),
    blocks=st.integers(1, 3),
    operations=st.lists(st.sampled_from(["add", "mul", "sq"]), min_size=1, unique=True),
)


def test_the_papers_sizes() -> None:
    assert layout(preset("dual")).size == 302_914
    assert layout(preset("tri")).size == 315_427
    assert layout(preset("single-add")).size == 290_401


@given(small_configs)
def test_slices_cover_theta_in_order(config: Config) -> None:
    parts = layout(config)
    ends = [0]
    for name in parts.names:
        piece = parts.slices[name]
        assert (piece.start, piece.stop) == (ends[-1], ends[-1] + math.prod(parts.shapes[name]))
        ends.append(piece.stop)
    assert ends[-1] == parts.size


@given(small_configs, st.sampled_from(["float32", "float64"]))
def test_views_and_flat_are_inverse_and_views_do_not_copy(config: Config, dtype: str) -> None:
    parts = layout(config)
    theta = np.arange(parts.size).astype(dtype)
    views = parts.views(theta)
    assert {name: view.shape for name, view in views.items()} == parts.shapes
    assert all(np.shares_memory(view, theta) for view in views.values())
    shuffled = dict(reversed(views.items()))
    again = parts.flat(shuffled, dtype)
    assert again.dtype == dtype
    assert np.array_equal(again, theta)
    assert not np.shares_memory(again, theta)


def test_writing_to_a_view_writes_theta() -> None:
    parts = layout(SMALL)
    theta = np.zeros(parts.size)
    parts.views(theta)["norm.bias"][...] = 1
    assert np.array_equal(theta == 1, parts.group(["norm.bias"]))


@pytest.mark.parametrize("order", ["C", "F"])
def test_views_of_a_block_of_vectors(order: Any) -> None:
    parts = layout(SMALL)
    block = np.asarray(np.arange(3.0 * parts.size).reshape(3, parts.size), order=order)
    views = parts.views(block)
    for k in range(3):
        for name, view in parts.views(np.ascontiguousarray(block[k])).items():
            assert np.array_equal(views[name][k], view)
    assert all(np.shares_memory(view, block) for view in views.values())


@pytest.mark.parametrize("shape", [(), (0,), (3,), (1,)])
def test_theta_of_another_size_is_a_shape_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=f"P = {layout(SMALL).size}"):
        layout(SMALL).views(np.zeros(shape))


def test_flat_names_what_does_not_fit() -> None:
    parts = layout(SMALL)
    views = parts.views(np.zeros(parts.size))
    with pytest.raises(ShapeError, match=r"norm\.bias .* no such array"):
        parts.flat({name: view for name, view in views.items() if name != "norm.bias"}, np.float64)
    with pytest.raises(ShapeError, match=r"got: norm\.bais .* did you mean norm\.bias"):
        parts.flat(views | {"norm.bais": np.zeros(4)}, np.float64)
    with pytest.raises(ShapeError, match=r"norm\.bias \(4,\) - got: \(5,\)"):
        parts.flat(views | {"norm.bias": np.zeros(5)}, np.float64)


def test_groups() -> None:
    parts = layout(SMALL)
    heads = parts.group(["heads.*"])
    assert heads.dtype == np.bool_
    assert heads.sum() == 2 * (5 * 4 + 5)
    assert parts.group(["*"]).all()
    both = parts.group(["heads.*", "heads.add.*", "pos_emb"])
    assert both.sum() == heads.sum() + 2 * 4
    assert not parts.group([]).any()
    with pytest.raises(ConfigError, match=r"heads\.ad\.weight.*did you mean heads\.add\.weight"):
        parts.group(["heads.ad.weight"])


@pytest.mark.parametrize("generator", ["numpy", "pytorch"])
def test_initial_norm_is_the_papers(generator: str) -> None:
    """arXiv:2602.18523, code aa4e72f: 117.7, of which the embedding carries 89.7 % of the square."""
    squares = []
    for seed in range(40):
        settings = [f"seed={seed}", "compute.dtype=float64", f"init.generator={generator}"]
        config = with_settings(preset("dual"), settings)
        theta = initial(config)
        tokens = layout(config).views(theta)["tok_emb.weight"]
        squares.append((theta @ theta, np.sum(tokens**2)))
    total, tokens_only = np.mean(squares, axis=0)
    assert math.sqrt(total) == pytest.approx(117.7, abs=0.35)  # one seed scatters by 0.68, the mean of 40 by 0.11
    assert tokens_only / total == pytest.approx(0.897, abs=0.002)


def test_blocks_are_identical_unless_asked() -> None:
    views = layout(SMALL).views(initial(SMALL))
    different = dataclasses.replace(SMALL, init=Init(identical_blocks=False))
    others = layout(different).views(initial(different))
    for name in layout(SMALL).names:
        if name.startswith("encoder.layers.0."):
            for block in (".1.", ".2."):
                twin = name.replace(".0.", block)
                assert np.array_equal(views[name], views[twin])
                random = np.ptp(views[name]) > 0
                assert np.array_equal(others[name], others[twin]) == (not random)
        elif name in ("pos_emb", "tok_emb.weight"):
            assert np.array_equal(views[name], others[name])


def test_initial_is_drawn_once_and_rounded() -> None:
    single = initial(SMALL)
    double = initial(with_settings(SMALL, ["compute.dtype=float64"]))
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert np.array_equal(single, double.astype(np.float32))
    assert np.array_equal(single, initial(SMALL))
    assert not np.array_equal(single, initial(with_settings(SMALL, ["seed=43"])))


def test_the_trunk_does_not_depend_on_the_heads() -> None:
    dual, tri = (with_settings(preset(name), ["init.generator=numpy"]) for name in ("dual", "tri"))
    shared = layout(dual).slices["heads.add.weight"].start
    assert np.array_equal(initial(dual)[:shared], initial(tri)[:shared])


def test_streams_are_named_and_fixed() -> None:
    """The numbers are pinned: another NumPy, or a rename, must not change a run silently."""
    assert rng(42, "init").integers(0, 1000, 4).tolist() == [988, 365, 588, 669]
    assert rng(42, "init").random() == rng(42, "init").random()
    assert len({rng(seed, name).random() for seed in (0, 1) for name in ("init", "probes")}) == 4


def _torch_module(config: Config) -> Any:
    torch = pytest.importorskip("torch", reason="the oracle tests need the extra [oracle]")
    nn = torch.nn
    torch.manual_seed(0)
    model, p = config.model, config.task.p

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.pos_emb = nn.Parameter(torch.randn(2, model.width) / model.width**0.5)
            self.tok_emb = nn.Embedding(p, model.width)
            layer = nn.TransformerEncoderLayer(
                model.width, model.heads, model.mlp_width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(layer, model.blocks, enable_nested_tensor=False)
            self.norm = nn.LayerNorm(model.width)
            self.heads = nn.ModuleDict({name: nn.Linear(model.width, p) for name in config.task.operations})

    return Network()


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["dual", "tri", "single-sub"])
def test_names_order_and_shapes_are_pytorchs(name: str) -> None:
    config = preset(name)
    theirs = {key: tuple(value.shape) for key, value in _torch_module(config).state_dict().items()}
    assert list(theirs.items()) == list(layout(config).shapes.items())


@pytest.mark.oracle
@pytest.mark.parametrize("generator", ["numpy", "pytorch"])
def test_distributions_are_pytorchs(generator: str) -> None:
    """Bounds of every array and, where it is long enough, its spread, next to one draw of PyTorch by another seed."""
    config = with_settings(preset("dual"), [f"init.generator={generator}"])
    state = _torch_module(config).state_dict()
    for name, mine in layout(config).views(initial(config).astype(np.float64)).items():
        theirs = state[name].numpy().astype(np.float64)
        assert np.array_equal(mine == mine.flat[0], theirs == theirs.flat[0]) or np.ptp(mine) > 0, name
        assert mine.mean() == pytest.approx(theirs.mean(), abs=6 * theirs.std() / math.sqrt(mine.size)), name
        assert mine.std() == pytest.approx(theirs.std(), rel=4 / math.sqrt(mine.size)), name
        if "emb" not in name:
            assert np.abs(mine).max() == pytest.approx(np.abs(theirs).max(), rel=10 / mine.size), name


def test_a_layout_is_its_shapes() -> None:
    assert Layout({"a": (2, 3), "b": (1,)}) == Layout({"a": (2, 3), "b": (1,)})
    assert Layout({"a": (2, 3)}).size == 6
