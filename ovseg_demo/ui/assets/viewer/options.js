// How the map looks: the visitor's options, which this browser remembers, and those for presenting.

for (const input of findAll("[data-option]")) {
  const name = input.dataset.option, isCheck = input.type === "checkbox";
  if (isCheck) input.checked = options[name];
  else input.value = options[name];
  input.addEventListener("input", () => {
    options[name] = isCheck ? input.checked : Number(input.value);
    saveOptions();
    update();
  });
}

// Presenting: lines, names and colours that carry to the last row.

let viewBefore = null;
document.addEventListener("ovseg-present", (event) => {
  const { isOn } = event.detail;
  if (isOn) viewBefore ??= { ...options };
  Object.assign(options, isOn ? { labels: true, outlines: true, opacity: Math.max(0.7, options.opacity) } : viewBefore);
  if (!isOn) viewBefore = null;
  state.isPresenting = isOn;
  if (isOn) endPointing(); // swipes and clicks would go on with a mask that nobody sees
  choose("mode", "map");
  zoom.reset();
});

function restoreOptions() {
  try {
    return JSON.parse(localStorage.getItem("ovseg-view")) || {};
  } catch {
    return {};
  }
}

function saveOptions() {
  try {
    localStorage.setItem("ovseg-view", JSON.stringify(options));
  } catch {
    // Private windows may forbid it; then nothing is remembered.
  }
}
