// Light or dark: as the system has it, until the visitor chooses.

const KEY = "ovseg-theme";

function setDark(isDark) {
  document.body.classList.toggle("dark", isDark);
}

try {
  const chosen = localStorage.getItem(KEY);
  if (chosen) setDark(chosen === "dark");
} catch {
  // Private windows may forbid it; then the system decides.
}

element.querySelector(".theme").addEventListener("click", () => {
  const isDark = !document.body.classList.contains("dark");
  setDark(isDark);
  try {
    localStorage.setItem(KEY, isDark ? "dark" : "light");
  } catch {
    // Not remembered, then.
  }
});

// Gradio's messages are buttons with a button inside, which screen readers cannot tell apart; a click folds them still.
new MutationObserver(() => {
  for (const head of document.querySelectorAll(".toast-header[role=button]")) {
    head.removeAttribute("role");
    head.removeAttribute("tabindex");
  }
}).observe(document.body, { childList: true, subtree: true });

element.querySelector("nav a").addEventListener("click", (event) => {
  event.preventDefault(); // the page has a <base>, against which "#how" would be another page
  document.getElementById("how").scrollIntoView({ behavior: "smooth" });
});
