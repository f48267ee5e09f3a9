// The class names as they were read: a chip for each class, in its colour in the map.

const box = element.querySelector(".chips");
let newest = -1;

function chip(entry) {
  const node = document.createElement("span");
  node.className = entry.isFound === false ? "chip missing" : "chip";
  node.style.cssText = `--color: ${entry.color}; --ink: ${entry.ink}`;
  node.textContent = [entry.name, ...entry.synonyms].join(" / ");
  node.title = entry.isFound === false ? "not found in this image" : node.textContent;
  return node;
}

function hidden(names) {
  const node = document.createElement("span");
  node.className = "chip hidden-chip";
  const first = names.slice(0, 3).join(", ");
  node.textContent = names.length > 3 ? `+ ${names.length} hidden: ${first} …` : `+ hidden: ${first}`;
  node.title = "These names compete for masks and are never drawn.";
  return node;
}

function fill() {
  const message = props.value || {};
  if (!(message.number > newest)) return;
  newest = message.number;
  if (typeof message.link === "string") {
    document.dispatchEvent(new CustomEvent("ovseg-link", { detail: { link: message.link, number: message.number } }));
  }
  const problem = document.createElement("span");
  problem.className = "problem";
  problem.textContent = message.problem;
  const chips = message.chips.map(chip);
  if (message.hidden.length) chips.push(hidden(message.hidden));
  box.replaceChildren(...(message.problem ? [problem] : chips));
}

watch(["value"], fill);
fill();
