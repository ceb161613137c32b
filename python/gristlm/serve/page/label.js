// The labelling page: shows a pair, takes a vote by mouse or key. Text is only ever set as text, never as HTML.
import { call, find } from "./page.js";
import { press, ranks, showAnswers } from "./ranking.js";

const KEYS = { 1: "left", 2: "right", 3: "tie", 4: "both_bad" };
const QUESTIONS = { pair: "Which answer is better?", ranking: "Which answer is best, which next?", rating: "How good is this answer?" };
const WAIT_FOR_PAIRS_MS = 3000;
let pair = null; // the pair on the page
let begun = null; // when this page was opened, and how many were judged by then
let busy = false; // a vote is on its way: a second key press must not judge the next pair unseen

function say(text, isError = false) {
  find("status").textContent = text;
  find("status").classList.toggle("error", isError);
}

function fill(element, messages) {
  element.replaceChildren(...messages.flatMap((message) => {
    const text = document.createElement("div");
    text.className = "text";
    text.textContent = message.content;
    if (messages.length === 1) return [text];
    const role = document.createElement("div");
    role.className = "role";
    role.textContent = message.role;
    return [role, text];
  }));
  element.scrollTop = 0;
}

function count(progress) {
  find("progress").max = Math.max(progress.pairs, 1);
  find("progress").value = progress.yours;
  find("count").textContent = `${progress.yours} judged by you, ${progress.done} of ${progress.pairs} pairs done`;
  begun ??= { at: Date.now(), yours: progress.yours };
  const pace = (progress.yours - begun.yours) / Math.max(1, (Date.now() - begun.at) / 60000);
  find("pace").textContent = progress.yours - begun.yours > 2 ? `${pace.toFixed(1)} a minute` : "";
  find("undo").hidden = progress.yours === 0;
}

function signIn(asked) {
  find("login").hidden = !asked;
  if (!asked) return;
  find("pair").hidden = find("undo").hidden = find("logout").hidden = find("who").hidden = true;
  pair = null;
  find("name").focus();
}

async function next(said = "") {
  try {
    const answer = await call("/api/next");
    signIn(false);
    pair = answer.pair;
    count(answer.progress);
    find("who").textContent = answer.annotator ?? "";
    find("who").hidden = find("logout").hidden = answer.annotator === null;
    find("pair").hidden = pair === null;
    if (pair === null) {
      say(`${said} ${answer.making ? "The models are writing more answers…" : "Nothing left to judge. Thank you!"}`);
      if (answer.making) setTimeout(() => pair === null && next(), WAIT_FOR_PAIRS_MS);
      return;
    }
    fill(document.querySelector("[data-prompt]"), pair.prompt);
    const kind = pair.kind ?? "pair";
    find("question").textContent = QUESTIONS[kind];
    for (const part of document.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(kind);
    fill(document.querySelector("[data-side=left]"), pair.left ?? []);
    fill(document.querySelector("[data-side=right]"), pair.right ?? []);
    showAnswers(pair.answers ?? [], fill);
    find("reason").value = find("correction").value = "";
    for (const select of find("aspects").querySelectorAll("select")) select.value = "";
    for (const radio of find("strength").querySelectorAll("input")) radio.checked = false;
    if (document.activeElement?.matches("button, input, select, textarea")) document.activeElement.blur();
    scrollTo(0, 0);
    say(said);
  } catch (error) {
    if (error.status === 401) signIn(true);
    say(error.status === 401 ? error.message : `${error.message} (nothing is lost; load the page again)`, error.status !== 401);
  }
}

async function alone(work) {
  if (busy) return;
  busy = true;
  try {
    await work();
  } catch (error) {
    say(String(error.message), true);
    if (error.status === 401) signIn(true);
    if (error.status === 409) await next(error.message);
  } finally {
    busy = false;
  }
}

const vote = (choice, judged_as = {}) => alone(async () => {
  if (pair === null) return;
  const strength = find("strength").querySelector("input:checked")?.value;
  const judged = [...find("aspects").querySelectorAll("select")].filter((select) => select.value);
  const aspects = Object.fromEntries(judged.map((select) => [select.dataset.aspect, select.value]));
  await call("/api/vote", {
    pair: pair.id, choice, aspects, correction: find("correction").value.trim(), reason: find("reason").value.trim(), strength: strength === undefined ? null : Number(strength), ...judged_as,
  });
  await next(choice === "skip" ? "Skipped." : "Stored.");
});

const undo = () => alone(async () => {
  const { undone } = await call("/api/undo", {});
  await next(undone ? "Undone: judge it again." : "There is nothing to undo.");
});

for (const button of document.querySelectorAll("[data-choice]")) {
  button.addEventListener("click", () => vote(button.dataset.choice));
}
for (const button of document.querySelectorAll("[data-rating]")) {
  button.addEventListener("click", () => vote("rated", { rating: Number(button.dataset.rating) }));
}
const storeRanking = () => ranks() && vote("ranked", { ranks: ranks() });
find("store-ranking").addEventListener("click", storeRanking);
find("undo").addEventListener("click", undo);

// What a key does with the question on the page; undefined where it does nothing.
function action(key) {
  const kind = pair?.kind ?? "pair";
  if (key === "u") return undo;
  if (pair === null) return undefined;
  if (key === "r") return () => find("reason").focus();
  if (key === "s") return () => vote("skip");
  if (kind === "ranking") return key === "Enter" ? storeRanking : key >= "1" && key <= "9" ? () => press(Number(key) - 1) : undefined;
  if (kind === "rating") return key >= "1" && key <= "5" ? () => vote("rated", { rating: Number(key) }) : undefined;
  return key in KEYS ? () => vote(KEYS[key]) : undefined;
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
  if (event.target.matches("textarea, select, input:not([type=radio])")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "Enter" && event.target.matches("button, a, summary")) return;
  const work = event.key.length === 1 || event.key === "Enter" ? action(event.key) : undefined;
  if (!work) return;
  event.preventDefault();
  work();
});
find("login").addEventListener("submit", (event) => {
  event.preventDefault();
  alone(async () => {
    await call("/api/login", { name: find("name").value, password: find("password").value }).catch((error) => {
      throw Object.assign(error, { status: 0 });
    });
    find("password").value = "";
    await next();
  });
});
find("logout").addEventListener("click", () => alone(async () => {
  await call("/api/logout", {});
  await next();
}));
next();
