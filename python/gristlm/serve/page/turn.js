// One turn of a conversation as elements; what its buttons do is handed in.
import { make } from "./page.js";
import { render } from "./markdown.js";
import { chosenOf } from "./conversations.js";

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

function action(name, work, properties = {}) {
  const button = make("button", { type: "button", textContent: name, ...properties });
  button.addEventListener("click", () => work(button));
  return button;
}

// Shows `source` in `element`, each block of code with a button that copies it.
export function showMarkdown(element, source) {
  element.replaceChildren(render(source));
  for (const block of element.querySelectorAll("pre")) {
    const code = block.querySelector("code");
    block.append(action("Copy", (button) => copy(button, code.textContent), { class: "copy-code", "aria-label": "Copy code" }));
  }
}

// Returns what the user said, which can be edited: `onEdit` is called with the new text.
export function userTurn(turn, onEdit) {
  const element = make("article", { class: "turn user", "aria-label": "You" });
  const shown = () => {
    const text = make("div", { class: "text", textContent: turn.content });
    element.replaceChildren(text, make("div", { class: "actions" }, action("Edit", edit)));
  };
  const edit = () => {
    const box = make("textarea", { value: turn.content, rows: Math.min(10, turn.content.split("\n").length + 1), "aria-label": "Edit your message" });
    const save = () => box.value.trim() && onEdit(box.value.trim());
    const leave = () => {
      shown();
      element.querySelector("button").focus();
    };
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") leave();
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      save();
    });
    element.replaceChildren(box, make("div", { class: "actions" }, action("Save and answer", save, { class: "main" }), action("Cancel", leave)));
    box.focus();
  };
  shown();
  return element;
}

// Returns one answer or two side by side. `on` has regenerate(), rate(answer), choose(place).
export function assistantTurn(turn, isLast, on) {
  const both = turn.answers.length > 1;
  const answers = turn.answers.map((answer, place) => {
    const element = make("article", { class: "turn assistant", "aria-label": both ? `Answer of ${answer.model}` : "Answer" });
    const body = make("div", { class: "markdown" });
    showMarkdown(body, answer.content);
    if (!answer.content) body.append(make("p", { class: "notice", textContent: "(no answer)" }));
    if (both) element.append(make("h2", { textContent: answer.model }));
    const actions = make("div", { class: "actions" });
    if (answer.content) actions.append(action("Copy", (button) => copy(button, answer.content)), ...thumbs(answer, on.rate, element));
    if (both) {
      const is = turn.chosen === place;
      actions.append(action(is ? "Preferred" : "Prefer this", () => on.choose(place), { "aria-pressed": String(is) }));
    }
    if (isLast && place === turn.answers.length - 1) actions.append(action("Regenerate", on.regenerate));
    element.append(body, actions);
    element.classList.toggle("chosen", both && chosenOf(turn) === answer && turn.chosen !== null);
    return element;
  });
  return make("div", { class: both ? "side-by-side" : "alone" }, ...answers);
}

// Returns the two thumbs; one that is pressed asks for a reason, which need not be given.
function thumbs(answer, rate, element) {
  const buttons = [[true, "Good answer", "Good"], [false, "Bad answer", "Bad"]].map(([good, name, sign]) => {
    const press = () => {
      answer.good = good;
      for (const one of buttons) one.setAttribute("aria-pressed", String(one === button));
      rate(answer);
      element.querySelector(".reason")?.remove();
      const field = make("input", { type: "text", maxLength: 2000, value: answer.reason ?? "", "aria-label": "Reason", placeholder: "Why? (optional)" });
      const form = make("form", { class: "reason" }, field, make("button", { type: "submit", textContent: "Save reason" }));
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        answer.reason = field.value.trim();
        rate(answer);
        form.remove();
        button.focus();
      });
      element.append(form);
      field.focus();
    };
    const button = action(sign, press, { "aria-label": name, title: name, "aria-pressed": String(answer.good === good) });
    return button;
  });
  return buttons;
}
