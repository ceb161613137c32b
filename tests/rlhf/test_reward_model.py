import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import gristlm as gl
from gristlm.errors import ConfigError, DamagedArtifactError, FormatError, InputError, MissingArtifactError
from gristlm.rlhf import RewardConfig, RewardModel
from gristlm.rlhf.reward_measures import wilson_interval
from gristlm.runs import artifact

SMALL = {
    "epochs": 8,
    "global_batch_size": 8,
    "micro_batch_size": 3,
    "learning_rate": 5e-3,
    "checkpoint_every": 2,
    "num_threads": 1,
}


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, Path]:
    """Pairs whose better answer ends with a full stop."""
    paths = {}
    for name, count, shift in (("data", 40, 0), ("heldout_data", 30, 100)):
        rows = []
        for i in range(shift, shift + count):
            answer = "item " * (i % 3 + 1) + str(i)
            rows.append(
                {"prompt": [{"role": "user", "content": f"Say {i}"}], "chosen": answer + ".", "rejected": answer + ","}
            )
        paths[name] = tmp_path / f"{name}.jsonl"
        paths[name].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


def test_learns_what_is_better_and_says_how_sure_it_is(checkpoint, pairs, tmp_path):
    manifest = gl.rlhf.train_reward(RewardConfig(**SMALL), {"checkpoint": checkpoint, **pairs}, tmp_path / "reward")
    counts = manifest.counts
    assert counts["accuracy"] >= 0.9
    assert counts["accuracy_low"] < counts["accuracy"] <= counts["accuracy_high"] <= 1
    assert counts["heldout_pairs"] == 30
    model = RewardModel.from_pretrained(tmp_path / "reward" / "final")
    good, bad = model.score(["Say 7"] * 2, ["item 7.", "item 7,"])
    assert good > bad
    artifact.verify(tmp_path / "reward" / "final")
    lines = [json.loads(line) for line in (tmp_path / "reward" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 41))
    assert lines[-1]["loss"] < lines[0]["loss"] == pytest.approx(np.log(2), abs=1e-6)  # an untrained head cannot tell


def test_scores_are_the_same_in_any_company_and_after_a_round_trip(checkpoint, tmp_path):
    model = RewardModel.from_checkpoint(checkpoint)
    torch.nn.init.normal_(model.value_head.weight, generator=torch.Generator().manual_seed(0))
    prompts = [[{"role": "user", "content": f"Say {i}"}] for i in range(40)]
    responses = ["items " * (i % 5) + "." for i in range(40)]
    together = model.score(prompts, responses)
    assert together.dtype == np.float32
    assert together.shape == (40,)
    alone = np.concatenate([model.score([p], [r]) for p, r in zip(prompts, responses, strict=True)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    model.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
    np.testing.assert_array_equal(RewardModel.from_pretrained(tmp_path).score(prompts, responses), together)
    gl.Model.from_pretrained(tmp_path)  # its network is a checkpoint like any other


def test_a_text_prompt_is_a_user_message_and_nothing_is_an_empty_array(checkpoint):
    model = RewardModel.from_checkpoint(checkpoint)
    torch.nn.init.ones_(model.value_head.weight)
    as_text = model.score(["Say 1"], ["x"])
    np.testing.assert_array_equal(as_text, model.score([[{"role": "user", "content": "Say 1"}]], ["x"]))
    assert model.score([], []).shape == (0,)
    assert np.isfinite(model.score(["a" * 500], ["b" * 500])).all()  # longer than the context: its end counts
    with pytest.raises(InputError, match="2 prompts and 1 responses"):
        model.score(["a", "b"], ["x"])


def test_the_gradient_does_not_depend_on_micro_batches(checkpoint, pairs):
    from gristlm.rlhf.data import read_pairs
    from gristlm.rlhf.reward_training import _accumulate, _encoded

    gradients = []
    for size in (1, 3, 40):
        model = RewardModel.from_checkpoint(checkpoint)
        torch.nn.init.ones_(model.value_head.weight)
        batch, _ = _encoded(model, read_pairs(pairs["data"])[:7], 64)
        _accumulate(model, batch, RewardConfig(micro_batch_size=size, margin=0.5, center_coef=0.1))
        gradients.append(
            torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])
        )
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradients[0], gradients[2], rtol=1e-4, atol=1e-6)


def test_a_training_that_was_killed_ends_bit_identical(checkpoint, pairs, tmp_path):
    settings = RewardConfig(**{**SMALL, "epochs": 16, "checkpoint_every": 15})
    inputs = {"checkpoint": checkpoint, "data": pairs["data"]}
    uncut = gl.rlhf.train_reward(settings, inputs, tmp_path / "uncut")
    program = (
        "import sys, pathlib, gristlm as gl\n"
        "settings, checkpoint, data, out = sys.argv[1:]\n"
        "inputs = {'checkpoint': pathlib.Path(checkpoint), 'data': pathlib.Path(data)}\n"
        "gl.rlhf.train_reward(gl.rlhf.RewardConfig.model_validate_json(settings), inputs, pathlib.Path(out))\n"
    )
    arguments = [settings.model_dump_json(), str(checkpoint), str(pairs["data"]), str(tmp_path / "cut")]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments])
    deadline = time.monotonic() + 60
    while process.poll() is None and not list(tmp_path.glob("cut/checkpoints/step-*")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -9
    resumed = gl.rlhf.train_reward(settings, inputs, tmp_path / "cut")
    for name in ("model.safetensors", "value_head.safetensors"):
        assert (tmp_path / "cut" / "final" / name).read_bytes() == (tmp_path / "uncut" / "final" / name).read_bytes()
    assert resumed.digest == uncut.digest


def test_margin_and_centring_do_what_they_say(checkpoint, pairs, tmp_path):
    inputs = {"checkpoint": checkpoint, **pairs}
    wide = gl.rlhf.train_reward(RewardConfig(**SMALL, margin=3.0), inputs, tmp_path / "wide")
    plain = gl.rlhf.train_reward(RewardConfig(**SMALL), inputs, tmp_path / "plain")
    tight = gl.rlhf.train_reward(RewardConfig(**SMALL, max_pairs=20, center_coef=5.0), inputs, tmp_path / "tight")
    assert wide.counts["mean_difference"] > plain.counts["mean_difference"]
    assert tight.counts["pairs"] == 20
    model = RewardModel.from_pretrained(tmp_path / "tight" / "final")
    scores = model.score(["Say 3"] * 2, ["item 3.", "item 3,"])
    assert abs(scores.sum()) < 1.0


def test_interval_of_wilson():
    low, high = wilson_interval(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson_interval(10, 10) == (pytest.approx(0.7225, abs=1e-4), pytest.approx(1.0))
    assert wilson_interval(0, 10)[0] == 0.0


def test_inputs_that_cannot_be(checkpoint, pairs, tmp_path):
    with pytest.raises(MissingArtifactError, match="no reward model"):
        RewardModel.from_pretrained(checkpoint)
    with pytest.raises(ConfigError, match="needs the input 'data'"):
        gl.rlhf.train_reward(RewardConfig(), {"checkpoint": checkpoint}, tmp_path / "a")
    with pytest.raises(ConfigError, match="max_seq_len"):
        gl.rlhf.train_reward(RewardConfig(max_seq_len=8), {"checkpoint": checkpoint, **pairs}, tmp_path / "b")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "x", "chosen": "y"}')
    with pytest.raises(FormatError, match=r"bad\.jsonl:1.*'rejected'"):
        gl.rlhf.train_reward(RewardConfig(), {"checkpoint": checkpoint, "data": bad}, tmp_path / "c")
    bad.write_text('{"prompt": "x", "chosen": "y", "rejected": "z", "margin": "wide"}')
    with pytest.raises(FormatError, match="margin"):
        gl.rlhf.train_reward(RewardConfig(), {"checkpoint": checkpoint, "data": bad}, tmp_path / "d")


def test_a_value_head_of_another_network_is_damage(checkpoint, tmp_path):
    from safetensors.torch import save_file

    RewardModel.from_checkpoint(checkpoint).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
    save_file({"weight": torch.zeros(1, 7), "bias": torch.zeros(1)}, tmp_path / "value_head.safetensors")
    with pytest.raises(DamagedArtifactError, match="value_head"):
        RewardModel.from_pretrained(tmp_path)
    (tmp_path / "value_head.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(DamagedArtifactError, match="value_head"):
        RewardModel.from_pretrained(tmp_path)


def test_an_ensemble_is_the_mean_of_its_members_less_its_pessimism(checkpoint, pairs, tmp_path):
    inputs = {"checkpoint": checkpoint, **pairs}
    settings = RewardConfig(**{**SMALL, "epochs": 2}, ensemble=3, pessimism=0.5)
    manifest = gl.rlhf.train_reward(settings, inputs, tmp_path / "three")
    assert len(manifest.counts["members_accuracy"]) == 3
    assert manifest.counts["spread"] > 0
    model = RewardModel.from_pretrained(tmp_path / "three" / "final")
    assert len(model.members) == 3
    sequences = [model.encode([{"role": "user", "content": "Say 7"}, {"role": "assistant", "content": "item 7."}])]
    members = model.score_members(sequences)
    assert members.shape == (3, 1)
    assert len({float(each) for each in members[:, 0]}) == 3
    np.testing.assert_allclose(model.score_ids(sequences), members.mean(axis=0) - 0.5 * members.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(model.score(["Say 7"], ["item 7."]), model.score_ids(sequences))
    artifact.verify(tmp_path / "three" / "final")
    again = gl.rlhf.train_reward(settings, inputs, tmp_path / "again")
    assert {name: file for name, file in again.files.items() if name.endswith("safetensors")} == {
        name: file for name, file in manifest.files.items() if name.endswith("safetensors")
    }
    (tmp_path / "three" / "final" / "ensemble.json").write_text('{"members": "many"}')
    with pytest.raises(DamagedArtifactError, match=r"ensemble\.json"):
        RewardModel.from_pretrained(tmp_path / "three" / "final")


def test_calibration_and_length_bias_of_a_model_that_likes_length(checkpoint, monkeypatch):
    from gristlm.rlhf.data import Pair
    from gristlm.rlhf.reward_measures import measure

    def said(text):
        return [{"role": "user", "content": "Say"}, {"role": "assistant", "content": text}]

    model = RewardModel.from_checkpoint(checkpoint)
    monkeypatch.setattr(model, "_score_alone", lambda rows: np.array([len(row) for row in rows], dtype=np.float32))
    good = [Pair(said("a b c d"), said("a"), 0.0)] * 3
    found = measure(model, [*good, Pair(said("a"), said("a b c d"), 0.0)], 64)
    assert found["accuracy"] == 0.75
    assert (found["longer_preferred"], found["longer_chosen"]) == (1.0, 0.75)
    assert found["length_correlation"] == pytest.approx(1.0)
    assert found["calibration"]["ece"] > 0.2  # sure of all, right in three of four
