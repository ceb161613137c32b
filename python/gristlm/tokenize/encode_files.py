"""Files in, a tokens artifact out, in bounded memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gristlm.errors import InputError
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest
from gristlm.runs.config import StageConfig
from gristlm.tokenize import text_files
from gristlm.tokenize.token_dataset import TokenDatasetWriter
from gristlm.tokenize.tokens_stage import with_end

if TYPE_CHECKING:
    from gristlm.tokenize.tokenizer import Tokenizer


class EncodeFilesConfig(StageConfig):
    """What `encode_files` was called with."""

    text_column: str = "text"
    """The field of jsonl and Parquet files that holds the text."""
    end_token: str | None = None
    """Special token put after each document."""
    tokenizer_sha256: str = ""
    """SHA-256 of the tokenizer's `tokenizer.json`, in hex."""


def encode_files(
    tokenizer: Tokenizer,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    *,
    text_column: str = "text",
    num_threads: int | None = None,
) -> Manifest:
    """Encodes files into the dataset `output_dir`, which `TokenDataset(output_dir)` opens, and returns its manifest.

    Each text is followed by `<|endoftext|>` if that is a special token of the tokenizer. Memory: about 100 MB, or a few
    times the largest text.

    Args:
        tokenizer: what encodes.
        paths: text files (each one text), jsonl and Parquet (each row one), packed as `.gz` or `.zst` or not.
        output_dir: gets `.bin`, `.idx`, checksums, document ids ("file name:row"), `tokenizer.json`, `manifest.json`.
        text_column: the field of jsonl and Parquet that holds the text.
        num_threads: None is all cores. The result is the same on any number.

    Raises:
        InputError: no file is given.
        MissingArtifactError: a file is not there.
        FormatError: a file is not what its name says; names the line or the column.
        ConfigError: `output_dir` holds other work.
    """
    files = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(path) for path in paths]
    if not files:
        raise InputError("paths is empty; give at least one file")
    output = Path(output_dir)
    definition = tokenizer.state.to_json()
    end_token = "<|endoftext|>" if "<|endoftext|>" in tokenizer.special_tokens else None
    config = EncodeFilesConfig(
        text_column=text_column, end_token=end_token, tokenizer_sha256=hashlib.sha256(definition.encode()).hexdigest()
    )
    stage = artifact.begin(
        output, kind="tokens", config=config, inputs={f"{n}:{path.name}": path for n, path in enumerate(files)}
    )
    if stage.manifest:
        return stage.manifest
    try:
        documents = tokens = 0
        end_id = None if end_token is None else tokenizer.special_tokens[end_token]
        with (
            TokenDatasetWriter(output, vocab_size=tokenizer.vocab_size) as writer,
            progress.bar("encode files", sum(path.stat().st_size for path in files), "bytes") as bar,
        ):
            for path in files:
                row = 0
                for texts in text_files.documents(path, text_column=text_column):
                    batch = with_end(tokenizer.encode_batch(texts, num_threads=num_threads), end_id)
                    names = [f"{path.name}:{number}" for number in range(row, row + len(batch))]
                    writer.append(batch.ids, batch.offsets, document_ids=names)
                    row += len(batch)
                    tokens += len(batch.ids)
                    bar.advance(0, tokens=tokens)
                documents += row
                bar.advance(path.stat().st_size, tokens=tokens)
        tokenizer.save(output / "tokenizer.json")
        return stage.finish(counts={"documents": documents, "tokens": tokens, "vocab_size": tokenizer.vocab_size})
    finally:
        stage.close()
