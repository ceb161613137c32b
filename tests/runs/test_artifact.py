import json
import multiprocessing
from pathlib import Path

import pytest

from gristlm.errors import ArtifactError, ConfigError, DamagedArtifactError, MissingArtifactError, StorageError
from gristlm.runs import artifact
from gristlm.runs.config import StageConfig
from gristlm.runs.files import write_atomic


class Settings(StageConfig):
    size: int = 3


def make(
    path: Path, *, config: Settings | None = None, inputs: dict[str, Path] | None = None, content: str = "words"
) -> artifact.Manifest:
    stage = artifact.begin(path, kind="words", config=config or Settings(), inputs=inputs or {})
    if stage.manifest is None:
        write_atomic(path / "data.txt", content)
        write_atomic(path / "metrics.jsonl", json.dumps({"at": path.name}))
        return stage.finish(counts={"words": 1})
    return stage.manifest


def test_a_directory_is_unfinished_until_its_manifest_is_written(tmp_path: Path) -> None:
    stage = artifact.begin(tmp_path / "a", kind="words", config=Settings(), inputs={})
    assert stage.manifest is None
    assert not artifact.is_complete(tmp_path / "a")
    with pytest.raises(MissingArtifactError, match="unfinished"):
        artifact.load(tmp_path / "a")
    stage.finish(counts={})
    assert artifact.begin(tmp_path / "a", kind="words", config=Settings(), inputs={}).manifest is not None


def test_the_digest_is_of_what_an_artifact_is_not_of_when_or_how_it_was_made(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a"), make(tmp_path / "b", config=Settings(num_threads=1))
    assert a.digest == b.digest
    assert make(tmp_path / "c", content="other").digest != a.digest
    assert make(tmp_path / "d", config=Settings(seed=1)).digest != a.digest
    assert make(tmp_path / "e", inputs={"from": tmp_path / "a"}).digest != a.digest


def test_other_settings_or_inputs_are_refused_by_name(tmp_path: Path) -> None:
    make(tmp_path / "in")
    make(tmp_path / "other", content="x")
    make(tmp_path / "a", inputs={"words": tmp_path / "in"})
    with pytest.raises(ConfigError, match=r"config\.size was 3, now 4"):
        make(tmp_path / "a", config=Settings(size=4), inputs={"words": tmp_path / "in"})
    with pytest.raises(ConfigError, match=r"inputs\.words"):
        make(tmp_path / "a", inputs={"words": tmp_path / "other"})
    artifact.begin(tmp_path / "part", kind="words", config=Settings(), inputs={}).close()
    with pytest.raises(ConfigError, match=r"config\.size"):
        artifact.begin(tmp_path / "part", kind="words", config=Settings(size=9), inputs={})


def test_a_directory_of_somebody_else_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        artifact.begin(tmp_path, kind="words", config=Settings(), inputs={})
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == ["thesis.txt"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest"])
def test_damage_is_named(tmp_path: Path, damage: str) -> None:
    make(tmp_path / "a")
    file = tmp_path / "a" / ("manifest.json" if damage == "manifest" else "data.txt")
    if damage == "flip":
        file.write_text("wordz")
    elif damage == "remove":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises((DamagedArtifactError, MissingArtifactError), match=file.name):
        artifact.verify(tmp_path / "a")


def test_kind_and_schema_version_are_checked(tmp_path: Path) -> None:
    make(tmp_path / "a")
    with pytest.raises(DamagedArtifactError, match="not 'tokens'"):
        artifact.load(tmp_path / "a", kind="tokens")
    file = tmp_path / "a" / "manifest.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(DamagedArtifactError, match="schema version 99"):
        artifact.load(tmp_path / "a")


def _hold(path: Path, held: "multiprocessing.synchronize.Event", release: "multiprocessing.synchronize.Event") -> None:
    stage = artifact.begin(path, kind="words", config=Settings(), inputs={})
    held.set()
    release.wait(30)
    stage.close()


def test_two_processes_do_not_write_one_directory(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "a", held, release))
    other.start()
    assert held.wait(30)
    with pytest.raises(ArtifactError, match="another gristlm process"):
        artifact.begin(tmp_path / "a", kind="words", config=Settings(), inputs={})
    release.set()
    other.join(30)
    assert artifact.begin(tmp_path / "a", kind="words", config=Settings(), inputs={}).manifest is None


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "kept.txt"
    write_atomic(target, "first")
    (tmp_path / "blocked").write_text("a file where a directory is wanted")
    with pytest.raises(StorageError, match="blocked"):
        write_atomic(tmp_path / "blocked" / "x.txt", "y")
    assert target.read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocked", "kept.txt"]


def test_a_call_killed_while_it_began_does_not_block_the_next(tmp_path):
    (tmp_path / ".started.json.4711.tmp").write_text('{"kind": "wo')
    stage = artifact.begin(tmp_path, kind="words", config=Settings(), inputs={})
    assert stage.manifest is None
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == ["started.json"]
