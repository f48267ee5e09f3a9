// Image files: dropped or pasted anywhere on the page, and previews of those that the browser cannot draw.

// Some systems know no type for these files; Gradio takes only what has the type of an image.
const TYPES = { heic: "image/heic", heif: "image/heif", tif: "image/tiff", tiff: "image/tiff" };
const FORMATS = ["image/*", ...Object.keys(TYPES).map((suffix) => `.${suffix}`)].join();
const BOX = "#image input[type=file]", FRAME = "#image .image-frame img";

const typeOf = (file) => file.type || TYPES[file.name.split(".").pop().toLowerCase()] || "";

const RETRY = 100; // milliseconds
let brought = null; // the newest file, until Gradio's box has it

/** Upload a file as if it had been chosen in the image's box, which has no input while it uploads another one. */
function bring(file) {
  brought = file;
  const input = document.querySelector(BOX), chosen = new DataTransfer();
  if (!input) return setTimeout(() => brought === file && bring(file), RETRY);
  brought = null;
  chosen.items.add(new File([file], file.name, { type: typeOf(file) }));
  input.files = chosen.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

const target = element.querySelector(".drop-target");
let isOwn = false; // whether what is dragged is from this page: a thumbnail also counts as a file

const bringsFiles = (event) => !isOwn && [...(event.dataTransfer?.types ?? [])].includes("Files");

document.addEventListener("dragstart", () => (isOwn = true));
document.addEventListener("dragend", () => (isOwn = false));
for (const name of ["dragenter", "dragover", "drop"]) {
  // Before the image's box sees the event: it would drop what it knows no type for.
  window.addEventListener(name, (event) => {
    if (!bringsFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    target.hidden = name === "drop";
    if (name === "drop") bringOrQueue(event.dataTransfer.files);
  }, true);
}
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) target.hidden = true; // the pointer has left the window
}, true);

document.addEventListener("paste", (event) => {
  const { files } = event.clipboardData;
  const isTyping = event.target.matches?.("input, textarea");
  // Office programs put an image of a text beside the text.
  if (!files.length || (isTyping && event.clipboardData.getData("text/plain"))) return;
  event.preventDefault();
  bringOrQueue(files);
});

document.addEventListener("click", (event) => {
  const input = event.target.closest?.("#image") && document.querySelector(BOX);
  if (input) input.accept = FORMATS; // before the dialog opens
}, true);

// ---- previews: what the browser cannot draw, the server has decoded for the viewer

let decoded = null; // the address of the newest image, from the server

function preview(image) {
  if (image.classList.contains("undrawn") && decoded) image.src = decoded;
}

document.addEventListener("change", (event) => {
  if (!event.target.matches?.(BOX)) return;
  decoded = null;
  const file = event.target.files[0];
  if (!file || file.type === typeOf(file)) return;
  event.stopPropagation();
  bring(file);
}, true);
document.addEventListener("error", (event) => {
  if (!event.target.matches?.(FRAME)) return;
  event.target.classList.add("undrawn");
  preview(event.target);
}, true);
document.addEventListener("load", (event) => {
  if (event.target.matches?.(FRAME)) event.target.classList.remove("undrawn");
}, true);
document.addEventListener("ovseg-image", (event) => {
  decoded = event.detail.url;
  document.querySelectorAll(FRAME).forEach(preview);
});
