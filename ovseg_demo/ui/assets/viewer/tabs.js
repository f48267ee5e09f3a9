// The tabs above the map: the mode, and what the map is compared with.

function choose(attribute, value) {
  for (const button of tabsOf(attribute)) {
    const isChosen = button.dataset[attribute] === value;
    button.setAttribute("aria-selected", String(isChosen));
    button.tabIndex = isChosen ? 0 : -1;
  }
  state[attribute] = value;
  sendComparison(true);
  update();
}

const tabsOf = (attribute) => findAll(`.viewer-bar [data-${attribute}][role=tab]`);

/** The tab that a key leads to from another one, past those that cannot be chosen; none for other keys. */
function nextTab(tabs, tab, key) {
  const open = tabs.filter((one) => !one.disabled), at = open.indexOf(tab);
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: open.length - 1 }[key];
  return to === undefined ? null : open[(to + open.length) % open.length];
}

function listenToTab(attribute, tab) {
  tab.addEventListener("click", () => choose(attribute, tab.dataset[attribute]));
  tab.addEventListener("keydown", (event) => {
    const next = nextTab(tabsOf(attribute), tab, event.key);
    if (!next) return;
    event.preventDefault();
    choose(attribute, next.dataset[attribute]);
    next.focus();
  });
}

for (const attribute of ["mode", "compare"]) {
  for (const tab of tabsOf(attribute)) listenToTab(attribute, tab);
}
