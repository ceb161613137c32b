"""`gristlm label`: people compare answers in the browser; their votes train the next model."""

from __future__ import annotations

import dataclasses
import enum
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gristlm.cli.verb import verb, wrote
from gristlm.errors import ConfigError, missing_extra
from gristlm.runs.files import write_atomic
from gristlm.runs.layout import find_checkpoint

if TYPE_CHECKING:
    from gristlm.serve.label.export import Kind
    from gristlm.serve.label.pairs import Pair
    from gristlm.serve.label.project import Project


class Role(enum.StrEnum):
    """What somebody may do."""

    annotator = "annotator"
    manager = "manager"


@dataclasses.dataclass(frozen=True)
class _Queue:
    """What the project is filled from, and in which order."""

    pairs_file: Path | None
    gold: Path | None
    rollouts: Path | None
    limit: int
    reward_models: tuple[Path, ...]
    guidelines: Path | None

    def pairs(self) -> list[Pair]:
        from gristlm.serve.label.pairs import read_gold, read_pairs
        from gristlm.serve.label.queue import rollout_pairs

        found = read_pairs(self.pairs_file) if self.pairs_file is not None else []
        found += read_gold(self.gold) if self.gold is not None else []
        return found + (rollout_pairs(self.rollouts, limit=self.limit) if self.rollouts is not None else [])

    def order(self, project: Project) -> None:
        if self.guidelines is not None:
            try:
                project.set_guidelines(self.guidelines.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"--guidelines {self.guidelines} cannot be read as UTF-8 text: {error}") from None
        if self.reward_models:
            from gristlm.rlhf import RewardModel
            from gristlm.serve.label.queue import prioritise_by_disagreement

            scorers = [RewardModel.from_pretrained(folder).score for folder in self.reward_models]
            print(f"{prioritise_by_disagreement(project, scorers):,} pairs ordered by disagreement", flush=True)


@verb
def label(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="Directory of the project; made if missing.")],
    models: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--models", metavar="A B", help="Two checkpoints or runs whose answers are compared."),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            metavar="FILE",
            help="JSONL or Parquet of prompt with chosen/rejected or a/b; "
            "3 to 9 `answers` are ranked, one `answer` is rated.",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="JSONL of prompts for --models; by default the run's held-out prompts, else a dozen of our own.",
        ),
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option(
            "--gold", metavar="FILE", help="Pairs whose right answer is known (chosen, or gold): they test annotators."
        ),
    ] = None,
    rollouts: Annotated[
        Path | None, typer.Option("--rollouts", metavar="DIR", help="RUN/rlhf/rollouts: best against worst answers.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The most pairs of --rollouts.")] = 200,
    reward_model: Annotated[
        list[Path] | None,
        typer.Option("--reward-model", metavar="DIR", help="Show first the pairs on which these disagree; repeatable."),
    ] = None,
    guidelines: Annotated[
        Path | None, typer.Option("--guidelines", metavar="FILE", help="Markdown that annotators can read.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A further name that it may be asked under; repeatable.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8001,
    overlap: Annotated[int, typer.Option("--overlap", min=1, help="How many annotators judge each pair.")] = 1,
    add_annotator: Annotated[
        str | None,
        typer.Option(
            "--add-annotator", metavar="NAME", help="Add one, or change their password (a prompt or GRISTLM_PASSWORD)."
        ),
    ] = None,
    role: Annotated[
        Role, typer.Option("--role", help="With --add-annotator: a manager sees and exports everybody's votes.")
    ] = Role.annotator,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write the votes (JSONL or Parquet) and end."),
    ] = None,
    import_: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Add the votes of an export (JSONL or Parquet) and end."),
    ] = None,
    ratings: Annotated[
        bool, typer.Option("--ratings", help="With --export: ratings as good or bad, which finetune reads for kto.")
    ] = False,
    all_votes: Annotated[
        bool, typer.Option("--all-votes", help="With --export: every vote, ties and skips too, for analysis.")
    ] = False,
) -> None:
    """Compare answers in the browser: which of two is better, without knowing who wrote them.

    Prints the page's URL with a one-time token. Where annotators were added, they sign in with name and password
    instead, and the token is the owner's API key.
    """
    if sum(given is not None for given in (add_annotator, export, import_)) > 1:
        raise ConfigError("--add-annotator, --export and --import are different things to do; give one of them")
    if ratings and all_votes:
        raise ConfigError("--ratings and --all-votes are two things to export; give one of them")
    try:
        if add_annotator is not None:
            _add_annotator(project, add_annotator, role)
        elif export is not None:
            _export(project, export, "votes" if all_votes else "ratings" if ratings else "preferences")
        elif import_ is not None:
            _import(project, import_)
        else:
            made_from = _Queue(pairs, gold, rollouts, limit, tuple(reward_model or ()), guidelines)
            _serve(project, models, made_from, prompts, host, tuple(allow_host or ()), port, overlap)
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "fastapi", "serve") from error


def _add_annotator(path: Path, name: str, role: Role) -> None:
    from gristlm.serve.label.accounts import Accounts
    from gristlm.serve.label.schema import Database

    password = os.environ.get("GRISTLM_PASSWORD")
    if password is None:
        password = typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True)
    Accounts(Database(path, create=True)).add(name, str(password), role.value)
    print(f"{name} may sign in to {path}", flush=True)


def _import(path: Path, file: Path) -> None:
    from gristlm.serve.label.imported import import_votes
    from gristlm.serve.label.project import Project

    new, known = import_votes(Project(path, create=True), file)
    print(f"{new:,} votes added to {path}" + (f"; {known:,} were there" if known else ""), flush=True)


def _export(path: Path, file: Path, kind: Kind) -> None:
    from gristlm.serve.label import export
    from gristlm.serve.label.project import Project

    project = Project(path)
    rows = export.ROWS[kind](project, None)
    if file.suffix == ".parquet":
        export.to_parquet(rows, file)
    else:
        write_atomic(file, export.to_jsonl(rows))
    left_out = len(project.votes()) - len({(row["pair"], row["annotator"]) for row in rows})
    others = "ties, both-bad, skips and ratings" if kind == "preferences" else "others"
    print(
        f"{len(rows):,} {kind}" + (f"; left out {left_out:,} {others} (--all-votes has them)" if left_out > 0 else "")
    )
    wrote(file)


def _serve(
    path: Path,
    models: tuple[Path, Path] | None,
    queue: _Queue,
    prompts: Path | None,
    host: str,
    allow_hosts: tuple[str, ...],
    port: int,
    overlap: int,
) -> None:
    from gristlm.serve.label.accounts import Accounts
    from gristlm.serve.label.app import access_for, create_app
    from gristlm.serve.label.project import Project
    from gristlm.serve.listen import listen

    if prompts is not None and models is None:
        raise ConfigError("--prompts are for --models to answer; give --models A B too")
    given = queue.pairs()
    checkpoints = [find_checkpoint(model) for model in models or ()]
    project = Project(path, create=bool(given or checkpoints), overlap=overlap)
    project.add(given)
    queue.order(project)
    maker = None
    if models is not None:
        from gristlm.serve.label.answering import PairMaker, Speaker, find_prompts

        a, b = (Speaker(str(model), found) for model, found in zip(models, checkpoints, strict=True))
        maker = PairMaker(project, (a, b), prompts or find_prompts(checkpoints[0]))
        maker.start()
    accounts = Accounts(project.database)
    access = access_for(accounts, project.database.setting("csrf_key"), (host, *allow_hosts))

    def announce(url: str) -> None:
        count = project.progress("")["pairs"]
        who = "annotators sign in at the same address without the token" if accounts.any() else "no annotators added"
        print(f"labelling {path} ({count:,} pairs; {who})\n{url}/?token={access.token}", flush=True)

    try:
        listen(create_app(project, accounts, access, lambda: maker is not None and maker.making), host, port, announce)
    finally:
        if maker is not None:
            maker.close()
        project.database.close()
