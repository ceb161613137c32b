// The conversations, kept in this browser only.
// .
// One is {id, title, system, turns}; a turn is {role: "user", content} or
// {role: "assistant", answers: [{id, model, content, good, reason}], chosen}: one answer, or two side by side of which
// `chosen` is the one that the conversation goes on with (null where nobody has chosen yet: the first).

const KEY = "gristlm.conversations";
const MAX_KEPT = 100;

export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
export const empty = () => ({ id: newId(), title: "", system: "", turns: [] });
export const chosenOf = (turn) => turn.answers[turn.chosen ?? 0];

export function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((one) => typeof one?.id === "string" && Array.isArray(one.turns)) : [];
  } catch {
    return [];
  }
}

// Keeps the newest; where the browser has no more room, fewer of them.
export function keep(conversations) {
  let kept = conversations.filter((one) => one.turns.length > 0).slice(0, MAX_KEPT);
  for (;;) {
    try {
      return localStorage.setItem(KEY, JSON.stringify(kept));
    } catch {
      if (kept.length === 0) return;
      kept = kept.slice(0, Math.floor(kept.length / 2));
    }
  }
}

// Returns the messages before turn `end`, as the API takes them.
export function messagesOf(conversation, end = conversation.turns.length) {
  const messages = conversation.system.trim() ? [{ role: "system", content: conversation.system.trim() }] : [];
  for (const turn of conversation.turns.slice(0, end)) {
    messages.push({ role: turn.role, content: turn.role === "user" ? turn.content : chosenOf(turn).content });
  }
  return messages;
}
