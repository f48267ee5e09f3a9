// The least score of a class: pixels whose class has a smaller share of their scores stay unlabelled.

/** The button in the legend that opens the panel of a class. */
function leastButton(entry, open) {
  const help = fill("{{least.open}}", { name: entry.name, score: entry.minScore.toFixed(2) });
  const button = make("button", "tune", "≥", { type: "button", "aria-label": help, title: help, "data-name": entry.name });
  button.classList.toggle("own", entry.hasOwn);
  button.addEventListener("click", () => open(entry));
  return button;
}

/** The panel of a class: `set(score)` is called with each score that is chosen, null for that of the whole map. */
function fillLeast(panel, entry, ofMap, { set, close }) {
  const slider = make("input", "", [], { type: "range", min: 0, max: 1, step: 0.05, "aria-label": fill("{{least.slider}}", { name: entry.name }) });
  const number = make("output", "score");
  const closer = make("button", "close", "×", { type: "button", "aria-label": "{{least.close}}" });
  const reset = make("button", "", fill("{{least.reset}}", { score: ofMap.toFixed(2) }), { type: "button" });
  const show = (score, isOwn) => {
    slider.value = score;
    number.textContent = Number(score).toFixed(2);
    reset.disabled = !isOwn;
  };
  slider.addEventListener("input", () => {
    show(slider.value, true);
    set(Number(slider.value));
  });
  reset.addEventListener("click", () => {
    show(ofMap, false);
    set(null);
    slider.focus();
  });
  closer.addEventListener("click", close);
  show(entry.minScore, entry.hasOwn);
  panel.replaceChildren(
    make("h3", "", [make("span", "", "{{least.title}}"), closer]),
    make("p", "", fillParts("{{least.text}}", { name: make("b", "", entry.name) })),
    make("div", "least-line", [slider, number]),
    make("div", "naming-actions", reset),
  );
  slider.focus();
}

/** Least scores by name with another one for a class; null takes that of the whole map. */
function withScore(scores, name, score) {
  const others = Object.entries(scores).filter(([other]) => other.toLowerCase() !== name.toLowerCase());
  return Object.fromEntries(score === null ? others : [...others, [name, score]]);
}
