// The comparison: a divider between the map and the image, or the map of a rival.

function placeDivider(isComparing) {
  const divider = find(".divider"), at = 100 * state.divider;
  divider.hidden = !isComparing;
  divider.style.left = `${at}%`;
  divider.setAttribute("aria-valuenow", String(Math.round(at)));
  layers.map.style.clipPath = isComparing ? `inset(0 0 0 ${at}%)` : "";
  layers.other.style.clipPath = isComparing ? `inset(0 ${100 - at}% 0 0)` : "";
}

function showTags(isComparing, comparesOther) {
  const [left, right] = [find(".side-left"), find(".side-right")];
  left.hidden = right.hidden = !isComparing;
  if (!isComparing) return;
  const rival = comparesOther ? state.map?.rivals.find((one) => one.key === state.compare) : null;
  left.textContent = rival ? rival.title : "{{viewer.side_image}}";
  right.textContent = rival ? rival.own : "{{viewer.side_map}}";
}

/** A tab for each rival of the map; those that cannot answer say why. */
function offerRivals(rivals) {
  const list = find("[data-for=compare]");
  for (const tab of tabsOf("compare")) {
    if (!["image", "clips"].includes(tab.dataset.compare) && !rivals.some((one) => one.key === tab.dataset.compare)) tab.remove();
  }
  for (const rival of rivals) {
    let tab = tabsOf("compare").find((one) => one.dataset.compare === rival.key);
    if (!tab) {
      tab = make("button", "", [make("span"), make("small")], { type: "button", role: "tab", "data-compare": rival.key, "aria-selected": "false", tabindex: "-1" });
      listenToTab("compare", tab);
      list.append(tab);
    }
    const [pair, cost] = [tab.querySelector("span"), tab.querySelector("small")];
    if (rival.key !== "clips") pair.textContent = `${rival.title} | ${rival.own}`;
    cost.textContent = rival.cost; // of what must still be computed
    tab.disabled = Boolean(rival.obstacle);
    tab.title = rival.obstacle || (rival.key === "clips" ? "{{viewer.compare_clips_help}}" : "{{viewer.compare_other_help}}");
  }
  const chosen = tabsOf("compare").find((one) => one.dataset.compare === state.compare);
  if (!chosen || chosen.disabled) choose("compare", "image");
}

/** A rival's map is made when somebody wants to see it and there is a map to compare, and kept up to date while they
 *  do. A tab that is chosen again asks again for a map that did not come: it was refused, or cancelled. */
function sendComparison(isChosen = false) {
  const rival = state.map && state.mode === "compare" && state.compare !== "image" ? state.compare : "";
  const isMissing = Boolean(rival) && state.other?.rival !== rival;
  if (rival === state.wantedRival && !(isChosen && isMissing)) return;
  state.wantedRival = rival;
  trigger("compare", { rival });
}

frame.addEventListener("pointermove", (event) => {
  if (state.mode === "compare" && event.buttons === 1) moveDivider(placeOf(event)?.[0] ?? state.divider);
});
frame.addEventListener("pointerdown", (event) => {
  const place = placeOf(event);
  if (state.mode !== "compare" || !place) return;
  frame.setPointerCapture(event.pointerId);
  moveDivider(place[0]);
});

find(".divider").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  moveDivider(state.divider + step);
});

function moveDivider(at) {
  state.divider = Math.min(1, Math.max(0, at));
  placeDivider(Boolean(displayedMap()));
}
