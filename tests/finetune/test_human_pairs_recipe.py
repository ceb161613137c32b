"""The recipe `human-pairs`, small: from documents to a model tuned on files of the user's own."""

import json

import pytest

pytest.importorskip("torch")

from gristlm.cli.recipe import Recipe
from gristlm.cli.run import run_recipe, with_sources
from gristlm.errors import ConfigError
from gristlm.runs import recipe

SMALL = {
    "tokenizer.vocab_size": "512", "model.num_layers": "1", "model.d_model": "32", "model.num_heads": "2",
    "model.num_kv_heads": "1", "model.max_seq_len": "128", "pretrain.steps": "4", "pretrain.seq_len": "64",
    "pretrain.checkpoint_every": "4", "pretrain.evaluate_every": "4", "num_threads": "1",
    **{f"{stage}.{key}": value for stage in ("finetune", "preference")
       for key, value in (("max_steps", "2"), ("num_samples", "2"), ("max_sample_tokens", "4"))},
}  # fmt: skip


def test_the_recipe_reads_the_users_files_and_measures_what_tuning_costs(topics_folder, data, tmp_path):
    files = {
        f"data.{stage}{suffix}": str(data / f"{name}{suffix}.jsonl")
        for stage, name in (("finetune", "sft"), ("preference", "pairs"))
        for suffix in ("", "_heldout")
    }
    whole = recipe.load(recipe.locate("human-pairs"), Recipe, {**SMALL, **files})
    report = run_recipe(with_sources(whole, [str(topics_folder)]), tmp_path / "run")
    for stage, kind in (("finetune", "messages"), ("preference", "preference")):
        counts = json.loads((tmp_path / "run" / stage / "manifest.json").read_text())["counts"]
        assert counts["format"] == kind
        for name in ("heldout_loss", "answer_tokens", "pretrain_bits_per_byte"):
            assert counts[f"{name}_before"] >= 0 <= counts[f"{name}_after"], name
    assert "Bits per byte on what pretraining held out" in report.read_text()


def test_without_files_the_recipe_says_which_are_missing(tmp_path):
    whole = recipe.load(recipe.locate("human-pairs"), Recipe, {})
    with pytest.raises(ConfigError, match=r"\[finetune\] has no data: give `finetune` under \[data\]"):
        run_recipe(whole, tmp_path)
