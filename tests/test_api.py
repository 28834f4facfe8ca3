"""The front door: light to import, the same files as the commands, clear errors, and shown well in a notebook."""

import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrok as mg
from minigrok import api
from minigrok.config import with_values
from minigrok.engine import portable
from minigrok.errors import ConfigError, EngineError, MinigrokError, RunFolderError, ShapeError, SweepError
from minigrok.training.observer import Observer

SHORT = {"max_steps": 20, "eval_every": 10, "snapshot_every": 5}
HEAVY = "{'numpy', 'numba', 'scipy', 'matplotlib', 'safetensors'}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    return mg.train("tiny", seed=1, out=tmp_path_factory.mktemp("api") / "run", **SHORT)


@pytest.mark.parametrize(
    "code",
    ["import minigrok; dir(minigrok)", "from minigrok_cli.main import main; main(['--help'], standalone_mode=False)"],
)
def test_importing_the_package_and_the_command_line_is_light(code: str) -> None:
    check = f"{code}\nimport sys\nprint(sorted(set(sys.modules) & {HEAVY}))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_package_hands_on_every_name_and_says_which_there_are() -> None:
    assert set(api.__all__) - {"Analysed"} == set(mg.__all__) - {"__version__"}
    assert all(getattr(mg, name) is getattr(api, name) for name in mg.__all__ if name != "__version__")
    assert dir(mg) == mg.__all__
    with pytest.raises(AttributeError, match=r"no attribute 'trian'; it has Objective"):
        mg.trian  # noqa: B018


def test_the_examples_are_right() -> None:
    assert doctest.testmod(api).failed == 0


def test_a_run_is_that_of_the_command(run, tmp_path: Path) -> None:
    from click.testing import CliRunner
    from minigrok_cli.main import main

    settings = [f"--set=train.{key}={value}" for key, value in SHORT.items()]
    done = CliRunner().invoke(main, ["train", "tiny", "--set=seed=1", *settings, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0
    for name in ("config.toml", "metrics.csv", "snapshots/000020.safetensors"):
        assert (run.folder / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_a_run_gives_columns_steps_parameters_and_arrays(run) -> None:
    assert run.metrics()["step"].tolist() == [1, 10, 20]
    assert run.snapshots() == [0, 5, 10, 15, 20]
    assert run.theta().dtype == np.float64
    assert np.array_equal(run.theta(), run.load_snapshot(20))
    model = run.model(5)
    assert np.array_equal(np.concatenate([a.ravel() for a in model.values()]), run.theta(5))
    assert model["tok_emb.weight"].shape == (43, 64)
    assert np.array_equal(mg.open(run.folder).theta(0), run.theta(0))


def test_training_goes_on_with_the_run_that_is_there_and_refuses_another(run) -> None:
    told: list[int] = []
    again = mg.train("tiny", seed=1, out=run.folder, observer=Observer(stepped=told.append), **SHORT)
    assert (again.folder, told) == (run.folder, []), "finished before"
    with pytest.raises(ConfigError, match="another configuration: seed 1, not 2 - do: choose another folder"):
        mg.train("tiny", seed=2, out=run.folder, **SHORT)
    renamed = with_values(run.config, {"name": "other"})
    assert mg.train(renamed, out=run.folder).config == run.config, "the name decides no number"
    with again:  # the lock was given back
        pass


def test_settings_come_by_last_name_by_full_name_or_in_a_config(tmp_path: Path) -> None:
    config = mg.preset("tiny")
    a = mg.train(config, out=tmp_path / "a", max_steps=2, weight_decay=0.5)
    b = mg.train("tiny", out=tmp_path / "b", settings={"train.max_steps": 2, "optimiser.weight_decay": 0.5})
    assert a.config == b.config
    assert np.array_equal(a.theta(2) if 2 in a.snapshots() else a.theta(), b.theta())


def test_the_objective_is_of_all_pairs_of_a_part(run) -> None:
    objective, theta = mg.Objective.of(run), run.theta()
    columns = run.metrics()
    for part in ("train", "test"):
        losses = mg.Objective.of(run, part).losses(theta)
        kept = [columns[f"{part}_loss_{task}"][-1] for task in ("add", "mul")]
        assert np.allclose(losses, kept, rtol=1e-5)
    v = np.random.default_rng(0).standard_normal(theta.size)
    assert np.array_equal(objective.hessian(theta).matvec(v), objective.hvp(theta, v))


def test_an_analysis_gives_table_result_figure_and_files(run) -> None:
    found = mg.analyse("grok_order", run, protocol="paper")
    assert (found.folder / "table.csv").exists()
    assert found.title == "grok_order (paper)"
    assert found.table[0].keys() >= {"mark"}
    assert found.result.marks == ["0.98 x 3"]
    assert found.figure._repr_png_().startswith(b"\x89PNG")
    html = found._repr_html_()
    assert "<table>" in html
    assert "data:image/png;base64," in html
    both = mg.analyse("grok_order", [run, run]).result
    assert (len(both.runs), len(both.left_out)) == (1, 1)  # a run that is given twice is one


def test_a_figure_and_a_run_show_themselves_and_their_texts_are_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "<script>alert(1)<"
    run = mg.train("tiny", out=folder, **SHORT)
    assert mg.plot(run)._repr_png_().startswith(b"\x89PNG")
    html = run._repr_html_() + mg.analyse("grok_order", run)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "20 steps" in html
    assert "<Run " in repr(run)


def test_a_sweep_returns_its_runs(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text('name = "small"\n[base]\npreset = "tiny"\n[[grid]]\nseed = [1, 2]\n')
    settings = {f"train.{key}": value for key, value in SHORT.items()}
    runs = mg.sweep(file, out=tmp_path / "out", settings=settings, jobs=1, only=["*-s2"])
    assert [run.config.seed for run in runs] == [2]
    assert runs[0].snapshots()[-1] == 20


def test_a_sweep_says_what_failed_and_keeps_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    text = 'name = "bad"\n[base]\npreset = "tiny"\n[[grid]]\noptimiser.learning_rate = [1e-3, 1e30]\n'
    file.write_text(text)
    settings = {f"train.{key}": value for key, value in SHORT.items()}
    with pytest.raises(SweepError, match=r"tiny-lr1e30: required: a finite loss") as caught:
        mg.sweep(file, out=tmp_path / "out", settings=settings, jobs=1)
    assert "tiny-lr0.001" not in caught.value.got
    assert mg.open(tmp_path / "out" / "tiny-lr0.001").snapshots()[-1] == 20
    assert len(mg.sweep(file, out=tmp_path / "out", settings=settings, only=["*0.001"])) == 2


def test_a_sweep_for_the_device_goes_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "small.toml"
    file.write_text('name = "small"\n[base]\npreset = "tiny"\ncompute.engine = "cuda"\n[[grid]]\nseed = [1, 2]\n')

    class Asked(Exception):
        pass

    def device(jobs: int | None) -> None:
        raise Asked

    monkeypatch.setattr(api, "OnDevice", device)
    with pytest.raises(Asked):
        mg.sweep(file, out=tmp_path / "out")


def test_several_runs_stand_below_one_another_and_a_folder_stands_for_its_run(run) -> None:
    one, two = mg.plot(run.folder), mg.plot([run, str(run.folder)], log_steps=True)
    assert two.get_size_inches().tolist() == [11, 14]
    assert [len(one.axes), len(two.axes)] == [4, 8]
    assert two.axes[4].get_xscale() == "log"
    assert mg.analyse("grok_order", run.folder).table == mg.analyse("grok_order", run).table


def test_a_portable_run_is_analysed_in_portable_mode_alone(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(portable, "obstacles", lambda: [])
    run = mg.train("tiny", portable=True, out=tmp_path / "run", **SHORT)
    monkeypatch.setattr(portable, "obstacles", lambda: ["other kernels"])
    for name in ("grok_order", "trajectory_pca"):
        with pytest.raises(EngineError, match="portable mode"):
            mg.analyse(name, run)
        assert not (run.folder / "analysis" / name).exists()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda run: mg.train("tinny"), ConfigError, "did you mean tiny"),
        (lambda run: mg.train("nowhere.toml"), ConfigError, "nowhere.toml"),
        (lambda run: mg.train("tiny", max_stepps=3), ConfigError, "did you mean train.max_steps"),
        (lambda run: mg.train("tiny", max_steps="many"), ConfigError, "whole number"),
        (lambda run: mg.train("tiny", settings={"train": 1}), ConfigError, "a setting that minigrok knows"),
        (lambda run: mg.train("tiny", settings={"seed": 1}, seed=2), ConfigError, "seed once - got: twice: 1 and 2"),
        (lambda run: mg.train("tiny", arm="deletion", source="no"), RunFolderError, "no is no folder"),
        (lambda run: mg.open("no/such/folder"), RunFolderError, "is no folder"),
        (lambda run: run.theta(7), RunFolderError, "a snapshot of step 7"),
        (lambda run: mg.Objective.of(run, "both"), ConfigError, "train"),
        (lambda run: mg.Objective.of(run).grad(run.theta()[:-1]), ShapeError, "theta"),
        (lambda run: mg.Objective.of(run).hessian(run.theta()[:-1]), ShapeError, "theta"),
        (lambda run: mg.Objective.of(run).loss(run.theta() + 1j), ShapeError, "theta of real numbers"),
        (lambda run: mg.Objective.of(run).hessian(run.theta() > 0), ShapeError, "theta of real numbers"),
        (lambda run: mg.plot("no/such/folder"), RunFolderError, "is no folder"),
        (lambda run: mg.plot([]), ConfigError, "0 runs"),
        (lambda run: mg.analyse("grok", run), ConfigError, "the name of an analysis"),
        (lambda run: mg.analyse("all", run), ConfigError, "the name of an analysis"),
        (lambda run: mg.analyse("gram", [run, run], windw=3), ConfigError, "did you mean window"),
        (lambda run: mg.analyse("heads", [run, run]), ConfigError, "one run for heads"),
        (lambda run: mg.analyse("gram", []), ConfigError, "0 runs"),
        (lambda run: mg.analyse("gram", run, protocol="mine"), ConfigError, "protocol"),
        (lambda run: mg.sweep("papr-dual"), ConfigError, "did you mean paper-dual"),
        (lambda run: mg.sweep("tiny", jobs=0, out=run.folder / "no"), ConfigError, "the number of processes 1 or more"),
    ],
)
def test_wrong_input_is_told_in_three_parts(run, call, error: type[MinigrokError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        call(run)
    assert caught.value.required
    assert caught.value.got
    assert caught.value.do


def test_a_last_name_of_several_settings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "keys", lambda: ["train.size", "model.size"])
    with pytest.raises(ConfigError, match=r"not of train\.size, model\.size"):
        mg.train("tiny", size=3)
