// The live report: drawn anew when the run's files change; a click on a pretraining step shows its documents.
import { call, find, make } from "./page.js";

const EVERY_MS = 2000;
const opened = () => [...document.querySelectorAll("#main details")].map((one) => one.open);
let version = null;
let sampled = "";

// Asks for the page as a document: the server escaped it, and scripts in it do not run.
function fetchPage() {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("GET", "/");
    request.responseType = "document";
    request.onload = () => (request.status === 200 ? done(request.response) : failed(new Error(`the server answered ${request.status}`)));
    request.onerror = () => failed(new Error("the server does not answer"));
    request.send();
  });
}

async function refresh() {
  try {
    const { version: now, samples } = await call("/api/version");
    if (samples !== sampled) {
      sampled = samples;
      showSamples((await call("/api/samples")).samples);
    }
    if (version !== null && now !== version) {
      const [was, at] = [opened(), scrollY];
      find("main").replaceWith(document.adoptNode((await fetchPage()).getElementById("main")));
      document.querySelectorAll("#main details").forEach((one, place) => { one.open = was[place] ?? false; });
      scrollTo(0, at);
      listenToPoints();
    }
    version = now;
    find("live").textContent = "Live: drawn anew as the run goes on.";
  } catch (error) {
    find("live").textContent = `Not live: ${error.message}`;
  }
  setTimeout(refresh, EVERY_MS);
}

function showSamples(samples) {
  find("live-samples").hidden = samples.length === 0;
  find("live-sample-list").replaceChildren(...samples.map((one) => make("article", {},
    make("h3", { textContent: `${one.stage}, step ${one.step.toLocaleString("en")}: ${one.prompt}` }),
    make("pre", { dir: "auto", textContent: one.answer || "(empty)" }))));
}

async function show(step) {
  find("step-number").value = step;
  find("step-status").textContent = `Step ${step}: reading…`;
  try {
    const { documents } = await call(`/api/step/${encodeURIComponent(step)}`);
    const tokens = documents.reduce((sum, one) => sum + one.tokens, 0);
    find("step-status").textContent = `Step ${step}: ${documents.length} documents, ${tokens.toLocaleString("en")} tokens.`;
    find("step-documents").hidden = false;
    find("step-documents").tBodies[0].replaceChildren(...documents.map((one) => make("tr", {},
      ...[one.document_id, one.licence ?? "unknown", one.source ?? "unknown", one.uri ?? "", one.tokens]
        .map((value) => make("td", { textContent: String(value) })))));
  } catch (error) {
    find("step-status").textContent = error.message;
    find("step-documents").hidden = true;
  }
}

// The points of the pretraining charts carry "NAME, step N: VALUE" as their title.
function listenToPoints() {
  for (const figure of document.querySelectorAll("#curves figure")) {
    if (!/^(Pretraining|Bits per byte)/.test(figure.textContent)) continue;
    for (const point of figure.querySelectorAll("circle.hit")) {
      const step = /step ([\d,]+)/.exec(point.textContent)?.[1].replaceAll(",", "");
      if (step) point.addEventListener("click", () => {
        show(step);
        find("steps").scrollIntoView();
      });
    }
  }
}

find("step-form").addEventListener("submit", (event) => {
  event.preventDefault();
  show(find("step-number").value);
});
listenToPoints();
refresh();
