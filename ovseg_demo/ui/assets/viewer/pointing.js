// What clicks, drags and keys on the image ask for: why a pixel is labelled so, or points of a new mask.

function correct(change) {
  trigger("correct", change);
}

function beginPointing(x, y, name) {
  state.pointing = newPointing(++state.pointed, x, y, name || state.map.classes[0]?.name || "");
  sendPointing(state.pointing, correct);
  update();
}

function endPointing() {
  state.pointing = null;
  find(".why").about = null;
  closeWhy();
}

/** Add a point to the new mask, or ask about the pixel. */
function act(x, y, isOther = false) {
  const { pointing } = state;
  if (!pointing) return pick(x, y);
  const side = isOther ? (pointing.side === "inside" ? "outside" : "inside") : pointing.side;
  pointing[side].push([x, y]);
  sendPointing(pointing, correct);
  update();
}

/** Where in the image a pointer is, as fractions; null outside. */
function placeOf(event) {
  const box = frame.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
  return x >= 0 && x < 1 && y >= 0 && y < 1 ? [x, y] : null;
}

frame.addEventListener("click", (event) => {
  const place = placeOf(event);
  if (!place || !state.map || state.mode !== "map" || drag?.isBox || zoom.wasDrag()) return;
  state.cursor = null;
  act(...pixelOf(place), event.shiftKey || event.altKey);
});

const pixelOf = ([x, y]) => [Math.floor(x * state.image.width), Math.floor(y * state.image.height)];

// A box around the new mask is drawn by dragging, with one finger: two enlarge the image.
let drag = null;
frame.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary) return dropDrag();
  const place = placeOf(event);
  drag = state.pointing && place && state.mode === "map" ? { pointer: event.pointerId, from: pixelOf(place), x: event.clientX, y: event.clientY, isBox: false, before: state.pointing.box } : null;
  if (drag) frame.setPointerCapture(event.pointerId);
});
frame.addEventListener("pointermove", (event) => {
  const place = placeOf(event);
  if (event.pointerId !== drag?.pointer || event.buttons !== 1 || !place || !state.pointing) return;
  drag.isBox ||= Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 6;
  if (!drag.isBox) return;
  state.pointing.box = [...drag.from, ...pixelOf(place)];
  update();
});
frame.addEventListener("pointercancel", dropDrag);
frame.addEventListener("pointerup", () => {
  if (drag?.isBox && state.pointing) {
    Object.assign(state.pointing, { inside: [], outside: [] });
    sendPointing(state.pointing, correct);
    update();
  }
});

/** Forget the drag, and the box that it began. */
function dropDrag() {
  if (drag?.isBox && state.pointing) state.pointing.box = drag.before;
  drag = null;
  update();
}

// With keys: arrows move a cursor over the image, Enter does what a click does.
frame.addEventListener("keydown", (event) => {
  if (event.target !== frame || !state.map || state.mode !== "map") return;
  const step = event.shiftKey ? 0.1 : 0.02;
  const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (move) {
    const [x, y] = state.cursor ?? [0.5, 0.5];
    state.cursor = [Math.min(0.999, Math.max(0, x + move[0])), Math.min(0.999, Math.max(0, y + move[1]))];
  } else if (event.key === "Enter" && state.cursor) {
    act(...pixelOf(state.cursor), event.shiftKey);
  } else return;
  event.preventDefault();
  update();
});
