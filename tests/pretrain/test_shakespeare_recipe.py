"""The shakespeare recipe runs whole: characters as tokens, from one text file to a model."""

from pathlib import Path
from pydoc_data import topics

from gristlm.cli.recipe import Recipe
from gristlm.cli.run import run_recipe, with_sources
from gristlm.runs import artifact, recipe
from gristlm.tokenize import Tokenizer


def test_from_a_text_file_to_a_model(tmp_path: Path) -> None:
    text = "\n\n".join(text for _, text in sorted(topics.topics.items()))[:120_000]
    (tmp_path / "play.txt").write_text(text)
    few = {"steps": 4, "checkpoint_every": 2, "evaluate_every": 4, "evaluate_batches": 2, "warmup_steps": 1}
    changes = {f"pretrain.{key}": str(value) for key, value in few.items()} | {"num_threads": "1"}
    whole = recipe.load(recipe.locate("shakespeare"), Recipe, changes)
    run_recipe(with_sources(whole, [str(tmp_path / "play.txt")]), tmp_path / "run", stop_after="pretrain")
    tokenizer = Tokenizer.from_file(tmp_path / "run" / "tokenizer")
    assert tokenizer.vocab_size <= len(set(text)) + 1
    assert tokenizer.decode(tokenizer.encode("A list of names")) == "A list of names"
    assert artifact.load(tmp_path / "run" / "tokens", kind="tokens").counts["vocab_size"] == tokenizer.vocab_size
    assert artifact.load(tmp_path / "run" / "pretrain", kind="pretrain").counts["steps"] == 4
