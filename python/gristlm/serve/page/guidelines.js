// The page of guidelines: Markdown that the project's owner wrote.
import { call, find } from "./page.js";
import { render } from "./markdown.js";

call("/api/guidelines").then(({ guidelines }) => {
  find("guidelines").replaceChildren(render(guidelines || "No guidelines were written: choose the answer that you would rather have been given."));
}).catch((error) => { find("guidelines").textContent = error.message; });
