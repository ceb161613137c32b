"""What the report shows of RL: entropy and length beside reward and KL, limits, alarms, and win rates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristlm.runs import artifact
from gristlm.runs.report import write_report

STOPPED = "the second reward fell from 1.000 after step 4 to 0.100"


def rows() -> list[dict[str, float]]:
    lines: list[dict[str, float]] = [{"step": 0, "check_second_reward": 0.5, "check_second_std": 1.0}]
    for step in range(1, 9):
        lines.append({
            "step": step, "reward": step / 8, "kl": step / 2, "entropy": 2 - step / 5, "completion_tokens": 10 + step,
            "repetition": step / 100, "check_second_reward": 1.0 if step < 5 else 0.1, "check_reward": step / 8,
            "check_kl_k1": step / 2,
        })  # fmt: skip
    return lines


def seal(path: Path, config: dict[str, object], counts: dict[str, object], arms: list[str] | None = None) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    started = {"kind": "rlhf", "config": config, "inputs": {}}
    artifact.seal(path, started, counts=counts, measured={}, apart=arms or ())


GUARDED = {"max_kl": 8.0, "min_entropy": 0.5, "max_length_ratio": 1.5, "max_repetition": 0.5, "max_second_drop": 0.3}


def test_limits_alarms_and_what_stopped_the_run_are_shown(tmp_path: Path) -> None:
    seal(tmp_path / "rlhf", dict(GUARDED), {"steps": 8, "stopped": STOPPED, "rolled_back_to": 4})
    page = write_report(tmp_path).read_text(encoding="utf-8")
    for title in ("Entropy", "Answer length", "Repetition", "Both rewards as the policy moves away"):
        assert f"<strong>{title}</strong>" in page
    for limit in ("max_kl 8.00", "min_entropy 0.500", "max_length_ratio 16.5", "max_repetition 0.500"):
        assert limit in page, limit
    assert f"stopped after step 8: {STOPPED}" in page
    assert "rolled back to step 4, the best check" in page
    table = page[page.index("Guards against reward hacking") :]
    table = table[: table.index("</table>")]
    verdicts = [line.split("</td>")[0] for line in table.split("<td")[1:]]
    words = [verdict.split(">")[-1] for verdict in verdicts]
    assert words.count("within") == 2  # kl and repetition
    assert words.count("alarm") == 3  # entropy 0.4, length 18/11, second reward


def test_each_arm_has_its_own_alarms(tmp_path: Path) -> None:
    seal(tmp_path / "rlhf" / "free", {"max_second_drop": 0.3}, {"steps": 8, "stopped": "", "rolled_back_to": None})
    seal(tmp_path / "rlhf" / "safe", dict(GUARDED), {"steps": 8, "stopped": STOPPED, "rolled_back_to": 4})
    seal(tmp_path / "rlhf", {}, {"steps": 8, "stopped": ""}, ["free", "safe"])
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "safe: stopped after step 8" in page
    assert "free: stopped" not in page
    assert "free: fall of the second reward" in page
    assert "Entropy, by arm" in page


@pytest.mark.parametrize("win_rates", [[], [3, {"of": "<b>x"}], "no"])
def test_win_rates_are_a_table_and_odd_ones_do_not_stop_it(win_rates: object, tmp_path: Path) -> None:
    estimate = {"value": 0.7, "low": 0.6, "high": 0.8}
    good = {"of": "rlhf", "against": "sft", "by": "judge", "cases": 40, "win_rate": estimate}
    good |= {"length_controlled": {"value": 0.55, "low": 0.45, "high": 0.65}}
    given = [*win_rates, good] if isinstance(win_rates, list) else win_rates
    summary = {"checkpoints": {"base": {"bits_per_byte": {"value": 2.0}}}, "win_rates": given}
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate" / "summary.json").write_text(json.dumps(summary))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert ("wins at equal length" in page) == isinstance(win_rates, list)
    assert ("45\N{NO-BREAK SPACE}% to 65\N{NO-BREAK SPACE}%" in page) == isinstance(win_rates, list)
    assert "<b>x" not in page
