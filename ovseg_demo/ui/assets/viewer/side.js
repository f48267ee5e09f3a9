// Beside the map: the legend, the least score of a class, and why a pixel is labelled as it is.

const MARGIN = 40; // pixels of the page around a place that must stay in sight

function showPanels(showsMasks) {
  find(".side").hidden = !(displayedMap() || state.masks);
  const rival = state.mode === "compare" && state.other?.rival === state.compare ? state.map?.rivals.find((one) => one.key === state.compare) : null;
  find(".legend").hidden = showsMasks || !displayedMap() || Boolean(rival);
  if (find(".legend").hidden) closeLeast();
  find(".shares").hidden = !rival;
  if (rival) fillShares(find(".shares"), rival, state.other, state.map);
  find(".masks-card").hidden = !showsMasks;
  if (showsMasks) fillMasks(find(".masks-card"), state.masks, state.map);
  const why = find(".why"), hadFocus = why.contains(document.activeElement);
  why.hidden = !((state.why || state.pointing) && state.mode === "map");
  if (!why.hidden) fillAnswer(why);
  else if (hadFocus) frame.focus({ preventScroll: true });
  fillCorrections(find(".corrections"), state.map?.corrections, correct);
  find(".actions").hidden = !state.map;
}

/** Fill the panel beside the map with the new mask, or with why a pixel is labelled; what is typed there stays, and
 *  so does the focus. */
function fillAnswer(panel) {
  const about = state.pointing ?? state.why, hadFocus = panel.contains(document.activeElement);
  if (panel.about === about) return;
  panel.about = about;
  if (state.pointing) fillPointing(panel, state.pointing, { send: correct, done: endPointing });
  else fillReasons(panel, state.why);
  if (hadFocus) panel.querySelector("button").focus({ preventScroll: true });
  keepInSight(panel, about);
}

function fillReasons(panel, why) {
  fillWhy(panel, why, closeWhy, (name) => correct({ kind: "name", x: why.x, y: why.y, name }));
  panel.append(...namingForm(why, state.map?.corrections.canPoint, { send: correct, point: (name) => beginPointing(why.x, why.y, name) }));
}

/** Where the panel lies over the map, as in a narrow window, scroll so far that the pixel is above it. */
function keepInSight(panel, { y }) {
  if (getComputedStyle(panel).position !== "fixed") return;
  const { top, height } = frame.getBoundingClientRect();
  const hidden = top + (height * y) / state.image.height + MARGIN - panel.getBoundingClientRect().top;
  if (hidden > 0) window.scrollBy({ top: hidden, behavior: "smooth" });
}

function actOnClass(index, action) {
  if (action === "tune") return openLeast(state.map.classes.find((entry) => entry.index === index));
  if (action === "click" || action === "press") state.pinned = state.pinned === index ? null : index;
  if (action === "press") askAbout(state.pinned); // with keys no pixel can be pointed at
  state.hovered = action === "hover" ? index : null;
  update();
}

let tuning = null; // until the server knows the newest least score

/** Open the panel for the least score of a class. */
function openLeast(entry) {
  closeWhy();
  state.tuned = entry.name;
  find(".least").hidden = false;
  fillLeast(find(".least"), entry, state.map.minScore, { set: (score) => tune(entry.name, score), close: closeLeast });
}

function tune(name, score) {
  state.minScores = withScore(state.minScores, name, score);
  clearTimeout(tuning);
  tuning = setTimeout(() => {
    tuning = null;
    trigger("tune", { scores: state.minScores });
  }, 80);
}

/** Move the slider as a visitor would, so that the map follows. */
function setGranularity(granularity) {
  const slider = document.querySelector("#granularity input[type=range]");
  slider.value = granularity;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Close the panel; the focus goes back to the button that opened it. */
function closeLeast() {
  const panel = find(".least");
  if (panel.hidden) return;
  const wasInside = panel.contains(document.activeElement), name = state.tuned;
  panel.hidden = true;
  state.tuned = null;
  if (wasInside) findAll(".legend .tune").find((one) => one.dataset.name === name)?.focus();
}

/** Ask why a class is where its name stands; about none, cease to ask. */
function askAbout(index) {
  if (index === null || !state.map) return closeWhy();
  const { point } = state.map.classes.find((entry) => entry.index === index);
  if (point && state.mode === "map") pick(Math.floor(point[0] * state.image.width), Math.floor(point[1] * state.image.height));
}

function pick(x, y) {
  if (!live.isStill()) return; // the answer would be about a frame that is gone
  closeLeast();
  trigger("pick", { x, y });
}

function closeWhy() {
  state.why = null;
  update();
}
