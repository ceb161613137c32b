// The chat page: conversations with one model, or with two side by side.
import { answer as ask } from "./stream.js";
import { call, find, make } from "./page.js";
import { empty, keep, load, messagesOf, newId } from "./conversations.js";
import { assistantTurn, showMarkdown, userTurn } from "./turn.js";

const SETTINGS = ["temperature", "top_p", "min_p", "max_tokens"];
const KEPT_SETTINGS = "gristlm.settings";
let conversations = load();
let current = conversations[0] ?? empty();
let running = null; // the AbortController of the answers being made

const log = find("messages");
const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;
const toEnd = () => { log.scrollTop = log.scrollHeight; };
const notice = (text, kind = "notice") => log.append(make("p", { class: kind, textContent: text }));

function settings() {
  const chosen = Object.fromEntries(SETTINGS.map((name) => [name, Number(find(name).value)]));
  if (find("seed").value !== "") chosen.seed = Number(find("seed").value);
  return chosen;
}

function save() {
  conversations = [current, ...conversations.filter((one) => one.id !== current.id)];
  keep(conversations);
}

function settle() {
  find("send").textContent = running ? "Stop" : "Send";
  log.setAttribute("aria-busy", String(running !== null));
  for (const button of log.querySelectorAll(".actions button")) button.disabled = running !== null;
}

function showList() {
  find("conversations").replaceChildren(...conversations.filter((one) => one.turns.length).map((one) => {
    const open = make("button", { type: "button", class: "plain open", textContent: one.title });
    if (one.id === current.id) open.setAttribute("aria-current", "true");
    open.addEventListener("click", () => enter(one));
    const remove = make("button", { type: "button", class: "plain", textContent: "✕", "aria-label": `Delete ${one.title}` });
    remove.addEventListener("click", () => {
      conversations = conversations.filter((other) => other.id !== one.id);
      keep(conversations);
      if (one.id === current.id) enter(conversations[0] ?? empty());
      else showList();
      find("new").focus();
    });
    return make("li", {}, open, remove);
  }));
}

function show() {
  log.replaceChildren(...current.turns.map((turn, place) => {
    if (turn.role === "user") return userTurn(turn, (text) => say(text, place));
    return assistantTurn(turn, place === current.turns.length - 1, {
      regenerate: () => {
        current.turns.length = place;
        answer();
      },
      rate: (given) => rate(given, place),
      choose: (preferred) => choose(turn, preferred, place),
    });
  }));
  if (current.turns.length === 0) notice("Say something. What you write stays in this browser and on this server.");
  toEnd();
  showList();
  settle();
}

function enter(conversation) {
  running?.abort();
  running = null;
  current = conversation;
  find("system").value = current.system;
  openList(false);
  show();
  find("text").focus();
}

function say(text, place = current.turns.length) {
  running?.abort();
  current.turns.length = place;
  if (current.turns.at(-1)?.role === "user") current.turns.pop(); // it was never answered
  current.turns.push({ role: "user", content: text });
  current.title ||= text.split("\n")[0].slice(0, 60);
  answer();
}

async function store(body) {
  try {
    await call("/api/feedback", body);
    find("status").textContent = "Stored. Thank you.";
  } catch (error) {
    notice(`The judgement was not stored: ${error.message}`, "error");
  }
  save();
}

const rate = ({ id, model, content, good, reason }, place) => store({
  kind: "rating", id, model, prompt: messagesOf(current, place), answer: content, good, reason: reason ?? "",
});

async function choose(turn, preferred, place) {
  turn.chosen = preferred;
  const [better, worse] = [turn.answers[preferred], turn.answers[1 - preferred]];
  show();
  if (better.content && worse.content && better.content !== worse.content) {
    await store({
      kind: "preference", id: `${turn.answers[0].id}-${turn.answers[1].id}`, prompt: messagesOf(current, place),
      chosen: better.content, rejected: worse.content, chosen_model: better.model, rejected_model: worse.model,
    });
  }
}

async function answer() {
  const mine = (running = new AbortController());
  const place = current.turns.length;
  const models = [find("model").value, find("other").value].filter(Boolean);
  const turn = {
    role: "assistant", answers: models.map((model) => ({ id: newId(), model, content: "" })), chosen: models.length > 1 ? null : 0,
  };
  const messages = messagesOf(current);
  show();
  const drawn = assistantTurn(turn, false, {});
  drawn.querySelectorAll(".actions, .notice").forEach((one) => one.remove());
  drawn.querySelectorAll(".assistant").forEach((one) => one.setAttribute("aria-busy", "true"));
  log.append(drawn);
  toEnd();
  const results = await Promise.allSettled(models.map((model, side) =>
    write(turn.answers[side], model, messages, drawn.querySelectorAll(".markdown")[side], mine)));
  if (running !== mine) return; // another conversation was entered
  running = null;
  if (turn.answers.some((one) => one.content) || results.every(({ status }) => status === "fulfilled")) current.turns.push(turn);
  save();
  show();
  for (const { reason } of results) {
    if (reason && reason.name !== "AbortError") notice(String(reason.message ?? reason), "error");
  }
  if (turn.forgotten) notice(`The model has read the last ${turn.forgotten} messages only.`);
  toEnd();
  find("status").textContent = mine.signal.aborted ? "Stopped." : "The answer is complete.";

  async function write(given, model, said, element, controller) {
    let waiting = 0;
    const draw = () => {
      waiting = 0;
      if (given.content === "") return;
      const follow = atEnd();
      showMarkdown(element, given.content);
      if (follow) toEnd();
    };
    try {
      const note = (count) => { turn.forgotten = count; };
      for await (const piece of ask(model, said, settings(), controller.signal, note)) {
        given.content += piece;
        waiting ||= requestAnimationFrame(draw);
      }
    } finally {
      cancelAnimationFrame(waiting);
    }
  }
}

function openList(open) {
  document.body.classList.toggle("list-open", open);
  find("toggle-list").setAttribute("aria-expanded", String(open));
}

find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) return running.abort();
  const text = find("text").value.trim();
  if (!text) return;
  find("text").value = "";
  say(text);
});
find("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || running) return;
  event.preventDefault();
  find("form").requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (running) running.abort();
  else if (document.body.classList.contains("list-open")) openList(false);
});
find("new").addEventListener("click", () => enter(empty()));
find("toggle-list").addEventListener("click", () => openList(!document.body.classList.contains("list-open")));
find("toggle-settings").addEventListener("click", () => {
  find("settings").hidden = !find("settings").hidden;
  find("toggle-settings").setAttribute("aria-expanded", String(!find("settings").hidden));
  if (!find("settings").hidden) find("system").focus();
});
find("system").addEventListener("input", () => {
  current.system = find("system").value;
  save();
});

function keepSettings() {
  for (const name of SETTINGS) find(name).nextElementSibling.value = find(name).value;
  localStorage.setItem(KEPT_SETTINGS, JSON.stringify(settings()));
}
try {
  for (const [name, value] of Object.entries(JSON.parse(localStorage.getItem(KEPT_SETTINGS) ?? "{}"))) {
    if ([...SETTINGS, "seed"].includes(name)) find(name).value = value;
  }
} catch {
  localStorage.removeItem(KEPT_SETTINGS);
}
for (const name of [...SETTINGS, "seed"]) find(name).addEventListener("input", keepSettings);

async function start() {
  find("system").value = current.system;
  show();
  const { data } = await call("/v1/models");
  for (const model of data) {
    find("model").append(new Option(model.id, model.id));
    find("other").append(new Option(model.id, model.id));
  }
  find("max_tokens").max = Math.max(16, Math.floor(Math.min(...data.map((model) => model.max_model_len)) / 16) * 16);
  keepSettings();
  find("text").focus();
}
start().catch((error) => notice(error.message, "error"));
