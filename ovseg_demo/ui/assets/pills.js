// A row of buttons: earlier word lists of this browser.

const row = element.querySelector(".pills");

function fill() {
  const texts = props.value || [];
  const title = document.createElement("span");
  title.className = "pills-title";
  title.textContent = "{{gallery.recent}}";
  const buttons = texts.map((text, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.title = text;
    button.addEventListener("click", () => trigger("choose", { index }));
    return button;
  });
  row.replaceChildren(...(texts.length ? [title, ...buttons] : []));
}

watch(["value"], fill);
fill();
