"""llama.cpp reads our GGUF files and goes on as we do."""

import json
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_model

from gristlm import Tokenizer
from gristlm.errors import InputError, MissingArtifactError
from gristlm.model import Model, RopeScaling
from gristlm.model.gguf import export

pytest.importorskip("gguf")
TEXT = "the cat sat on the mat and the dog sat on the log " * 20


def checkpoint(path: Path, **fields: object) -> Path:
    tokenizer = Tokenizer.train([TEXT], vocab_size=290, pattern="gpt2", special_tokens=["<|endoftext|>"])
    model = tiny_model(vocab_size=tokenizer.vocab_size, eos_token_ids=(0,), **fields)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    ids = torch.tensor([tokenizer.encode(TEXT)[:96]])
    for _ in range(40):  # until the likeliest token is so by far
        loss, _ = model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(path)
    tokenizer.save(path / "tokenizer.json")
    return path


@pytest.mark.parametrize(
    "fields",
    [
        {"qk_norm": False, "num_kv_heads": 2},
        {
            "qk_norm": False,
            "tie_embeddings": False,
            "rope_scaling": RopeScaling(kind="llama3", factor=8.0, original_max_seq_len=32),
        },
        {"qk_norm": True, "num_kv_heads": 2, "head_dim": 32},
        {"qk_norm": False, "qkv_bias": True},
        {"num_experts": 4, "num_experts_per_token": 2, "expert_d_ff": 32, "head_dim": 32},
    ],
)
def test_llama_cpp_goes_on_as_we_do(tmp_path: Path, fields: dict[str, object]) -> None:
    xllamacpp = pytest.importorskip("xllamacpp")
    source = checkpoint(tmp_path / "model", **fields)
    export(source, tmp_path / "model.gguf", dtype="f32")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(tmp_path / "model.gguf")
    parameters.n_ctx, parameters.n_parallel, parameters.warmup, parameters.cpuparams.n_threads = 128, 1, False, 1
    server = xllamacpp.Server(parameters)
    tokenizer = Tokenizer.from_file(source)
    prompt = tokenizer.encode("the cat sat")
    request = {"prompt": "the cat sat", "max_tokens": 16, "temperature": 0, "ignore_eos": True}
    answer = server.handle_completions(request)
    body = answer if isinstance(answer, dict) else json.loads(answer)
    ours = Model.from_pretrained(source).generate([prompt], max_new_tokens=16, temperature=0, ignore_eos=True)
    assert body["usage"]["prompt_tokens"] == len(prompt)
    assert body["choices"][0]["text"] == tokenizer.decode(ours[0][0].tokens)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tiny_model(activation="relu2", smear=True).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="smear"):
        export(tmp_path, tmp_path / "out.gguf")
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(MissingArtifactError, match=r"tokenizer\.json"):
        export(tmp_path, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("*gguf*"))
