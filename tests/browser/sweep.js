// Returns what is wrong with the page on the screen, as axe-core would say it; an empty list is well.
() => {
  const wrong = [];
  const say = (rule, element) => wrong.push(`${rule}: ${element.outerHTML.slice(0, 120)}`);
  const shown = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && element.getClientRects().length > 0;
  const text = (ids) => (ids ?? "").split(/\s+/).filter(Boolean).map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
  const name = (element) => (
    text(element.getAttribute("aria-labelledby")) || element.getAttribute("aria-label") ||
    [...(element.labels ?? [])].map((label) => label.textContent).join(" ") ||
    (element.matches("input, textarea, select") ? "" : element.textContent) || element.title || element.alt || ""
  ).trim();

  if (!document.documentElement.lang) wrong.push("no language");
  if (!document.title.trim()) wrong.push("no title");
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
  if (document.querySelectorAll("main, [role=main]").length > 1) wrong.push("more than one main");
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) wrong.push(`id twice: ${id}`);
  for (const one of document.querySelectorAll("[for], [aria-controls], [aria-labelledby], [aria-describedby]")) {
    for (const attribute of ["for", "aria-controls", "aria-labelledby", "aria-describedby"]) {
      for (const id of (one.getAttribute(attribute) ?? "").split(/\s+/).filter(Boolean)) {
        if (!document.getElementById(id)) say(`${attribute} names nothing`, one);
      }
    }
  }
  const roles = new Set(["log", "status", "img", "alert", "region", "navigation", "main", "dialog", "list", "listitem", "button", "group", "presentation", "none"]);
  for (const one of document.querySelectorAll("[role]")) if (!roles.has(one.getAttribute("role"))) say("unknown role", one);
  for (const one of document.querySelectorAll("img:not([alt]), [role=img]:not([aria-label]):not([aria-labelledby])")) say("no text for a picture", one);
  for (const one of document.querySelectorAll("[tabindex]")) if (Number(one.getAttribute("tabindex")) > 0) say("positive tabindex", one);
  for (const one of document.querySelectorAll("[aria-hidden=true]")) if (one.querySelector("a, button, input, select, textarea")) say("hidden but reachable", one);
  for (const one of document.querySelectorAll("table")) if (shown(one) && !one.querySelector("th")) say("table without headings", one);
  let level = 0;
  for (const one of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    if (!shown(one)) continue;
    if (Number(one.tagName[1]) > level + 1 && level) say("heading skips a level", one);
    level = Number(one.tagName[1]);
  }
  for (const one of document.querySelectorAll("a[href], button, input, select, textarea, summary, fieldset, nav, [role=log]")) {
    if (!shown(one)) continue;
    if (!(one.matches("fieldset") ? one.querySelector("legend")?.textContent : name(one))) say("no name", one);
    const box = one.getBoundingClientRect();
    if (one.matches("button, select, textarea, summary") && (box.width < 24 || box.height < 24)) say("smaller than 24 pixels", one);
  }

  // Contrast, WCAG 2.2, 1.4.3: 4.5 to 1, for large text 3 to 1.
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((value) => (value /= 255, value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || seen.has(element) || !shown(element) || element.closest("script, style, option, :disabled, svg, .unseen")) continue;
    seen.add(element);
    const style = getComputedStyle(element);
    const ground = behind(element);
    const ink = rgba(style.color);
    for (let one = element; one; one = one.parentElement) ink[3] *= Number(getComputedStyle(one).opacity);
    const [high, low] = [luminance(over(ink, ground)), luminance(ground)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    if ((high + 0.05) / (low + 0.05) < needed) say(`contrast ${((high + 0.05) / (low + 0.05)).toFixed(2)}`, element);
  }
  if (document.documentElement.scrollWidth > innerWidth) wrong.push(`wider than the screen: ${document.documentElement.scrollWidth}`);
  return wrong;
}
