// The class names as they were read: a chip for each class, in its colour in the map.

const box = element.querySelector(".chips");
let newest = -1;
let displayed = ""; // the chips as text

function chip(entry) {
  const node = document.createElement("span");
  node.className = entry.isFound === false ? "chip missing" : "chip";
  node.style.cssText = `--color: ${entry.color}; --ink: ${entry.ink}`;
  node.textContent = [entry.name, ...entry.synonyms].join(" / ");
  node.title = entry.isFound === false ? "{{chips.not_found}}" : node.textContent;
  return node;
}

function hidden(names) {
  const node = document.createElement("span");
  node.className = "chip hidden-chip";
  const values = { count: names.length, names: names.slice(0, 3).join(", ") };
  node.textContent = fill(names.length > 3 ? "{{chips.hidden_many}}" : "{{chips.hidden}}", values);
  node.title = "{{chips.hidden_help}}";
  return node;
}

function receive() {
  const message = props.value || {};
  if (!(message.number > newest)) return;
  newest = message.number;
  if (typeof message.link === "string") {
    document.dispatchEvent(new CustomEvent("ovseg-link", { detail: { link: message.link, number: message.number } }));
  }
  document.dispatchEvent(new CustomEvent("ovseg-names")); // the prompt may hold other names now
  const { chips: entries, hidden: hiddenNames, problem: sentence } = message;
  const text = JSON.stringify([entries, hiddenNames, sentence]);
  if (text === displayed) return; // the maps of a live camera mostly find the same names, and nothing is to be read out
  displayed = text;
  const problem = document.createElement("span");
  problem.className = "problem";
  problem.textContent = sentence;
  const chips = entries.map(chip);
  if (hiddenNames.length) chips.push(hidden(hiddenNames));
  box.replaceChildren(...chips, ...(sentence ? [problem] : []));
  allowScrolling();
}

/** Let keys scroll the chips where they do not fit. */
function allowScrolling() {
  if (box.scrollHeight > box.clientHeight || box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  else box.removeAttribute("tabindex");
}

new ResizeObserver(allowScrolling).observe(box);
watch(["value"], receive);
receive();
