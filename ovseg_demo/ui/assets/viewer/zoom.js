// Zoom and pan: the frame, which holds the image and all that is painted over it, is enlarged inside the stage.

const MOST_ZOOM = 16;

/** Give the frame wheel, pinch, drag, double click and keys. `isDragged()` tells whether a drag has another meaning
 *  just now. Returns `reset()` and `wasDrag()`, which is true for the click that ends a drag. */
function makeZoom(frame, controls, { isDragged, changed }) {
  const view = { scale: 1, x: 0, y: 0 };
  const pointers = new Map(); // of the fingers and buttons that are down
  let moved = 0;
  let spread = 0; // distance of two fingers

  function show() {
    const [width, height] = [frame.clientWidth, frame.clientHeight];
    view.x = Math.min(0, Math.max(view.x, width * (1 - view.scale)));
    view.y = Math.min(0, Math.max(view.y, height * (1 - view.scale)));
    frame.style.transform = view.scale === 1 ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    frame.style.setProperty("--zoom", view.scale);
    frame.classList.toggle("zoomed", view.scale > 1);
    controls.querySelector("[data-zoom=reset]").textContent = `${Math.round(100 * view.scale)} %`;
    for (const button of controls.querySelectorAll("[data-zoom=out], [data-zoom=reset]")) button.disabled = view.scale === 1;
    controls.querySelector("[data-zoom=in]").disabled = view.scale === MOST_ZOOM;
    changed();
  }

  /** Enlarge by a factor; the point under the pointer, in the coordinates of the window, stays where it is. */
  function zoom(factor, clientX, clientY) {
    const box = frame.getBoundingClientRect();
    const scale = Math.min(MOST_ZOOM, Math.max(1, view.scale * factor)), ratio = scale / view.scale;
    const [x, y] = [(clientX ?? box.left + box.width / 2) - box.left, (clientY ?? box.top + box.height / 2) - box.top];
    Object.assign(view, { scale, x: view.x + x * (1 - ratio), y: view.y + y * (1 - ratio) });
    show();
  }

  function pan(dx, dy) {
    view.x += dx;
    view.y += dy;
    show();
  }

  function reset() {
    Object.assign(view, { scale: 1, x: 0, y: 0 });
    show();
  }

  const distance = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  };

  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && view.scale === 1) return; // the page scrolls
    event.preventDefault();
    zoom(Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / 200), event.clientX, event.clientY);
  }, { passive: false });
  frame.addEventListener("dblclick", (event) => {
    if (isDragged()) return;
    if (view.scale >= 4) reset();
    else zoom(2, event.clientX, event.clientY);
  });
  frame.addEventListener("pointerdown", (event) => {
    if (!pointers.size) moved = 0;
    pointers.set(event.pointerId, event);
    spread = pointers.size === 2 ? distance() : 0;
  });
  frame.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    pointers.set(event.pointerId, event);
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (pointers.size === 2) {
      const [a, b] = [...pointers.values()], now = distance();
      if (spread) zoom(now / spread, (a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2);
      spread = now;
      moved = Infinity;
    } else if (view.scale > 1 && !isDragged()) {
      moved += Math.hypot(dx, dy);
      if (moved > 5) pan(dx, dy);
      if (moved > 5) frame.setPointerCapture(event.pointerId);
    }
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
    frame.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  frame.addEventListener("keydown", (event) => {
    const factor = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[event.key];
    if (event.target !== frame || event.ctrlKey || event.metaKey || !(factor || event.key === "0")) return;
    event.preventDefault();
    if (factor) zoom(factor);
    else reset();
  });
  for (const button of controls.querySelectorAll("button")) {
    button.addEventListener("click", () => ({ in: () => zoom(1.5), out: () => zoom(1 / 1.5), reset })[button.dataset.zoom]());
  }
  return { reset, wasDrag: () => moved > 5, scale: () => view.scale };
}
