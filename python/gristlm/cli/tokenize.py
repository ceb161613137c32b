"""`gristlm tokenize`: train a tokenizer, encode, decode, and look at how text is cut."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gristlm.cli.options import ConfigFile, NumThreads, Output, Seed
from gristlm.cli.verb import OVERRIDES, settings, verb, wrote
from gristlm.errors import ConfigError, InputError
from gristlm.runs import artifact

if TYPE_CHECKING:
    from gristlm.tokenize import Tokenizer

app = typer.Typer(help="Train a tokenizer, encode, decode, and look at how text is cut.", no_args_is_help=True)
TokenizerPath = Annotated[
    Path,
    typer.Option(
        "--tokenizer", help="A directory with tokenizer.json, or a tokenizer.json, tekken.json or .tiktoken file."
    ),
]
Pattern = Annotated[
    str,
    typer.Option(
        "--pattern", help="The pretokenizer of a .tiktoken file: cl100k, o200k, gpt2 … or a regular expression."
    ),
]


@app.command(context_settings=OVERRIDES)
@verb
def train(
    context: typer.Context,
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="One documents artifact, or text files.")],
    output: Output,
    vocab_size: Annotated[
        int | None, typer.Option("--vocab-size", min=256, help="Tokens of the vocabulary, special ones included.")
    ] = None,
    config: ConfigFile = None,
    seed: Seed = None,
    num_threads: NumThreads = None,
) -> None:
    """Train a byte-level BPE tokenizer and write tokenizer.json (which HF tokenizers loads, with equal ids).

    Settings: --tokenizer.pattern=cl100k …; all of them: gristlm config schema tokenizer
    """
    from gristlm.tokenize import Tokenizer, train_tokenizer

    keys = {"tokenizer.vocab_size": None if vocab_size is None else str(vocab_size)}
    whole, plain = settings(
        context, config, "tokenizer", arguments=sources, keys=keys, seed=seed, num_threads=num_threads
    )
    table, paths = whole.tokenizer, [Path(argument) for argument in plain]
    assert table is not None, "settings fills the tables it is asked for"
    if len(paths) == 1 and paths[0].is_dir():
        train_tokenizer(table, {"documents": paths[0]}, output)
    else:
        stage = artifact.begin(output, kind="tokenizer", config=table, inputs={str(path): path for path in paths})
        if stage.manifest is None:
            made = Tokenizer.train(
                paths,
                vocab_size=table.vocab_size,
                pattern=table.pattern,
                special_tokens=table.special_tokens,
                min_frequency=table.min_frequency,
                max_token_bytes=table.max_token_bytes,
                num_threads=table.num_threads,
            )
            made.save(output / "tokenizer.json")
            stage.finish(counts={"vocab_size": made.vocab_size})
    wrote(output)


@app.command()
@verb
def encode(
    tokenizer: TokenizerPath,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="One documents artifact, or text, JSONL or Parquet files; none reads standard input.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Directory to write a tokens artifact to; else ids are printed.")
    ] = None,
    pattern: Pattern = "cl100k",
    text_column: Annotated[
        str, typer.Option("--text-column", help="The column that holds the text, in JSONL and Parquet.")
    ] = "text",
    num_threads: NumThreads = None,
) -> None:
    """Encode documents or files to a tokens artifact, or print the ids of text, one line of ids per line of text."""
    if output is not None and files and len(files) == 1 and files[0].is_dir():
        from gristlm.tokenize import TokensConfig, run

        run(TokensConfig(num_threads=num_threads), {"documents": files[0], "tokenizer": tokenizer}, output)
        wrote(output)
        return
    loaded = _load(tokenizer, pattern)
    if output is not None:
        if not files:
            raise ConfigError("--output needs files to encode; name one or more")
        loaded.encode_files(files, output, text_column=text_column, num_threads=num_threads)
        wrote(output)
        return
    for source in [sys.stdin.buffer] if not files else [path.open("rb") for path in files]:
        with source:
            for line in source:
                print(*loaded.encode(line.removesuffix(b"\n")))


@app.command()
@verb
def decode(
    tokenizer: TokenizerPath,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Token ids; none reads lines of ids from standard input."),
    ] = None,
    pattern: Pattern = "cl100k",
) -> None:
    """Print the text of token ids."""
    loaded = _load(tokenizer, pattern)
    for line in [" ".join(ids)] if ids else sys.stdin:
        try:
            numbers = [int(word) for word in line.split()]
        except ValueError as error:
            raise InputError(f"ids are whole numbers separated by spaces; given {line.strip()!r}") from error
        print(loaded.decode(numbers))


@app.command()
@verb
def inspect(
    tokenizer: TokenizerPath,
    text: Annotated[str | None, typer.Argument(help="The text; none reads standard input.")] = None,
    pattern: Pattern = "cl100k",
) -> None:
    """Show text with coloured token borders, and bytes per token."""
    from rich.console import Console
    from rich.text import Text

    loaded = _load(tokenizer, pattern)
    source = sys.stdin.read() if text is None else text
    encoding = loaded.encode_with_offsets(source, unit="characters")
    shown = Text()
    for number, (start, end) in enumerate(encoding.offsets.tolist()):
        piece = source[start:end].replace("\n", "⏎\n")
        shown.append(
            piece, style=("black on cyan", "black on yellow", "black on green", "black on magenta")[number % 4]
        )
    console = Console()
    console.print(shown)
    if not console.is_terminal:
        console.print(
            "|".join(source[start:end] for start, end in encoding.offsets.tolist()), markup=False, highlight=False
        )
    size = len(source.encode())
    console.print(
        f"{len(encoding.ids):,} tokens, {size:,} bytes, {size / max(1, len(encoding.ids)):.2f} bytes per token; "
        f"vocabulary of {loaded.vocab_size:,}"
    )


def _load(path: Path, pattern: str) -> Tokenizer:
    from gristlm.tokenize import Tokenizer

    if path.name.endswith((".tiktoken", ".tiktoken.gz")):
        return Tokenizer.from_tiktoken(path, pattern=pattern)
    return Tokenizer.from_file(path)
