// Presenting: the image and its class names large, everything else gone. Key P or the address's "present=1" begins,
// Escape leaves, arrow keys and presenters' remote controls go from example to example.

const MOST_PREFETCHED = 2; // images of the queue that the server gets before they are shown

const pageRow = () => document.getElementById("page");
const isPresenting = () => Boolean(pageRow()?.classList.contains("presenting"));
const viewerState = () => document.querySelector(".viewer").dataset;
const addressed = (name) => new URLSearchParams(location.search).get(name);
const isAskedFor = () => ![null, "0", "false"].includes(addressed("present"));

function present(isOn) {
  pageRow().classList.toggle("presenting", isOn);
  document.documentElement.style.overflow = isOn ? "hidden" : "";
  for (const covered of document.querySelectorAll("#header, #how, #licence, footer")) covered.inert = isOn;
  const address = new URL(location.href);
  if (isOn) address.searchParams.set("present", "1");
  else address.searchParams.delete("present");
  history.replaceState(history.state, "", address);
  if (document.activeElement !== document.body) document.activeElement.blur();
  document.dispatchEvent(new CustomEvent("ovseg-present", { detail: { isOn } }));
  if (!isOn) fitPrompt();
  const isEmpty = viewerState().state === "empty" && viewerState().live !== "on";
  showQueue();
  if (isOn) prepare();
  else endPreparing();
  if (isOn && isEmpty && addressed("example") === null && addressed("prompt") === null) go(1);
}

const cards = () => [...document.querySelectorAll("#gallery .card")];

let place = -1; // the index of the example that was chosen last

document.addEventListener("click", (event) => {
  const card = event.target.closest?.("#gallery .card");
  if (card) place = cards().indexOf(card);
}, true);
document.addEventListener("ovseg-example", ({ detail }) => {
  place = cards().findIndex((card) => card.querySelector("b").textContent === detail.title);
});

/** The example that is so many places further, by its index; after the last comes the first. */
function exampleAt(places) {
  const next = place < 0 && places < 0 ? -1 : place + places;
  return (next + cards().length) % cards().length;
}

/** The same, seen from what is shown: an image from the queue comes after the chosen example. */
const neighbour = (places) => exampleAt(isBetween && places < 0 ? 0 : places);

/** Show the image that waits, or the example that is so many places further. */
function go(places) {
  prepared = "";
  isMoving = true;
  if (places > 0 && queue.length) return showQueued();
  if (!cards().length) return;
  const next = neighbour(places);
  isBetween = false;
  cards()[next].click();
}

// ---- images that were dropped or pasted while another one is shown: each comes after it

const queue = []; // of files, each with its path on the server, once it is there
let isBetween = false; // whether an image from the queue is shown, after the chosen example and before the next one

/** Show a file, or let it wait for its turn. */
function bringOrQueue(files) {
  if (!files.length) return;
  if (!isPresenting() || viewerState().state === "empty") return bring(files[0]);
  queue.push(...[...files].map((file) => ({ file, path: null })));
  showQueue();
  uploadQueue();
}

function showQueued() {
  isBetween = true;
  bring(queue.shift().file);
  showQueue();
  uploadQueue();
}

/** Upload the next images, to have them analyzed ahead. What is wrong with one is said when it is shown. */
async function uploadQueue() {
  for (const one of queue.slice(0, MOST_PREFETCHED).filter(({ path }) => path === null)) {
    one.path = "";
    const form = new FormData();
    form.append("files", one.file, one.file.name);
    const { root, api_prefix: prefix } = window.gradio_config;
    const answer = await fetch(`${root}${prefix}/upload`, { method: "POST", body: form }).catch(() => null);
    if (!answer?.ok) continue;
    [one.path] = await answer.json();
    prepare();
  }
}

function showQueue() {
  const note = document.querySelector(".queued");
  note.hidden = !queue.length;
  note.textContent = queue.length ? count("{{present.waits_one}}", "{{present.waits_many}}", queue.length) : "";
}

// ---- the next images of the queue, and the next and the previous example, are analyzed ahead, when there is nothing else to do

let prepared = "";
let prefetches = 0; // the number of the newest; they may arrive in any order
let isMoving = false; // until the map of what is shown next is there: its analysis comes first

function prepare() {
  if (!isPresenting() || isMoving || !viewerState().map || viewerState().live) return;
  const images = queue.slice(0, MOST_PREFETCHED).map((one) => one.path).filter(Boolean);
  const examples = cards().length ? [...new Set([neighbour(1), neighbour(-1)])] : [];
  const wanted = JSON.stringify([images, examples]);
  if (prepared === wanted || !(images.length || examples.length)) return;
  prepared = wanted;
  trigger("prefetch", { number: ++prefetches, images, examples });
}

function endPreparing() {
  if (prepared) trigger("prefetch", { number: ++prefetches, images: [], examples: [] });
  prepared = "";
}

document.addEventListener("ovseg-map", () => {
  isMoving = false;
  prepare();
});

/** Give the prompt's box the height of its text, which Gradio does only while one types. */
function fitPrompt() {
  const box = document.querySelector("#prompt textarea");
  box.style.height = "";
  box.style.height = `${box.scrollHeight + box.offsetHeight - box.clientHeight}px`;
}

const WAYS = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };

window.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest?.("textarea, .chips, [contenteditable], input:not([type=range], [type=radio], [type=checkbox])");
  const isLetter = event.key.length === 1 && event.key !== " ";
  if (!isPresenting()) {
    if (field || event.key.toLowerCase() !== "p") return;
    event.preventDefault();
    present(true);
  } else if (event.key === "Escape") {
    present(false);
  } else if (event.key in WAYS && (!field || event.key.startsWith("Page"))) {
    event.preventDefault();
    event.stopPropagation(); // the arrow keys would move the point in the image
    go(WAYS[event.key]);
  } else if (field && event.key === "Enter" && !event.shiftKey) {
    setTimeout(() => field.blur()); // the arrow keys are for examples again
  } else if (!field && isLetter) {
    const prompt = document.querySelector("#prompt textarea");
    prompt.focus();
    const isSeparated = /(^|[,;/\n])\s*$/.test(prompt.value) || /[,;/]/.test(event.key);
    const end = prompt.value.length;
    prompt.setRangeText(isSeparated ? "" : ", ", end, end, "end"); // the letter begins another name
  }
}, true);

// ---- a swipe across the image leads to its neighbour; an enlarged image moves instead

const SWIPE = 60; // pixels
let finger = null; // the event with which it came down

document.addEventListener("pointerdown", (event) => {
  const isAlone = event.pointerType === "touch" && event.isPrimary;
  const isOverImage = event.target.closest?.(".stage")?.querySelector(".frame:not(.zoomed)");
  finger = isPresenting() && isAlone && isOverImage ? event : null;
}, true);
document.addEventListener("pointerup", (event) => {
  if (event.pointerId !== finger?.pointerId) return;
  const [dx, dy] = [event.clientX - finger.clientX, event.clientY - finger.clientY];
  finger = null;
  if (Math.abs(dx) > Math.max(SWIPE, 2 * Math.abs(dy))) go(dx < 0 ? 1 : -1);
}, true);

document.addEventListener("click", (event) => {
  if (event.target.closest?.(".leave")) present(false);
  if (event.target.closest?.(".queued")) go(1);
  if (event.target.closest?.("#header .present")) present(true);
});

/** Begin when the parts of the page are there. */
function begin() {
  if (document.querySelector("#gallery .card") && document.querySelector(".viewer")) present(true);
  else setTimeout(begin, 50);
}

if (isAskedFor()) begin();
