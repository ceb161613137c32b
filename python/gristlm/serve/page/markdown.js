// Markdown as DOM nodes, of what models write most: headings, lists, quotes, code, tables, emphasis, links.
// Nothing here parses HTML: every character that is not Markdown becomes text, and a link leads to the web or nowhere.

const MAX_DEPTH = 8;
const MAX_INLINE = 20000; // a longer paragraph is shown as plain text
const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+/;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})(?:([-*+])|(\d{1,9})[.)])(?:[ \t]+|$)/;
const TABLE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const LINK = /!?\[([^\][]*)\]\(([^\s()<>]+)\)/y;
const ADDRESS = /https?:[/][/][^\s<>"'`)\]]+/y;

// Returns a fragment that shows `source`.
export function render(source) {
  const fragment = document.createDocumentFragment();
  blocks(source.replaceAll("\r\n", "\n").split("\n"), fragment, 0);
  return fragment;
}

function add(parent, name, text) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function blocks(lines, parent, depth) {
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const found = line.match(FENCE);
    if (!line.trim()) at += 1;
    else if (depth > MAX_DEPTH) at = (add(parent, "p", lines.slice(at).join("\n")), lines.length);
    else if (found) at = fence(lines, at, found, parent);
    else if (HEADING.test(line)) at = heading(lines, at, parent);
    else if (RULE.test(line)) at = (add(parent, "hr"), at + 1);
    else if (QUOTE.test(line)) at = quote(lines, at, parent, depth);
    else if (ITEM.test(line)) at = list(lines, at, parent, depth);
    else if (isTable(lines, at)) at = table(lines, at, parent);
    else at = paragraph(lines, at, parent);
  }
}

function fence(lines, begin, found, parent) {
  let end = begin + 1;
  const closes = (line) => line.trim().startsWith(found[1]) && !line.trim().replaceAll(found[1][0], "");
  while (end < lines.length && !closes(lines[end])) end += 1; // one that is not closed yet is still being written
  const code = add(add(parent, "pre"), "code", lines.slice(begin + 1, end).join("\n"));
  if (found[2]) code.dataset.language = found[2];
  return end + 1;
}

function heading(lines, at, parent) {
  const [start, marks] = lines[at].match(HEADING);
  inline(lines[at].slice(start.length).trim(), add(parent, `h${Math.min(6, marks.length + 2)}`), 0); // below the page's own
  return at + 1;
}

function quote(lines, begin, parent, depth) {
  let end = begin;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  blocks(lines.slice(begin, end).map((line) => line.replace(QUOTE, "")), add(parent, "blockquote"), depth + 1);
  return end;
}

function list(lines, begin, parent, depth) {
  const [, , bullet, number] = lines[begin].match(ITEM);
  const element = add(parent, bullet ? "ul" : "ol");
  if (number && Number(number) !== 1) element.start = Number(number);
  let at = begin;
  while (at < lines.length) {
    const found = lines[at].match(ITEM);
    if (!found || RULE.test(lines[at]) || Boolean(found[2]) !== Boolean(bullet)) break;
    const indent = Math.min(found[0].length, 6);
    const held = [lines[at].slice(found[0].length)];
    at += 1;
    while (at < lines.length) {
      const inside = lines[at].search(/\S/) >= Math.min(indent, 2);
      const lazy = lines[at].trim() && lines[at - 1].trim() && !startsBlock(lines, at);
      if (lines[at].trim() ? !inside && !lazy : !(lines[at + 1] ?? "").startsWith("  ")) break;
      const spaces = Math.max(0, lines[at].search(/\S/));
      held.push(lines[at].slice(Math.min(spaces, indent)));
      at += 1;
    }
    const item = add(element, "li");
    if (held.length === 1) inline(held[0], item, 0);
    else blocks(held, item, depth + 1);
    while (at + 1 < lines.length && !lines[at].trim() && ITEM.test(lines[at + 1])) at += 1;
  }
  return at;
}

function isTable(lines, at) {
  return lines[at].includes("|") && (lines[at + 1] ?? "").includes("-") && TABLE.test(lines[at + 1]);
}

const cells = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "").split("|").map((cell) => cell.trim());

function table(lines, begin, parent) {
  const box = add(parent, "div");
  box.className = "wide";
  const element = add(box, "table");
  const head = add(add(element, "thead"), "tr");
  const names = cells(lines[begin]);
  for (const cell of names) inline(cell, add(head, "th"), 0);
  const body = add(element, "tbody");
  let at = begin + 2;
  for (; at < lines.length && lines[at].includes("|"); at += 1) {
    const row = add(body, "tr");
    const given = cells(lines[at]);
    names.forEach((_, column) => inline(given[column] ?? "", add(row, "td"), 0));
  }
  return at;
}

function startsBlock(lines, at) {
  return [FENCE, HEADING, RULE, QUOTE, ITEM].some((form) => form.test(lines[at])) || isTable(lines, at);
}

function paragraph(lines, begin, parent) {
  let end = begin + 1;
  while (end < lines.length && lines[end].trim() && !startsBlock(lines, end)) end += 1;
  inline(lines.slice(begin, end).join("\n"), add(parent, "p"), 0);
  return end;
}

function inline(text, parent, depth) {
  if (text.length > MAX_INLINE || depth > MAX_DEPTH) return parent.append(text);
  let plain = "";
  let at = 0;
  const flush = () => {
    if (plain) parent.append(plain);
    plain = "";
  };
  while (at < text.length) {
    const found = code(text, at) ?? emphasis(text, at) ?? link(text, at);
    if (found) {
      flush();
      const element = add(parent, found.name);
      Object.assign(element, found.properties);
      if (found.name === "code") element.textContent = found.inner;
      else inline(found.inner, element, depth + 1);
      at = found.end;
    } else if (text[at] === "\n") {
      flush();
      add(parent, "br");
      at += 1;
    } else {
      if (text[at] === "\\" && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "")) at += 1;
      plain += text[at];
      at += 1;
    }
  }
  flush();
}

function run(text, at) {
  let end = at;
  while (text[end] === text[at]) end += 1;
  return end - at;
}

function code(text, at) {
  if (text[at] !== "`" || text[at - 1] === "`") return null;
  const ticks = "`".repeat(run(text, at));
  const end = text.indexOf(ticks, at + ticks.length);
  if (end < 0 || text[end + ticks.length] === "`") return null;
  return { name: "code", inner: text.slice(at + ticks.length, end).replace(/^ (.*) $/s, "$1"), end: end + ticks.length };
}

function emphasis(text, at) {
  const mark = text[at];
  if (!"*_~".includes(mark)) return null;
  const size = Math.min(run(text, at), 2);
  if (mark === "~" && size < 2) return null;
  const word = /[\p{L}\p{N}]/u;
  if (/\s/.test(text[at + size] ?? " ") || (mark === "_" && word.test(text[at - 1] ?? ""))) return null;
  const marks = mark.repeat(size);
  let end = at + size;
  do {
    end = text.indexOf(marks, end + 1);
    if (end < 0) return null;
  } while (/[\s\\]/.test(text[end - 1]) || (size === 1 && (text[end + 1] === mark || text[end - 1] === mark))
    || (mark === "_" && word.test(text[end + size] ?? "")));
  while (size === 2 && text[end + 2] === mark) end += 1; // **_both_*** ends at the last of them
  const name = mark === "~" ? "del" : size === 2 ? "strong" : "em";
  return { name, inner: text.slice(at + size, end), end: end + size };
}

function link(text, at) {
  const form = text[at] === "h" && !/\w/.test(text[at - 1] ?? "") ? ADDRESS : "[!".includes(text[at]) ? LINK : null;
  if (form === null) return null;
  form.lastIndex = at;
  const found = form.exec(text);
  if (found === null) return null;
  const shown = form === ADDRESS ? found[0].replace(/[.,;:!?]+$/, "") : found[1];
  const address = URL.canParse(form === ADDRESS ? shown : found[2]) && new URL(form === ADDRESS ? shown : found[2]);
  if (!address || !["http:", "https:", "mailto:"].includes(address.protocol)) return null;
  const end = form === ADDRESS ? at + shown.length : form.lastIndex;
  // Of an address the name is itself, which must not be looked at for links again.
  const properties = { href: address.href, target: "_blank", rel: "noopener noreferrer nofollow" };
  if (form === ADDRESS) return { name: "a", inner: "", end, properties: { ...properties, textContent: shown } };
  return { name: "a", inner: shown || found[2].replaceAll(":", "\\:"), end, properties };
}
