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

element.querySelector("nav a").addEventListener("click", (event) => {
  event.preventDefault(); // the page has a <base>, against which "#how" would be another page
  document.getElementById("how").scrollIntoView({ behavior: "smooth" });
});
