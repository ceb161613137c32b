// What every page's script uses: elements, and requests that carry the CSRF token. Text is only ever set as text.

export const find = (id) => document.getElementById(id);
const csrf = document.querySelector("meta[name=csrf-token]")?.content ?? "";

// Returns a new element; properties are set as such (`class` and names with a dash as attributes), children appended.
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class" || key.includes("-")) element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

// Sends `body` as JSON, or asks without one; the answer is a Response of whatever status.
export function send(path, body, signal) {
  if (body === undefined) return fetch(path, { signal });
  return fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    signal,
    body: JSON.stringify(body),
  });
}

// Returns the error that a refused request was answered with; it has `status` and `code`.
export async function failure(response) {
  const error = (await response.json().catch(() => null))?.error;
  const message = error?.message ?? `the server answered ${response.status}`;
  return Object.assign(new Error(message), { status: response.status, code: error?.code });
}

// Sends and returns the JSON of the answer; throws the error of a refusal.
export async function call(path, body) {
  const response = await send(path, body);
  if (!response.ok) throw await failure(response);
  return response.json();
}
