"""The rows of `gristlm bench tokenizer` under pytest-benchmark: encoding per library, then the whole table."""

import pytest

from gristlm.bench import tokenizer, tokenizer_peers
from gristlm.bench.frame import OURS, BenchTable
from gristlm.bench.tokenizer_corpus import Corpus, read_corpus
from gristlm.bench.vocabulary import choose

# A peer of an older way to read its data; the tests' rule that a warning is an error is for us.
pytestmark = pytest.mark.filterwarnings("ignore:open_binary is deprecated:DeprecationWarning")
KINDS = ("english", "multilingual", "code")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return read_corpus(())


@pytest.fixture(scope="module")
def peers(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tokenizer_peers.Peer]:
    vocabulary = choose(None, corpus.english, tmp_path_factory.mktemp("vocabulary"))
    loaded = [tokenizer.ours(vocabulary), *tokenizer_peers.load(None, vocabulary)[0]]
    return {peer.name: peer for peer in loaded}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("library", [OURS, *tokenizer_peers.PEERS])
@pytest.mark.parametrize("pass_", ["cold", "warm"])
def test_encode_documents(benchmark, corpus, peers, kind: str, library: str, pass_: str) -> None:
    if library not in peers:
        pytest.skip(f"{library} is not installed, only trains, or cannot load the vocabulary")
    peer, texts = peers[library], getattr(corpus, kind)[:150]
    expected = tokenizer.encode_each(peers[OURS], texts, peers[OURS].fresh())
    assert [list(ids) for ids in tokenizer.encode_each(peer, texts, peer.fresh())] == expected
    warm = tokenizer.warmed(peer, texts)
    benchmark.extra_info["megabytes"] = tokenizer.size(texts) / 1e6
    benchmark.pedantic(
        lambda own: tokenizer.encode_each(peer, texts, own),
        setup=lambda: (((peer.fresh() if pass_ == "cold" else warm),), {}),
        rounds=3,
    )


@pytest.mark.timeout(900)
def test_the_whole_table(benchmark) -> None:
    table = BenchTable.begin("tokenizer")
    benchmark.pedantic(tokenizer.measure, args=(table, (), None), kwargs={"large": False}, rounds=1)
    benchmark.extra_info["skipped"] = table.skipped
    benchmark.extra_info["rows"] = [
        {"task": row.task, "library": row.library, "figure": row.figure, "unit": row.unit, "ratio": row.ratio}
        for row in table.rows
    ]
    benchmark.extra_info["ratios"] = {
        f"{row.task}: {row.library}": row.ratio for row in table.rows if row.library != OURS
    }
    assert table.rows
