// Several answers to put in order: a press on an answer gives it the next rank, its list any rank, equal ones too.
import { find, make } from "./page.js";

const lists = () => [...find("several").querySelectorAll("select")];

// Returns the rank of each answer as shown, 1 is best; null while one has none.
export function ranks() {
  const given = lists().map((list) => Number(list.value));
  return given.length && given.every((rank) => rank > 0) ? given : null;
}

function changed() {
  find("store-ranking").disabled = ranks() === null;
}

// Gives answer `place` the first rank that nobody has, or takes its rank away.
export function press(place) {
  const list = lists()[place];
  if (!list) return;
  const taken = new Set(lists().map((other) => other.value));
  list.value = list.value ? "" : String(lists().map((_, at) => at + 1).find((rank) => !taken.has(String(rank))) ?? "");
  changed();
}

// Shows the answers; `fill` puts messages into an element. One answer alone is shown without a rank.
export function showAnswers(answers, fill) {
  find("several").replaceChildren(...answers.map((messages, place) => {
    const said = make("div", { class: "said" });
    fill(said, messages);
    const title = make("h2", { id: `answer-${place + 1}`, textContent: answers.length > 1 ? `Answer ${place + 1}` : "Answer" });
    const section = make("section", { "aria-labelledby": title.id }, title, said);
    if (answers.length === 1) return section;
    const next = make("button", { type: "button", textContent: "Next best ", "aria-label": `Next best: answer ${place + 1}` }, make("kbd", { textContent: place + 1 }));
    next.addEventListener("click", () => press(place));
    const list = make("select", { "aria-label": `Rank of answer ${place + 1}` }, new Option("no rank", ""), ...answers.map((_, at) => new Option(at ? `rank ${at + 1}` : "rank 1, best", at + 1)));
    list.addEventListener("change", changed);
    section.append(make("div", { class: "place" }, next, list));
    return section;
  }));
  changed();
}
