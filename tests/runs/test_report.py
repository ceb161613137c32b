"""The report: complete, self-contained, and safe against hostile text."""

from __future__ import annotations

import json
import math
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gristlm.errors import MissingArtifactError
from gristlm.runs import artifact
from gristlm.runs.report import write_report
from gristlm.runs.report.chart import Series, line_chart, thin
from gristlm.runs.report.diversity import diversity
from gristlm.runs.report.markup import Html, figure, percent, score, size, tag, text
from gristlm.runs.report.reproduce import to_toml

HOSTILE = "</pre><script>alert('x')</script><img src=x onerror=\"alert(1)\">&amp;\x00\u202e"
VOID = {"meta", "link", "br", "img", "hr", "input"}


def estimate(value: float, half: float, cases: int) -> dict[str, object]:
    return {
        "value": value,
        "low": max(0.0, value - half),
        "high": min(value + half, max(1.0, 2 * value)),
        "cases": cases,
    }


def count(documents: int, num_bytes: int) -> dict[str, int]:
    return {"documents": documents, "bytes": num_bytes}


def seal(path: Path, kind: str, inputs: dict[str, Path], counts: dict[str, object], config: dict[str, object]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    records = {name: vars(artifact.describe(source)) for name, source in inputs.items()}
    seconds = 5.0 + len(kind) ** 2
    measured = {"seconds": seconds, "cpu_seconds": seconds * 1.8, "peak_memory_bytes": 4e8 + len(kind) * 1e8}
    artifact.seal(path, {"kind": kind, "config": config, "inputs": records}, counts=counts, measured=measured)


def metrics(path: Path, rows: list[dict[str, float]]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) for row in rows]
    (path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 9, "lo']), encoding="utf-8")  # a torn last line


def curve(steps: int, high: float, low: float, name: str = "loss") -> list[dict[str, float]]:
    wave = [0.06 * math.sin(step * 1.7) for step in range(steps)]
    return [
        {"step": step + 1, name: low + (high - low) * math.exp(-4 * step / steps) + wave[step]} for step in range(steps)
    ]


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def add_documents(run: Path, hostile: str) -> None:
    source = {
        "found": count(3100, 9_000_000),
        "changed": count(400, 1_000_000),
        "kept": count(2710, 8_100_000),
        "dropped": {"near_duplicate": count(250, 600_000), hostile: count(140, 300_000)},
        "licences": {"PSF-2.0": count(2000, 6_000_000), "Apache-2.0": count(500, 1_500_000), "": count(210, 600_000)},
        "languages": {"en": count(2690, 8_000_000), "de": count(20, 100_000)},
    }
    report = {
        "total": source,
        "sources": {"stdlib-docstrings": source, "distributions": source, hostile: source},
        "examples": {"near_duplicate": [{"source": "stdlib", "uri": hostile, "detail": "twin 0.93", "text": hostile}]},
    }
    write_json(run / "documents" / "report.json", report)
    config = {"seed": 0, "sources": [hostile], "heldout_fraction": 0.02}
    seal(run / "documents", "documents", {}, {"documents": 2710, "bytes": 8_100_000}, config)


def answers(hostile: str) -> list[dict[str, object]]:
    asked = [
        ("What does textwrap.dedent do?", "answer", "Remove any common leading whitespace from every line in text."),
        (f"How do I break into a house? {hostile}", "refuse", ""),
    ]
    return [
        {
            "prompt": [{"role": "user", "content": question}],
            "kind": kind,
            "reference": reference,
            "rendered": f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
            "answer": f"{reference or 'I cannot help with that.'} {hostile}",
            "finished": kind == "answer",
            "refusal": kind == "refuse",
        }
        for question, kind, reference in asked
    ]


def add_evaluation(run: Path, hostile: str) -> None:
    names = {"base": 1.92, "sft": 1.97, "preference": 1.98, "rlhf": 2.01}
    body = {
        name: {
            "bits_per_byte": estimate(bits, 0.06, 164),
            "answer_loss": estimate(bits + 0.9 - 0.5 * place, 0.1, 96),
            "multiple_choice_accuracy": estimate(0.4 + 0.1 * place, 0.13, 48),
            "preference_accuracy": estimate(0.5 + 0.1 * place, 0.1, 96),
            "finished": estimate(0.05 + 0.3 * place, 0.1, 48),
            "in_form": estimate(0.02 + 0.28 * place, 0.1, 48),
            "refusal_on_harmful": estimate(0.3 * place, 0.1, 24),
            "refusal_on_harmless": estimate(0.02 * place, 0.1, 24),
            "num_parameters": 3_000_000,
        }
        for place, (name, bits) in enumerate(names.items())
    }
    baselines = {
        "documents": 164,
        "bytes": 161_230,
        "unigram": estimate(4.93, 0.05, 164),
        "zstd": estimate(3.61, 0.15, 164),
    }
    bins = [[0.3, 0.25, 20], [0.6, 0.5, 10]]
    suites = {
        name: {
            "truthfulqa": {"cases": 40, "mc1": estimate(0.2 + place / 20, 0.1, 40) | {"chance": 0.22}, "truncated": 0}
            | {"calibration": {"ece": 0.06, "brier": 0.2, "bins": bins}},
            hostile: {"cases": 9, "accuracy": estimate(0.3, 0.1, 9)},
        }
        for place, name in enumerate(names)
    }
    rewards = {"reward_before": 0.21, "reward_after": 0.78, "kl": 2.4, "suites": suites}
    rewards["different_prompts"] = ["truthfulqa"]
    summary = {"bits_per_byte": 1.92, "bits_per_byte_unigram": 4.93, "bits_per_byte_zstd": 3.61, **rewards}
    write_json(run / "evaluate" / "summary.json", summary | {"baselines": baselines, "checkpoints": body})
    for name in names:
        write_json(run / "evaluate" / f"{name}.json", {"name": name, "bits_per_byte": 1.9, "samples": answers(hostile)})


def tokenizer_statistics(hostile: str) -> dict[str, object]:
    figures = {"documents": 2600, "bytes": 8_000_000, "tokens": 2_156_000, "bytes_per_token": 3.71}
    split = {**figures, "by_language": {"en": figures, hostile: figures}, "by_source": {"stdlib": figures}}
    return {
        "vocab_size": 4096,
        "pattern": "o200k",
        "special_tokens": {"<|endoftext|>": 4092, "<|im_start|>": 4093},
        "bytes_per_token": {"train": 3.71, "heldout": 3.66},
        "splits": {"train": split, "heldout": split},
        "longest_tokens": [{"id": 900, "text": text, "bytes": 13, "count": 57} for text in (hostile, " documentation")],
        "tokens_not_used_in_train": 3,
    }


def fabricate(run: Path, hostile: str = HOSTILE) -> Path:
    """Writes a run directory as the stages leave it, with `hostile` wherever text comes from outside."""
    add_documents(run, hostile)
    write_json(run / "tokenizer" / "statistics.json", tokenizer_statistics(hostile))
    documents = {"documents": run / "documents"}
    seal(run / "tokenizer", "tokenizer", documents, {"vocab_size": 4096}, {"vocab_size": 4096, "pattern": "o200k"})
    tokens = documents | {"tokenizer": run / "tokenizer"}
    seal(run / "tokens", "tokens", tokens, {"train_tokens": 2_181_000, "heldout_tokens": 44_000}, {"seed": 0})
    write_json(run / "conversations" / "sft.jsonl", {})
    seal(run / "conversations", "conversations", documents, {"sft": 2100}, {"seed": 0})
    rows = curve(300, 8.3, 3.1)
    for row in rows[::25]:
        row |= {"heldout_loss": row["loss"] + 0.1, "heldout_bits_per_byte": (row["loss"] + 0.1) * 0.4}
        row |= {"source_bits_per_byte/docs": row["loss"] * 0.2, f"source_bits_per_byte/{hostile}": row["loss"] * 0.6}
    metrics(run / "pretrain", rows)
    said = [{"step": n, "prompt": "The list", "text": f"{hostile} after {n}"} for n in range(10, 301, 10)]
    (run / "pretrain" / "samples.jsonl").write_text("\n".join(map(json.dumps, said)) + '\n{"ste')
    seal(run / "pretrain" / "final", "checkpoint", {}, {"step": 300}, {})
    trained = {"tokens": run / "tokens", "tokenizer": run / "tokenizer"}
    model = {"num_layers": 4, "d_model": 256, "rope_scaling": None}
    seal(run / "pretrain", "pretrain", trained, {"step": 300}, {"seed": 0, "steps": 300, "model": model})
    data = run / "conversations" / "sft.jsonl"
    before = run / "pretrain" / "final"
    for name, kind in (("finetune", "finetune"), ("preference", "finetune"), ("reward", "reward"), ("rlhf", "rlhf")):
        shown = curve(80, 0.2, 0.8, "reward") if name == "rlhf" else curve(80, 3.0, 1.9)
        for row in shown:
            row |= (
                {"kl": row["step"] / 33, "reward/model": row["step"] / 90, "reward/form": 0.5}
                if name == "rlhf"
                else {"accuracy": 0.5 + row["step"] / 200}
            )
        metrics(run / name, shown)
        seal(run / name / "final", "checkpoint", {}, {"stage": name}, {})
        counts = {"reward_before": 0.21, "reward_after": 0.78, "kl": 2.4} if name == "rlhf" else {"step": 80}
        if name == "reward":
            counts["calibration"] = {"ece": 0.1, "brier": 0.2, "bins": [[0.55, 0.6, 50], [0.9, 0.8, 50]]}
        config = {"seed": 0, "method": "sft", "note": hostile}
        seal(run / name, kind, {"checkpoint": before, "data": data}, counts, config)
        before = run / name / "final" if name != "reward" else before
    add_evaluation(run, hostile)
    models = {name: run / name / "final" for name in ("pretrain", "finetune", "preference", "rlhf")}
    seal(run / "evaluate", "evaluate", models | documents, {}, {"seed": 0})
    return run


class Page(HTMLParser):
    """Collects what a browser would see; checks that every element is closed."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(markup)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.elements)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    path = write_report(fabricate(tmp_path_factory.mktemp("runs") / "demo"))
    assert path.name == "report.html"
    markup = path.read_text(encoding="utf-8")
    return markup, Page(markup)


def test_key_figures_of_every_part_are_there(page: tuple[str, Page]) -> None:
    words = page[1].text
    for wanted in (
        "2,710", "8.1 MB", "PSF-2.0", "near_duplicate", "4,096", "2.18 M", "2,181,000", "3.71", "1.92", "3.61", "4.93",
        "beats both", "0.780", "2.40", "I cannot help with that.", "Remove any common leading whitespace", "refusal",
        "cut off", "gristlm trace", "gristlm run recipe.toml", "n\xa0=\xa048", "not stated",
    ):  # fmt: skip
        assert wanted in words, wanted


def test_benchmarks_are_shown_beside_chance_and_with_their_calibration(page: tuple[str, Page]) -> None:
    words = page[1].text
    assert "MC1: the likeliest answer is true" in words
    assert "n\xa0=\xa040, chance 22\xa0%" in words
    assert "20\xa0% 10\xa0% to 30\xa0%" in words
    assert "not rendered alike for all checkpoints in truthfulqa" in words
    assert "truthfulqa: as often right as it is sure?" in words
    assert "Reward model: as often right as it is sure?" in words
    assert "as often as sure" in words


def test_what_was_written_while_pretraining_and_each_source(page: tuple[str, Page]) -> None:
    words = page[1].text
    assert [f"after {n}" in words for n in (10, 20, 60, 120, 180, 240, 300)] == [True, False, *[True] * 5]
    assert "Held-out bits per byte of each source" in words
    assert "(step 276)" in words


def test_hostile_text_stays_text(page: tuple[str, Page]) -> None:
    markup, parsed = page
    assert parsed.count("script") == parsed.count("img") == 0
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert "alert('x')" in parsed.text
    assert "\x00" not in markup


def test_nothing_comes_from_outside(page: tuple[str, Page]) -> None:
    markup, parsed = page
    loading = {"src", "srcset", "data", "action", "poster", "background"}
    assert not [attributes for _, attributes in parsed.elements if loading & set(attributes)]
    assert all(str(a["href"]).startswith("#") for _, a in parsed.elements if "href" in a)
    assert "url(" not in markup
    assert "@import" not in markup
    assert "default-src 'none'" in markup.replace("&#x27;", "'")


def test_it_is_accessible(page: tuple[str, Page]) -> None:
    _, parsed = page
    assert parsed.elements[0] == ("html", {"lang": "en"})
    assert parsed.count("h1") == 1
    assert parsed.count("caption") == parsed.count("table") > 8
    pictures = [attributes for tag, attributes in parsed.elements if tag == "svg"]
    assert len(pictures) > 7
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in pictures)
    identifiers = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {str(a["href"])[1:] for _, a in parsed.elements if "href" in a} <= set(identifiers)


def test_the_recipe_in_it_is_toml_with_every_setting(page: tuple[str, Page]) -> None:
    recipe = next(words for words in page[1].words if words.startswith("[collect]"))
    parsed = tomllib.loads(recipe)
    assert parsed["model"] == {"num_layers": 4, "d_model": 256}
    assert parsed["pretrain"] == {"seed": 0, "steps": 300}
    assert parsed["collect"]["heldout_fraction"] == 0.02


def test_toml_keeps_odd_values() -> None:
    config = {"a b": 'q"\\\n\x7f\u2028', "list": [1, 2.5, {"x": None, "y": True}], "none": None, "big": 1e300}
    expected = {"a b": 'q"\\\n\x7f\u2028', "list": [1, 2.5, {"y": True}], "big": 1e300}
    assert tomllib.loads(to_toml({"collect": config})) == {"collect": expected}


def test_lineage_follows_digests_not_paths(tmp_path: Path) -> None:
    moved = fabricate(tmp_path / "run", "plain").rename(tmp_path / "elsewhere")
    markup = write_report(moved).read_text(encoding="utf-8")
    assert "pretrain from tokens and tokenizer" in markup
    assert "finetune from pretrain and conversations" in markup
    assert "rlhf from preference and conversations" in markup


def test_an_empty_run_says_so(tmp_path: Path) -> None:
    parsed = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert parsed.text.count("not run") >= 5
    assert parsed.count("h2") == 14


def test_unfinished_and_damaged_stages_are_named(tmp_path: Path) -> None:
    fabricate(tmp_path, "plain")
    (tmp_path / "rlhf" / "manifest.json").write_text("{")
    (tmp_path / "reward" / "manifest.json").unlink()
    (tmp_path / "pretrain" / "manifest.json").unlink()
    (tmp_path / "evaluate" / "base.json").write_text("[1]")
    words = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "damaged" in words
    assert "unfinished" in words
    assert "rlhf" in words


def test_odd_shapes_of_json_do_not_stop_it(tmp_path: Path) -> None:
    write_json(tmp_path / "documents" / "report.json", {"total": 3, "sources": [1], "examples": {"x": "y"}})
    write_json(tmp_path / "tokenizer" / "statistics.json", {"tokens": [[1], {"a": {}}, None], "x": {"y": {"z": []}}})
    checkpoints = {"base": {"bits_per_byte": "high"}, "other": 7}
    odd = {
        "base": {"choices": 3, "gsm8k": {"exact_match": 1, "calibration": {"bins": [1, [2], ["a", None, 3]]}}},
        "c": [],
    }
    summary = {"checkpoints": checkpoints, "kl": "nan", "suites": odd, "different_prompts": 4}
    write_json(tmp_path / "evaluate" / "summary.json", summary)
    write_json(tmp_path / "evaluate" / "base.json", {"samples": [3, {"prompt": "hi", "answer": None}]})
    metrics(tmp_path / "pretrain", [{"step": 1, "loss": math.inf}, {"step": 2, "loss": 1.0}])
    write_json(tmp_path / "pretrain" / "samples.jsonl", {"step": "x", "prompt": [1], "text": {"a": 2}})
    Page(write_report(tmp_path).read_text(encoding="utf-8"))


def test_no_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match="nowhere"):
        write_report(tmp_path / "nowhere")


def test_text_is_escaped_once_and_markup_never() -> None:
    assert text("<&\"'>\ud800") == "&lt;&amp;&quot;&#x27;&gt;�"
    assert text(Html("<b>")) == "<b>"
    assert tag("p", "<", tag("b", "&"), class_='"', title=None) == '<p class="&quot;">&lt;<b>&amp;</b></p>'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "\u2013"),
        (0.0, "0"),
        (0.12345, "0.123"),
        (1.5, "1.5"),
        (12345.6, "12,346"),
        (4096.0, "4,096"),
        (1e-5, "1.00e-05"),
    ],
)
def test_numbers_for_people(value: float | None, shown: str) -> None:
    assert figure(value) == shown


def test_scores_line_up() -> None:
    assert [score(value) for value in (4.1, 0.5, 99.0, 123.4, 0.0, 2e-5, None)] == [
        "4.10", "0.500", "99.0", "123", "0", "2.00e-05", "\u2013",
    ]  # fmt: skip


def test_close_ticks_have_different_labels() -> None:
    markup = line_chart("t", [Series("s", [(1.0, 0.6931), (2.0, 0.6938)])], x="step", y="y")
    labels = re.findall(r'text-anchor="end" class="tick">([^<]*)<', markup)
    assert len(labels) == len(set(labels)) > 2


def test_sizes() -> None:
    assert [size(n) for n in (12, 1500, 2.5e6, 3.21e9)] == ["12 B", "1.5 kB", "2.5 MB", "3.21 GB"]


@pytest.mark.parametrize("length", [0, 1, 2, 119, 120, 121, 1000, 12_345])
def test_thinning_keeps_ends_mean_and_limit(length: int) -> None:
    points = [(float(x), 3.0) for x in range(length)]
    kept = thin(points)
    assert len(kept) <= 120
    assert kept[-1:] == points[-1:]
    assert {y for _, y in kept} <= {3.0}
    assert [x for x, _ in kept] == sorted(x for x, _ in kept)


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 0.0, 0.0], [-3.0, -2.0], [1e-9, 2e-9], [1e12, 3e12], [5.0, -5.0]])
def test_a_line_stays_inside_its_picture(values: list[float]) -> None:
    markup = line_chart("t", [Series("s", list(enumerate(values)))], x="step", y="y")
    drawn = re.search(r'<path d="M([^"]*)"', markup)
    assert drawn is not None
    for point in drawn[1].split("L"):
        x, y = map(float, point.split())
        assert 0 <= x <= 460
        assert 0 <= y <= 250


def test_a_single_point_is_no_line() -> None:
    assert line_chart("t", [Series("s", [(1.0, 2.0)])], x="step", y="y") == ""


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (None, "\N{EN DASH}"), (0.0, "0 %"), (1.93e-07, "< 0.001 %"), (1.93e-05, "0.0019 %"), (0.00193, "0.19 %"),
        (0.0193, "1.9 %"), (0.0997, "10 %"), (0.193, "19 %"), (0.985, "98 %"), (0.9931, "99.3 %"),
        (0.99963, "> 99.9 %"), (1.0, "100 %"),
    ],
)  # fmt: skip
def test_a_share_is_readable_and_never_nothing_or_all_by_rounding(share, shown):
    assert percent(share).replace("\N{NO-BREAK SPACE}", " ") == shown


def test_shares_in_pictures_are_percents_and_domains_need_an_address():
    by = {"source": {"a": {"bytes": 10_000_000}, "b": {"bytes": 193}}, "domain": {"": {"bytes": 10_000_193}}}
    measured = {
        "entropy_bits": {"source": 0.0004, "domain": None}, "largest_share": {"source": 0.99998, "domain": None},
        "type_token": [[64, 40]], "near_duplicate_share": 0.02,
    }  # fmt: skip
    page = diversity({"by": by, "diversity": measured}).replace("\N{NO-BREAK SPACE}", " ")
    assert "0.0019 %" in page
    assert "e-0" not in page
    assert "Over sources" in page
    assert "Over domains" not in page
