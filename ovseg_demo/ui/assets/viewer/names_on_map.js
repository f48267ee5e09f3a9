// The names on the map.

/** Write names where the server says that their regions are; names of smaller regions make way. */
function placeNames(map) {
  const layer = find(".names");
  layer.replaceChildren();
  if (!map || !options.labels) return;
  const focus = state.hovered ?? state.pinned;
  const taken = [];
  for (const entry of map.classes.filter((one) => one.point && (focus === null || one.index === focus))) {
    const tag = make("span", "", entry.name);
    tag.style.cssText = `--color: ${entry.color}; --ink: ${entry.ink}`;
    layer.append(tag);
    const box = freeBox(entry.point, tag.offsetWidth, tag.offsetHeight, taken);
    if (!box) {
      tag.remove();
      continue;
    }
    taken.push(box);
    tag.style.left = `${box.left}px`;
    tag.style.top = `${box.top}px`;
  }
}

function freeBox([x, y], width, height, taken) {
  const left = Math.min(Math.max(0, x * frame.clientWidth - width / 2), Math.max(0, frame.clientWidth - width));
  for (const rows of [0, -1, 1, -2, 2]) {
    const top = Math.min(Math.max(0, y * frame.clientHeight - height / 2 + rows * height), Math.max(0, frame.clientHeight - height));
    const box = { left, top, right: left + width, bottom: top + height };
    if (!taken.some((one) => one.left < box.right && box.left < one.right && one.top < box.bottom && box.top < one.bottom)) return box;
  }
  return null;
}
