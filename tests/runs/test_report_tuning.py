"""The report tells what tuning changed: lengths, general ability, preferences."""

import re

from gristlm.runs import artifact
from gristlm.runs.report import write_report


def seal(path, **counts):
    path.mkdir()
    made_from = {"kind": "finetune", "config": {}, "inputs": {}}
    artifact.seal(path, made_from, counts={"steps": 5, **counts}, measured={})


def cells(markup, name):
    row = re.search(rf"<tr[^>]*><th[^>]*>{name}.*?</tr>", markup, re.S)
    return re.findall(r"<td[^>]*>(.*?)</td>", row[0]) if row else None


def test_each_measure_stands_before_and_after(tmp_path):
    seal(
        tmp_path / "finetune", answer_tokens_before=128.0, answer_tokens_after=31.5, answers_ended_before=0.0,
        answers_ended_after=0.75, pretrain_bits_per_byte_before=1.92, pretrain_bits_per_byte_after=2.04,
        heldout_loss_before=4.0, heldout_loss_after=2.0,
    )  # fmt: skip
    seal(tmp_path / "preference", heldout_accuracy_before=0.5, heldout_accuracy_after=0.625, answer_tokens_after=40.0)
    markup = write_report(tmp_path).read_text()
    assert cells(markup, "Bits per byte on what") == ["1.92", "2.04", "\u2013", "\u2013"]
    assert cells(markup, "Tokens of an answer")[:2] == ["128", "31.5"]
    assert cells(markup, "Tokens of an answer")[3].startswith("40")
    assert [cell.rstrip("%\xa0 ") for cell in cells(markup, "Answers that end by themselves")[:2]] == ["0", "75"]
    assert cells(markup, "Held-out pairs")[2:] != cells(markup, "Held-out pairs")[:2]
    assert cells(markup, "Margin of implicit") is None


def test_a_run_without_tuning_says_so(tmp_path):
    assert "finetune: not run, preference: not run." in write_report(tmp_path).read_text()
