// Corrections: the panel that names an area or a new mask, and the way back. `send(change)` passes a change to the
// server; what is typed only ever becomes text.

/** A new mask that is being pointed out: its number, its points and box in pixels of the image, and its name. */
const newPointing = (mask, x, y, name) => ({ mask, name, inside: [[x, y]], outside: [], box: null, side: "inside" });

/** Send the newest points; the answer replaces the mask of the same number that the points before gave. */
const sendPointing = ({ mask, name, inside, outside, box }, send) => send({ kind: "mask", mask, name, inside, outside, box });

/** The part of the panel "Why?" that names the area. */
function namingForm(why, canPoint, { send, point, close }) {
  const field = make("input", "", [], { type: "text", placeholder: "{{correct.placeholder}}", "aria-label": "{{correct.placeholder}}", maxlength: 100, autocomplete: "off" });
  const form = make("form", "naming", [field, make("button", "", "{{correct.rename}}", { type: "submit" })]);
  const name = (given) => send({ kind: "name", x: why.x, y: why.y, name: given });
  const isHidden = why.classes.some((entry) => entry.isDistractor && entry.name === why.name);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value.trim()) name(field.value);
  });
  const buttons = make("div", "naming-actions");
  const add = (text, help, act) => {
    const button = make("button", "", text, { type: "button", title: help });
    button.addEventListener("click", act);
    buttons.append(button);
  };
  if (!why.isCorrected && why.isLabelled) add("{{correct.keep}}", "{{correct.keep_help}}", () => name(why.name));
  if (why.isLabelled) add("{{correct.leave_out}}", "{{correct.leave_out_help}}", () => name(""));
  if (canPoint) add("{{correct.new_mask}}", "{{correct.new_mask_help}}", () => point(field.value.trim() || (isHidden ? "" : why.name)));
  return [make("h4", "", "{{correct.title}}"), form, buttons];
}

/** The panel of a new mask: its name, the side of the next point, and the end. */
function fillPointing(panel, pointing, { send, done }) {
  const field = make("input", "", [], { type: "text", "aria-label": "{{correct.mask_name}}", maxlength: 100, autocomplete: "off" });
  field.value = pointing.name;
  field.addEventListener("change", () => {
    pointing.name = field.value;
    sendPointing(pointing, send);
  });
  const sides = make("div", "segments segments-small", [], { role: "group", "aria-label": "{{correct.sides}}" });
  for (const [side, text] of [["inside", "{{correct.inside}}"], ["outside", "{{correct.outside}}"]]) {
    const button = make("button", "", text, { type: "button", "data-side": side, "aria-pressed": String(pointing.side === side) });
    button.addEventListener("click", () => {
      pointing.side = side;
      for (const other of sides.children) other.setAttribute("aria-pressed", String(other === button));
    });
    sides.append(button);
  }
  const end = make("button", "primary", "{{correct.done}}", { type: "button" });
  end.addEventListener("click", done);
  panel.replaceChildren(
    make("h3", "", [make("span", "", "{{correct.mask_title}}")]),
    make("label", "naming", [field]),
    make("p", "hint", "{{correct.mask_help}}"),
    make("div", "naming-actions", [sides, end]),
  );
}

/** The line that counts corrections, with undo and redo. */
function fillCorrections(panel, corrections, send) {
  panel.hidden = !corrections || !(corrections.canUndo || corrections.canRedo);
  if (panel.hidden) return;
  const state = JSON.stringify([corrections.count, corrections.canUndo, corrections.canRedo]);
  if (state === panel.dataset.state) return; // a button must not be replaced under the pointer
  panel.dataset.state = state;
  const back = make("button", "", "{{correct.undo}}", { type: "button", "data-change": "undo", title: "Ctrl+Z" });
  const forth = make("button", "", "{{correct.redo}}", { type: "button", "data-change": "redo", title: "Ctrl+Y" });
  back.disabled = !corrections.canUndo;
  forth.disabled = !corrections.canRedo;
  for (const button of [back, forth]) button.addEventListener("click", () => send({ kind: button.dataset.change }));
  const focused = panel.querySelector(":focus")?.dataset.change;
  panel.replaceChildren(make("span", "", count("{{correct.count_one}}", "{{correct.count_many}}", corrections.count)), back, forth);
  if (focused) (panel.querySelector(`[data-change=${focused}]:enabled`) ?? panel.querySelector(":enabled"))?.focus();
}

/** The undo or redo that a key press means; none while text is being typed. */
function historyKey(event) {
  const isText = event.target.closest?.("textarea, [contenteditable], input:not([type=range], [type=radio], [type=checkbox])");
  if (isText || !(event.ctrlKey || event.metaKey) || event.altKey) return null;
  const key = event.key.toLowerCase();
  if (key === "z") return event.shiftKey ? "redo" : "undo";
  return key === "y" ? "redo" : null;
}
