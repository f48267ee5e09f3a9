// Suggested class names: a button for each that the prompt does not hold yet, and one for all of them.

const row = element.querySelector(".suggestions");
let newest = -1;
let names = [];

const promptBox = () => document.querySelector("#prompt textarea");
const normal = (name) => name.trim().toLowerCase();
const isInPrompt = (name, prompt) => prompt.split(/[,;|、/\n]|\.\s/).some((one) => normal(one) === normal(name));

/** Write into the prompt box as a visitor would, so that the map follows. */
function write(prompt) {
  promptBox().value = prompt;
  promptBox().dispatchEvent(new Event("input", { bubbles: true }));
}

function add(added) {
  const prompt = promptBox().value.replace(/[\s,;|、]+$/, "");
  write([...(prompt ? [prompt] : []), ...added].join(", "));
}

function makeButton(text, label, action) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", (event) => {
    const index = [...row.querySelectorAll("button")].indexOf(button);
    action();
    if (event.detail) return; // a pointer; with keys, the next button takes over the focus of the one that goes
    const buttons = row.querySelectorAll("button");
    (buttons[Math.min(index, buttons.length - 1)] ?? promptBox()).focus();
  });
  return button;
}

function show() {
  const prompt = promptBox()?.value ?? "";
  const left = names.filter((name) => !isInPrompt(name, prompt));
  const shown = [...row.querySelectorAll("button[data-name]")].map((button) => button.dataset.name);
  row.hidden = !left.length;
  if (left.join() === shown.join()) return; // a button must not be replaced under the pointer
  const title = document.createElement("span");
  title.className = "suggestions-title";
  title.textContent = "{{suggestions.label}}";
  const buttons = left.map((name) => {
    const button = makeButton(name, fill("{{suggestions.add}}", { name }), () => add([name]));
    button.dataset.name = name;
    return button;
  });
  if (left.length > 1) {
    const all = makeButton("{{suggestions.add_all}}", "{{suggestions.add_all}}", () => add(left));
    all.className = "all";
    buttons.push(all);
  }
  row.replaceChildren(...(left.length ? [title, ...buttons] : []));
}

function receive() {
  const message = props.value || {};
  if (!(message.number > newest)) return;
  newest = message.number;
  names = [...(message.names ?? [])];
  if (message.isPending) trigger("offer"); // encoding the candidates takes long: the server does it with progress
  const prompt = promptBox().value.trim();
  if (message.prompt && (!prompt || prompt === message.replaced)) write(message.prompt);
  show();
}

document.addEventListener("input", (event) => {
  if (event.target === promptBox()) show();
});
document.addEventListener("ovseg-names", () => setTimeout(show));
watch(["value"], receive);
receive();
