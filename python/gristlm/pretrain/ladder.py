"""A small scaling-law tool: train a ladder of sizes on the same tokens, fit a curve, draw it, predict a larger model.

The fit is L(N) = E + A / N^alpha (Kaplan et al., arXiv 2001.08361, section 3.1, with the irreducible loss E of Hoffmann
et al., arXiv 2203.15556, section 3.3), N being the weights, each rung trained on the same number of tokens per weight.
E is found on a grid, A and alpha by least squares in the logarithm: there is no starting point to get wrong (ours).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from gristlm.errors import InputError
from gristlm.model.config import ModelConfig
from gristlm.pretrain.config import PretrainConfig
from gristlm.runs import progress
from gristlm.runs.files import write_atomic, write_json
from gristlm.tokenize import Tokenizer

FLOORS = 200
"""Irreducible losses that are tried, from 0 to just below the lowest measured."""


@dataclasses.dataclass(frozen=True)
class Rung:
    """One size."""

    parameters: int
    tokens: int
    loss: float
    """Held-out, in nats per token."""
    bits_per_byte: float


@dataclasses.dataclass(frozen=True)
class Fit:
    """L(N) = floor + scale / N^exponent."""

    floor: float
    scale: float
    exponent: float
    error: float
    """Root of the mean square of the logarithm's residuals."""

    def predict(self, parameters: float) -> float:
        """Returns the held-out loss, nats per token, of a model of `parameters` weights."""
        return float(self.floor + self.scale / parameters**self.exponent)


def fit(rungs: Sequence[Rung]) -> Fit:
    """Returns the curve through the rungs.

    Raises:
        InputError: there are fewer than three sizes, or the loss does not fall with size.
    """
    if len({rung.parameters for rung in rungs}) < 3:
        raise InputError(f"a fit needs three sizes or more, there are {len({rung.parameters for rung in rungs})}")
    lowest = min(rung.loss for rung in rungs)
    best: Fit | None = None
    for step in range(FLOORS):
        floor = lowest * step / FLOORS
        xs = [math.log(rung.parameters) for rung in rungs]
        ys = [math.log(rung.loss - floor) for rung in rungs]
        slope, intercept = _line(xs, ys)
        residuals = [y - intercept - slope * x for x, y in zip(xs, ys, strict=True)]
        error = math.sqrt(math.fsum(r * r for r in residuals) / len(residuals))
        # Residuals of log(L - E) shrink with L - E left out; they are compared on the scale of L itself.
        error *= math.exp(math.fsum(ys) / len(ys)) / lowest
        if slope < 0 and (best is None or error < best.error):
            best = Fit(floor, math.exp(intercept), -slope, error)
    if best is None:
        raise InputError(
            "the held-out loss does not fall with size; train longer (--tokens-per-weight) or check the data"
        )
    return best


def rung_config(base: PretrainConfig, tokenizer_vocab: int, width: int, tokens_per_weight: float) -> PretrainConfig:
    """Returns the settings of one size: heads of 32, one layer per 32 of width (at least 2), the rest as in `base`."""
    heads = max(1, width // 32)
    shape = ModelConfig.model_validate(
        base.model.model_dump()
        | {"num_layers": max(2, heads), "d_model": 32 * heads, "num_heads": heads, "num_kv_heads": None,
           "head_dim": None, "d_ff": None, "vocab_size": tokenizer_vocab}
    )  # fmt: skip
    per_step = base.global_batch_size * base.seq_len
    steps = max(10, round(shape.num_parameters() * tokens_per_weight / per_step))
    shape = shape.model_copy(update={"vocab_size": base.model.vocab_size})
    return base.model_copy(
        update={
            "model": shape,
            "steps": steps,
            "warmup_steps": max(1, steps // 20),
            "evaluate_every": steps,
            "checkpoint_every": max(1, steps // 4),
        }
    )


def run(
    base: PretrainConfig,
    inputs: Mapping[str, Path],
    output_dir: Path,
    *,
    widths: Sequence[int] = (32, 64, 96, 128),
    tokens_per_weight: float = 20.0,
    predict: int | None = None,
) -> Fit:
    """Trains each size into `output_dir/width-N`, writes `ladder.json` and `ladder.svg`, and returns the fit.

    A rung that is complete is not trained again; one that was cut off goes on.

    Args:
        base: settings of every rung, its shape and its steps aside.
        inputs: as of the pretrain stage.
        output_dir: the ladder's directory.
        widths: multiples of 32, three or more.
        tokens_per_weight: of each rung; about 20 is what Hoffmann et al. found best.
        predict: a number of weights to predict the loss of.

    Raises:
        InputError: fewer than three widths, a width that is no multiple of 32, or losses that cannot be fitted.
    """
    from gristlm.pretrain.loop import run as train

    if len(set(widths)) < 3 or any(width < 32 or width % 32 for width in widths):
        raise InputError(f"widths are {list(widths)}; give three or more different multiples of 32")
    vocab_size = Tokenizer.from_file(inputs["tokenizer"]).vocab_size
    rungs = []
    for width in sorted(set(widths)):
        config = rung_config(base, vocab_size, width, tokens_per_weight)
        counts = train(config, inputs, output_dir / f"width-{width:04d}").counts
        figures = [float(str(counts[name])) for name in ("heldout_loss", "heldout_bits_per_byte")]
        rungs.append(Rung(int(str(counts["parameters"])), int(str(counts["tokens"])), *figures))
    fitted = fit(rungs)
    body = {"rungs": [dataclasses.asdict(rung) for rung in rungs], "fit": dataclasses.asdict(fitted)}
    if predict is not None:
        body["prediction"] = {"parameters": predict, "loss": fitted.predict(predict)}
    write_json(output_dir / "ladder.json", json.loads(json.dumps(body)))
    write_atomic(output_dir / "ladder.svg", to_svg(rungs, fitted, predict))
    progress.say(to_text(rungs, fitted, predict))
    return fitted


def to_text(rungs: Sequence[Rung], fitted: Fit, predict: int | None) -> str:
    """Returns the ladder for a terminal."""
    lines = [f"{'weights':>14} {'tokens':>14} {'held-out loss':>14} {'fit':>8} {'bits/byte':>10}"]
    for rung in rungs:
        lines.append(
            f"{rung.parameters:>14,} {rung.tokens:>14,} {rung.loss:>14.4f} {fitted.predict(rung.parameters):>8.4f} "
            f"{rung.bits_per_byte:>10.4f}"
        )
    lines.append(f"loss = {fitted.floor:.3f} + {fitted.scale:.4g} / weights^{fitted.exponent:.3f}")
    if predict is not None:
        lines.append(f"predicted for {predict:,} weights: {fitted.predict(predict):.4f} nats per token")
    return "\n".join(lines)


def to_svg(rungs: Sequence[Rung], fitted: Fit, predict: int | None) -> str:
    """Returns the measured losses, the curve and the prediction as SVG, weights on a logarithmic axis."""
    width, height, left, top, right, bottom = 640, 400, 70, 40, 30, 50
    sizes = [float(rung.parameters) for rung in rungs] + ([float(predict)] if predict else [])
    low, high = math.log10(min(sizes)) - 0.1, math.log10(max(sizes)) + 0.1
    values = [rung.loss for rung in rungs] + [fitted.predict(10**low), fitted.predict(10**high)]
    least, most = min(values) - 0.05, max(values) + 0.05

    def place(size: float, loss: float) -> tuple[float, float]:
        x = left + (math.log10(size) - low) / (high - low) * (width - left - right)
        return x, top + (most - loss) / (most - least) * (height - top - bottom)

    curve = [10 ** (low + (high - low) * part / 80) for part in range(81)]
    points = " ".join("{:.1f},{:.1f}".format(*place(size, fitted.predict(size))) for size in curve)
    marks = []
    for rung in rungs:
        x, y = place(rung.parameters, rung.loss)
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#2563eb"/>')
        marks.append(
            f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">{_short(rung.parameters)}</text>'
        )
    if predict is not None:
        x, y = place(predict, fitted.predict(predict))
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="white" stroke="#d97706" stroke-width="2"/>')
        label = f"{_short(predict)}: {fitted.predict(predict):.3f}"
        marks.append(f'<text x="{x - 8:.1f}" y="{y + 16:.1f}" text-anchor="end">{label}</text>')
    for step in range(5):
        value = least + (most - least) * step / 4
        y = place(10**low, value)[1]
        marks.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        marks.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    font = 'font-family="sans-serif" font-size="12"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {font}>'
        f'<rect width="{width}" height="{height}" fill="white"/>'
        f'<text x="{left}" y="22" font-size="15">Held-out loss (nats per token) by weights</text>'
        f'{"".join(marks)}<polyline points="{points}" fill="none" stroke="#111827" stroke-width="1.5"/>'
        f'<text x="{(left + width - right) / 2}" y="{height - 10}" text-anchor="middle">weights</text></svg>\n'
    )


def _short(parameters: float) -> str:
    for size, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if parameters >= size:
            return f"{parameters / size:.3g}{suffix}"
    return f"{parameters:.0f}"


def _line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Returns slope and intercept of the least-squares line."""
    mean_x, mean_y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    over = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    slope = over / math.fsum((x - mean_x) ** 2 for x in xs)
    return slope, mean_y - slope * mean_x
