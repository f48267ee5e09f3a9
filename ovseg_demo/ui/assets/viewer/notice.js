// The notice beside the map: which model answered, and the button that gets one which knows more.

/** Fill the notice; `act(kind, model)` is called when its button is pressed, `refine(points)` for another grid, and
 *  `mend(button)` for what brings a name into the map. */
function fillNotice(panel, notice, { act, refine, mend }) {
  const wasInside = panel.contains(document.activeElement);
  const parts = [];
  if (notice.advice?.length || notice.remedies || notice.grid) parts.push(make("h3", "", [make("span", "", "{{notice.advice}}")]));
  parts.push(...(notice.advice ?? []).map((sentence) => make("p", "advice", sentence)));
  parts.push(...(notice.remedies ?? []).flatMap((remedy) => remedyParts(remedy, mend)));
  if (notice.grid) parts.push(...gridParts(notice.grid, refine));
  parts.push(make("h3", "", [make("span", "", "{{notice.title}}")]), make("p", "", [make("b", "", notice.title), notice.text ? `. ${notice.text}` : ""]));
  if (notice.button) {
    const { kind, model, label } = notice.button;
    const button = make("button", "larger", label, { type: "button" });
    button.addEventListener("click", () => {
      button.disabled = true; // until the next notice
      act(kind, model);
    });
    parts.push(button);
  }
  if (notice.hint) parts.push(make("p", "hint", notice.hint));
  if (notice.command) parts.push(make("code", "command", notice.command));
  panel.replaceChildren(...parts);
  allowNotice(panel, notice);
  if (wasInside) panel.querySelector("button:enabled")?.focus(); // with keys, one stays where one was
}

/** Let the button be pressed, unless its model is being downloaded. */
function allowNotice(panel, notice) {
  if (notice.button) panel.querySelector(".larger").disabled = notice.button.kind === "downloading";
}

/** What is said of a name that is not found although a mask has it, and the button that changes it. */
function remedyParts({ text, button }, mend) {
  const parts = [make("p", "advice", text)];
  if (!button) return parts;
  const node = make("button", "finer remedy", button.label, { type: "button" });
  node.addEventListener("click", () => mend(button));
  return [...parts, node];
}

/** What is said of Segment Anything's points, and buttons that analyze the image at others. */
function gridParts(grid, refine) {
  const buttons = grid.buttons.map(({ points, label, cost }) => {
    const button = make("button", "finer", [label, ...(cost ? [make("small", "", cost)] : [])], { type: "button", "data-points": points });
    button.addEventListener("click", () => refine(points));
    return button;
  });
  return [make("p", "advice", grid.text), ...buttons];
}
