"""The stage `tokens`: documents and a tokenizer in, token datasets out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gristlm.errors import ConfigError
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest
from gristlm.tokenize import documents_input
from gristlm.tokenize.batch import TokenBatch
from gristlm.tokenize.config import TokensConfig
from gristlm.tokenize.document_sources import SourceRuns
from gristlm.tokenize.documents_input import Split
from gristlm.tokenize.token_dataset import TokenDatasetWriter
from gristlm.tokenize.tokenizer import Tokenizer


def run(config: TokensConfig, inputs: Mapping[str, Path], output_dir: Path) -> Manifest:
    """Encodes both splits of `inputs["documents"]` with `inputs["tokenizer"]` into `train/` and `heldout/`.

    Special tokens that stand in a document's text stay ordinary text. A run that was cut off starts its split again.

    Raises:
        ConfigError: `output_dir` holds other work, an input is not given, or the tokenizer has no `end_token`.
        MissingArtifactError, DamagedArtifactError: an input cannot be used; names the file.
    """
    stage = artifact.begin(output_dir, kind="tokens", config=config, inputs=inputs)
    if stage.manifest:
        return stage.manifest
    try:
        documents = documents_input.input_dir(inputs, "documents")
        tokenizer = Tokenizer.from_file(documents_input.input_dir(inputs, "tokenizer"))
        end_id = _end_id(tokenizer, config.end_token)
        counts: dict[str, object] = {"vocab_size": tokenizer.vocab_size}
        for split in documents_input.SPLITS:
            tokens, rows = _encode(tokenizer, documents, split, output_dir / split, end_id, config)
            counts[f"{split}_tokens"], counts[f"{split}_documents"] = tokens, rows
            progress.say(f"  {split}: {rows:,} documents, {tokens:,} tokens")
        return stage.finish(counts=counts)
    finally:
        stage.close()


def with_end(batch: TokenBatch, end_id: int | None) -> TokenBatch:
    """Returns the batch with `end_id` after each text."""
    if end_id is None:
        return batch
    ids = np.insert(batch.ids, batch.offsets[1:], np.uint32(end_id))
    return TokenBatch(ids, batch.offsets + np.arange(len(batch.offsets)))


def _end_id(tokenizer: Tokenizer, end_token: str | None) -> int | None:
    if not end_token:
        return None
    special = tokenizer.special_tokens
    if end_token not in special:
        raise ConfigError(
            f"end_token {end_token!r} is not a special token of the tokenizer; it has {', '.join(special) or 'none'}"
        )
    return special[end_token]


def _encode(
    tokenizer: Tokenizer, documents: Path, split: Split, path: Path, end_id: int | None, config: TokensConfig
) -> tuple[int, int]:
    tokens = total = 0
    sources = SourceRuns()
    with (
        TokenDatasetWriter(path, vocab_size=tokenizer.vocab_size, shard_tokens=config.shard_tokens) as writer,
        progress.bar(f"encode {split}", documents_input.count_rows(documents, split), "documents") as bar,
    ):
        for rows in documents_input.read(documents, split):
            batch = with_end(tokenizer.encode_batch(rows.texts, num_threads=config.num_threads), end_id)
            writer.append(batch.ids, batch.offsets, document_ids=rows.ids)
            sources.extend(rows.sources)
            tokens += len(batch.ids)
            total += len(rows)
            bar.advance(len(rows))
    if split == "heldout":  # which is measured by source
        sources.write(path)
    return tokens, total
