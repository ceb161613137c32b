// The progress page: counts, pace and agreement, read again every few seconds. Text is only ever set as text.
import { call, find } from "./page.js";

const SVG = "http://www.w3.org/2000/svg";
const EVERY_MS = 5000;
const figure = (value) => (value === null ? "–" : value.toFixed(2));

function rows(table, lines) {
  table.hidden = lines.length === 0;
  table.tBodies[0].replaceChildren(...lines.map((line) => {
    const row = document.createElement("tr");
    for (const value of line) row.insertCell().textContent = String(value);
    return row;
  }));
}

function draw(name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

// A row per model: its figure as a dot, its interval as a line.
function plot(models) {
  const low = Math.min(...models.map((one) => one.low));
  const high = Math.max(...models.map((one) => one.high));
  const across = (value) => 200 + ((value - low) / Math.max(high - low, 1)) * 340;
  const label = models.map((one) => `${one.model} ${one.elo.toFixed(0)}`).join(", ");
  const picture = draw("svg", { viewBox: `0 0 600 ${models.length * 28 + 8}`, role: "img", "aria-label": `Elo: ${label}` });
  models.forEach((one, place) => {
    const y = place * 28 + 18;
    picture.append(
      draw("text", { x: 190, y: y + 4, "text-anchor": "end" }, one.model.length > 26 ? `…${one.model.slice(-25)}` : one.model),
      draw("line", { x1: across(one.low), x2: across(one.high), y1: y, y2: y }),
      draw("circle", { cx: across(one.elo), cy: y, r: 5 }),
      draw("text", { x: across(one.high) + 8, y: y + 4 }, one.elo.toFixed(0)),
    );
  });
  return picture;
}

async function refresh() {
  try {
    const answer = await call("/api/progress");
    const { progress, overlap, annotators, cohen_kappa: kappas, krippendorff_alpha: alpha, rating_alpha: ratingAlpha, rated, models } = answer;
    find("status").textContent = `${progress.done} of ${progress.pairs} pairs judged` + (overlap > 1 ? ` by ${overlap} annotators each` : "");
    rows(find("annotators"), annotators.map((one) => [
      one.name, one.votes, one.left, one.right, one.tie, one.both_bad, one.ranked, one.rated, one.skip, `${one.median_seconds.toFixed(1)} s`,
      one.gold_asked ? `${one.gold_right} of ${one.gold_asked}` : "–",
    ]));
    rows(find("agreement"), kappas.map((one) => [one.annotators.join(" and "), one.pairs, figure(one.kappa)]));
    find("alpha").hidden = annotators.length < 2;
    find("alpha").textContent = `Krippendorff's α of all: ${figure(alpha)} (1 is full agreement, 0 is chance)`;
    find("rating-alpha").hidden = ratingAlpha === null;
    find("rating-alpha").textContent = ratingAlpha === null ? "" : `Krippendorff's α of the ratings: ${figure(ratingAlpha)} (interval metric)`;
    find("rated-section").hidden = rated.length === 0;
    rows(find("rated"), rated.map((one) => [one.model, one.mean.toFixed(2), one.count]));
    find("models").hidden = models.length === 0;
    rows(find("ratings"), models.map((one) => [
      one.model, one.elo.toFixed(0), `${one.low.toFixed(0)} to ${one.high.toFixed(0)}`, one.comparisons,
    ]));
    find("plot").replaceChildren(...(models.length ? [plot(models)] : []));
  } catch (error) {
    find("status").textContent = String(error.message);
  }
}
refresh();
setInterval(refresh, EVERY_MS);
