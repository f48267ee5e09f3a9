// Files of the map, and the copy of its image.

const FILE_PATIENCE = 10000; // milliseconds without a sign of the file
let fileWait = null;

/** Make the buttons wait for a file: until it is there, or the server does not answer. */
function awaitFile() {
  find(".actions").classList.add("waiting");
  clearTimeout(fileWait);
  fileWait = setTimeout(endFileWait, FILE_PATIENCE);
}

function endFileWait() {
  clearTimeout(fileWait);
  find(".actions").classList.remove("waiting");
}

for (const button of findAll("[data-file]")) {
  button.addEventListener("click", () => {
    awaitFile();
    find(".more").open = false;
    trigger("save", { kind: button.dataset.file, ...options });
  });
}

document.addEventListener("pointerdown", (event) => {
  if (!find(".more").contains(event.target)) find(".more").open = false;
});

find(".more").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  find(".more").open = false;
  find(".more summary").focus();
});

find(".copy-image").addEventListener("click", async (event) => {
  const button = event.currentTarget, image = find("img.image");
  const canvas = make("canvas", "", [], { width: image.naturalWidth, height: image.naturalHeight });
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(layers.map, 0, 0, canvas.width, canvas.height);
  try {
    const content = new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    await navigator.clipboard.write([new ClipboardItem({ "image/png": content })]);
    button.textContent = "{{files.image_copied}}";
  } catch {
    button.textContent = "{{files.no_clipboard}}"; // it exists only where the page is served securely
  }
  setTimeout(() => (button.textContent = "{{files.copy_image}}"), 2500);
});
