// Asks a model and yields its answer as it is made.
import { failure, send } from "./page.js";

async function* events(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the answer was cut off");
    held += decoder.decode(value, { stream: true });
    const lines = held.split("\n\n");
    held = lines.pop();
    for (const line of lines) {
      const data = line.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      yield event;
    }
  }
}

// Yields pieces of text. A conversation longer than the model reads loses its oldest turns, never the system prompt;
// `onForgotten` is told how many messages were read where some were left out.
export async function* answer(model, messages, settings, signal, onForgotten) {
  const system = messages[0]?.role === "system" ? 1 : 0;
  for (let forgotten = 0; ; forgotten += 2) {
    const sent = [...messages.slice(0, system), ...messages.slice(system + forgotten)];
    const response = await send("/v1/chat/completions", { model, messages: sent, stream: true, ...settings }, signal);
    if (response.ok) {
      if (forgotten) onForgotten(sent.length - system);
      for await (const event of events(response)) yield event.choices[0]?.delta?.content ?? "";
      return;
    }
    const error = await failure(response);
    if (error.code !== "context_length_exceeded" || sent.length - system < 3) throw error;
  }
}
