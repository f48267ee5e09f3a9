// The viewer keeps the newest message of each channel and paints what they say. Everything happens in the browser,
// without the server, but for the events that are triggered by name.

find(".cancel").addEventListener("click", () => {
  find(".work-label").textContent = "{{viewer.stopping}}";
  trigger("cancel", { run: state.run });
});

document.addEventListener("keydown", (event) => {
  const change = historyKey(event);
  if (change && state.map?.corrections[change === "undo" ? "canUndo" : "canRedo"]) {
    event.preventDefault();
    correct({ kind: change });
  }
  if (event.key !== "Escape") return;
  state.pinned = state.cursor = null;
  closeLeast();
  endPointing();
});

// Live edits: whatever carries the class "live" updates the map as it changes.

let edit = null;
document.addEventListener("input", (event) => {
  if (!event.target.closest(".live")) return;
  clearTimeout(edit);
  edit = setTimeout(() => trigger("edit"), 80);
});

new ResizeObserver(update).observe(frame);
watch(Object.keys(props), receive);
receive();
paint();
