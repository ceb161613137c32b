"""The pretrain stage: it learns, resumes bit for bit, and names what is wrong."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_runs import SETTINGS, assert_same_end, config

from gristlm.errors import ConfigError, TrainingError
from gristlm.model import Model, ModelConfig
from gristlm.pretrain import loop, run
from gristlm.training import MetricsLog, checkpoint


@pytest.fixture(scope="module")
def uncut(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("uncut") / "pretrain"
    run(config(), inputs, output)
    return output


def test_what_it_leaves(uncut: Path, inputs: dict[str, Path]) -> None:
    names = {path.relative_to(uncut).as_posix() for path in uncut.rglob("*") if path.is_file()}
    for directory in ("checkpoints/step-00000006", "checkpoints/step-00000008", "final"):
        assert {f"{directory}/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json")} <= names
    assert "checkpoints/step-00000008/train_state/optimizer.safetensors" in names
    assert not [name for name in names if "step-00000002" in name or "tmp" in name]
    lines = MetricsLog(uncut).read()
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert {"step", "loss", "bits_per_byte", "lr", "grad_norm", "tokens_per_second"} <= lines[0].keys()
    assert [line["step"] for line in lines if "heldout_bits_per_byte" in line] == [4, 8]
    manifest = run(config(), inputs, uncut)
    assert manifest.kind == "pretrain"
    assert manifest.counts["tokens"] == 8 * 4 * 64
    model = Model.from_pretrained(uncut / "final")
    assert model.config.vocab_size == 512
    assert model.config.eos_token_ids == (0,)
    assert manifest.counts["parameters"] == model.config.num_parameters()


def test_it_learns(inputs: dict[str, Path], tmp_path: Path) -> None:
    manifest = run(config(steps=80, warmup_steps=5, checkpoint_every=100, evaluate_every=40), inputs, tmp_path / "out")
    lines = MetricsLog(tmp_path / "out").read()
    assert float(str(lines[0]["loss"])) == pytest.approx(math.log(512), abs=0.2)
    assert float(str(manifest.counts["heldout_bits_per_byte"])) < 3.4, "eight bits are a byte; unigrams need about 4.6"


@pytest.mark.parametrize("cut_at", [1, 2, 5, 8])
def test_resume_after_an_error_is_bit_identical(
    uncut: Path, inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int
) -> None:
    write = MetricsLog.write

    def cut(self: MetricsLog, step: int, **figures: float | str | None) -> None:
        write(self, step, **figures)
        if step == cut_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "write", cut)
        with pytest.raises(KeyboardInterrupt):
            run(config(), inputs, tmp_path)
    run(config(), inputs, tmp_path)
    assert_same_end(tmp_path, uncut)


def test_resume_after_kill_is_bit_identical(uncut: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    program = (
        "import json, sys; from pathlib import Path; from gristlm.pretrain import PretrainConfig, run\n"
        "config, inputs, output = map(json.loads, sys.argv[1:])\n"
        "run(PretrainConfig.model_validate(config), {k: Path(v) for k, v in inputs.items()}, Path(output))"
    )
    arguments = [
        json.dumps(value) for value in (SETTINGS, {k: str(v) for k, v in inputs.items()}, str(tmp_path / "out"))
    ]
    log = MetricsLog(tmp_path / "out")
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while process.poll() is None and len(log.read()) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    run(config(), inputs, tmp_path / "out")
    assert_same_end(tmp_path / "out", uncut)


def test_a_damaged_checkpoint_is_passed_over(
    uncut: Path, inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_final", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(config(), inputs, tmp_path)
    weights = tmp_path / "checkpoints" / "step-00000008" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    run(config(), inputs, tmp_path)
    assert_same_end(tmp_path, uncut)


def test_micro_batches_do_not_change_the_result(uncut: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    run(config(micro_batch_size=3), inputs, tmp_path)
    losses = [[float(str(line["loss"])) for line in MetricsLog(path).read()] for path in (uncut, tmp_path)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_recomputing_changes_no_bit(uncut: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    run(config(recompute=True), inputs, tmp_path)
    assert_same_end(tmp_path, uncut)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch.compile looks at it itself
def test_compiled_blocks_train_alike(
    uncut: Path, inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled(self, backend="aot_eager"))  # no C++ compiler
    run(config(compile=True, recompute=True), inputs, tmp_path)
    losses = [[float(str(line["loss"])) for line in MetricsLog(path).read()] for path in (uncut, tmp_path)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_divergence_names_the_step_and_its_documents(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Model.loss
    calls = iter(range(100))

    def third_is_nan(self: Model, *args: torch.Tensor, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
        total, nll = loss(self, *args, **options)
        return (total * math.nan, nll * math.nan) if next(calls) == 2 else (total, nll)

    monkeypatch.setattr(Model, "loss", third_is_nan)
    with pytest.raises(TrainingError, match=r"step 3: the loss is nan.*train-\d+"):
        run(config(), inputs, tmp_path)
    assert [line["step"] for line in MetricsLog(tmp_path).read()] == [1, 2]
    assert checkpoint.latest(tmp_path) == tmp_path / "checkpoints" / "step-00000002"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seq_len": 65}, r"seq_len is 65.*64"),
        ({"model": {**SETTINGS["model"], "vocab_size": 100}}, r"vocab_size is 100.*512"),
    ],
)
def test_settings_that_do_not_fit(
    inputs: dict[str, Path], tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        run(config(**changes), inputs, tmp_path)


def test_a_model_given_whole_is_kept(inputs: dict[str, Path]) -> None:
    from gristlm.tokenize import Tokenizer

    tokenizer = Tokenizer.from_file(inputs["tokenizer"])
    shape = loop._shape(config(model=ModelConfig(vocab_size=600, max_seq_len=64, eos_token_ids=(7,))), tokenizer)
    assert (shape.vocab_size, shape.eos_token_ids, shape.pad_token_id) == (600, (7,), 1)
