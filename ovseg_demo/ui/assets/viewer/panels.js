// The panels beside the map. Visitors type the names: they only ever become text nodes.

/** An element with a class, attributes and children; strings become text. */
function make(tag, className, children = [], attributes = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const child of [].concat(children)) node.append(child);
  return node;
}

const percent = (share) => (share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);
const fullName = (entry) => [entry.name, ...(entry.synonyms || [])].join(" / ");

/** Fill the legend; `act(index, "hover" | "leave" | "click" | "press" | "tune")` is called for what the visitor does with
 *  a class; to press is to click with a key, to tune is to ask for its least score. A preview has not found what it may find yet. */
function fillLegend(panel, map, act, isPreview = false) {
  const focused = panel.querySelector(".tune:focus")?.dataset.name; // the rows are made anew
  const row = panel.querySelector(".entry:focus-visible")?.dataset.index; // after a click, the focus would light its class again
  const found = map.classes.filter((entry) => entry.isFound);
  const missing = map.classes.filter((entry) => !entry.isFound);
  const widest = Math.max(...found.map((entry) => entry.share), 1e-6);
  const parts = [make("h3", "", [make("span", "", isPreview ? "{{legend.found_so_far}}" : "{{legend.found}}"), make("small", "", "{{legend.share}}"), make("small", "", "{{legend.score}}")])];
  if (!found.length && !isPreview) parts.push(make("p", "hint", "{{legend.none_found}}"));
  parts.push(...found.map((entry) => legendLine(entry, entry.share / widest, act, isPreview)));
  if (map.unlabelled >= 0.0005) {
    parts.push(make("div", "entry rest", [make("i", "swatch"), make("span", "name", "{{legend.unlabelled}}"), make("span", "share", percent(map.unlabelled))]));
  }
  if (missing.length) {
    parts.push(make("h3", "", [make("span", "", isPreview ? "{{legend.not_found_yet}}" : "{{legend.not_found}}"), make("small", "", ""), make("small", "", "{{legend.best_score}}")]));
    parts.push(...missing.map((entry) => legendLine(entry, 0, act, isPreview)));
  }
  panel.replaceChildren(...parts);
  if (focused !== undefined) [...panel.querySelectorAll(".tune")].find((one) => one.dataset.name === focused)?.focus();
  if (row !== undefined) panel.querySelector(`.entry[data-index="${row}"]`)?.focus();
}

/** A class and, beside it, the button for its least score. */
function legendLine(entry, length, act, isPreview) {
  const row = legendEntry(entry, length, act);
  return make("div", "line", isPreview ? [row] : [row, leastButton(entry, () => act(entry.index, "tune"))]);
}

function legendEntry(entry, length, act) {
  const row = make("button", entry.isFound ? "entry" : "entry missing", [
    make("i", "swatch"),
    make("span", "name", fullName(entry)),
    make("span", "share", entry.isFound ? percent(entry.share) : ""),
    make("span", "score", entry.score.toFixed(2)),
  ], { type: "button", "data-index": entry.index, "aria-pressed": "false", title: fullName(entry) });
  row.style.setProperty("--color", entry.color);
  row.style.setProperty("--length", length);
  if (!entry.isFound) return row;
  for (const name of ["pointerenter", "focus"]) row.addEventListener(name, () => act(entry.index, "hover"));
  for (const name of ["pointerleave", "blur"]) row.addEventListener(name, () => act(entry.index, "leave"));
  row.addEventListener("click", (event) => act(entry.index, event.detail ? "click" : "press"));
  return row;
}

/** A table of each class's share in a rival's map and in the page's own. */
function fillShares(panel, rival, other, map) {
  const shareIn = (entries, name) => entries.find((entry) => entry.name === name)?.share ?? 0;
  const names = [...new Set([...map.classes, ...other.classes].map((entry) => entry.name))];
  const colorOf = (name) => (map.classes.find((entry) => entry.name === name) ?? other.classes.find((entry) => entry.name === name)).color;
  const rows = names.map((name) => {
    const swatch = make("i", "swatch");
    swatch.style.setProperty("--color", colorOf(name));
    return make("tr", "", [make("th", "", [swatch, make("span", "", name)], { scope: "row" }), ...[other, map].map((one) => make("td", "", percent(shareIn(one.classes, name))))]);
  });
  const head = make("tr", "", [make("th", "", "{{legend.share}}", { scope: "col" }), make("th", "", rival.title, { scope: "col" }), make("th", "", rival.own, { scope: "col" })]);
  panel.replaceChildren(make("table", "", [make("thead", "", [head]), make("tbody", "", rows)]));
}

const GENERATOR_NAMES = { sam: "Segment Anything", maskformer: "MaskFormer", detectron2: "detectron2" };

/** Tell how many masks were proposed and how many are in use. */
function fillMasks(panel, masks, map) {
  const title = make("h3", "", [make("span", "", "{{masks.title}}")]);
  const all = make("b", "", count("{{masks.count_one}}", "{{masks.count_many}}", masks.count));
  const generator = GENERATOR_NAMES[masks.generator] || masks.generator;
  const lines = [make("p", "", fillParts("{{masks.proposed}}", { masks: all, generator }))];
  if (map) {
    const inUse = make("b", "", fill("{{masks.in_use}}", { count: formatNumber(map.kept.length) }));
    lines.push(make("p", "", fillParts("{{masks.kept}}", { in_use: inUse })));
  }
  panel.replaceChildren(title, ...lines);
}

/** Tell why a pixel is labelled as it is: bars of the top classes, each of which can name its area instead, and the
 *  masks that decided. */
function fillWhy(panel, why, close, rename) {
  const closer = make("button", "close", "×", { type: "button", "aria-label": "{{why.close}}" });
  closer.addEventListener("click", close);
  const title = make("h3", "", [make("span", "", "{{why.title}}"), closer]);
  if (!why.classes.length) {
    panel.replaceChildren(title, make("p", "", why.isCorrected ? verdict(why) : "{{why.no_mask}}"));
    return;
  }
  const bars = why.classes.map((entry) => {
    const bar = make("button", "bar", [make("span", "name", entry.name), make("i"), make("span", "score", entry.share.toFixed(2))], { type: "button", title: fill("{{correct.rename_help}}", { name: entry.name }) });
    bar.addEventListener("click", () => rename(entry.name));
    bar.style.setProperty("--color", entry.color || "var(--faint)");
    bar.style.setProperty("--length", entry.share);
    if (entry.isDistractor) bar.classList.add("hidden-name");
    return bar;
  });
  const rest = why.others ? [make("p", "hint", count("{{why.more_one}}", "{{why.more_many}}", why.others))] : [];
  panel.replaceChildren(title, make("p", "", verdict(why)), ...bars, ...rest, make("p", "hint", decided(why)));
}

function verdict(why) {
  if (why.isCorrected && !why.name) return make("span", "", "{{correct.left_out}}");
  const name = make("b", "", why.name);
  if (why.isCorrected) return make("span", "", fillParts("{{correct.named}}", { name }));
  if (!why.isLabelled && !why.classes[0].isDistractor) return make("span", "", fillParts("{{why.too_low}}", { name }));
  return make("span", "", fillParts(why.isLabelled ? "{{why.wins}}" : "{{why.hidden_wins}}", { name }));
}

function decided(why) {
  const first = why.masks[0];
  const values = { number: first.index + 1, total: why.proposalCount, count: formatNumber(why.maskCount), percent: Math.round(100 * first.part) };
  return fill(why.maskCount === 1 ? "{{why.one_mask}}" : "{{why.many_masks}}", values);
}
