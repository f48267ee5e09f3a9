// The tip at the pointer, which names what is there.

frame.addEventListener("pointermove", (event) => showTip(event, placeOf(event)));
frame.addEventListener("pointerleave", () => showTip(null, null));

/** Name what is under the pointer, and point it out in the legend. */
function showTip(event, place) {
  const tip = find(".tip");
  const map = state.mode === "compare" && state.other?.rival === state.compare && place && place[0] < state.divider ? state.other : displayedMap();
  const isOnImage = state.mode === "compare" && state.compare === "image" && place && place[0] < state.divider;
  const label = place && map && !isOnImage && state.mode !== "masks" ? labelAt(map.labels, ...place) : 0;
  for (const row of findAll(".legend .entry.pointed")) row.classList.remove("pointed");
  hoverMask(place && state.masks && (state.mode === "masks" || !displayedMap()) ? labelAt(state.masks.labels, ...place) : 0);
  tip.hidden = !label;
  if (!label) return;
  const entry = map.classes.find((one) => one.index === label - 1);
  tip.replaceChildren(make("i", "swatch"), make("b", "", entry.name), make("span", "", `${percent(entry.share)} · ${entry.score.toFixed(2)}`));
  tip.style.setProperty("--color", entry.color);
  const box = find(".stage").getBoundingClientRect();
  const left = Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 4);
  const top = event.clientY - box.top + 18 + tip.offsetHeight > box.height ? event.clientY - box.top - tip.offsetHeight - 10 : event.clientY - box.top + 18;
  tip.style.transform = `translate(${Math.max(4, left)}px, ${top}px)`;
  const row = find(`.legend .entry[data-index="${entry.index}"]`);
  if (row) row.classList.add("pointed");
}

function hoverMask(label) {
  if (state.hoveredMask === label) return;
  state.hoveredMask = label;
  update();
}
