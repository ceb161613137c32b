"""The stage `tokenizer`: documents in, a trained tokenizer and its statistics out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from gristlm import _core
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest
from gristlm.runs.files import write_json
from gristlm.tokenize import documents_input, statistics
from gristlm.tokenize.config import TokenizerConfig
from gristlm.tokenize.documents_input import Documents
from gristlm.tokenize.tokenizer import Tokenizer

GATHERED_BYTES = 32 << 20


def train_tokenizer(config: TokenizerConfig, inputs: Mapping[str, Path], output_dir: Path) -> Manifest:
    """Trains a tokenizer on the train split of `inputs["documents"]`; writes `tokenizer.json` and `statistics.json`.

    Raises:
        InputError: a setting is out of range.
        ConfigError: `output_dir` holds other work, or the input is not given.
        MissingArtifactError, DamagedArtifactError: the documents cannot be used; names the file.
    """
    stage = artifact.begin(output_dir, kind="tokenizer", config=config, inputs=inputs)
    if stage.manifest:
        return stage.manifest
    try:
        documents = documents_input.input_dir(inputs, "documents")
        trainer = _core.TokenizerTrainer(config.pattern)
        with progress.bar("count words", documents_input.count_rows(documents, "train"), "documents") as bar:
            for texts in _gathered(documents_input.read(documents, "train")):
                trainer.add(texts, config.num_threads)
                bar.advance(len(texts))
        if config.pattern == "characters":
            state = trainer.characters()
        else:
            progress.say(f"  merging pairs up to {config.vocab_size:,} tokens")
            state = trainer.bpe(
                config.vocab_size, list(config.special_tokens), config.min_frequency, config.max_token_bytes
            )
        tokenizer = Tokenizer(state)
        tokenizer.save(output_dir / "tokenizer.json")
        figures = statistics.measure(tokenizer, documents, config.num_threads)
        write_json(output_dir / "statistics.json", figures)
        ratios = statistics.ratios(figures)
        shown = ", ".join(f"{ratio:.2f} ({split})" for split, ratio in ratios.items())
        progress.say(f"  {tokenizer.vocab_size:,} tokens; bytes per token: {shown}")
        return stage.finish(
            counts={"vocab_size": tokenizer.vocab_size, "train_bytes": trainer.num_bytes, "bytes_per_token": ratios}
        )
    finally:
        stage.close()


def _gathered(batches: Iterator[Documents]) -> Iterator[pa.ChunkedArray[pa.StringScalar]]:
    """Yields the texts of the documents in larger pieces, which threads share better."""
    held: list[pa.StringArray] = []
    size = 0
    for rows in batches:
        held.append(rows.texts)
        size += rows.texts.nbytes
        if size >= GATHERED_BYTES:
            yield pa.chunked_array(held)
            held, size = [], 0
    if held:
        yield pa.chunked_array(held)
