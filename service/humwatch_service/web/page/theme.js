/**
 * Which colours the page has: the system's, or what was chosen here. A plain script, so that nothing flashes.
 * @typedef {"auto" | "light" | "dark"} ThemeChoice
 */
(() => {
  "use strict";
  const NAME = "humwatch.theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");

  /** @returns {ThemeChoice} */
  function choice() {
    try {
      const kept = localStorage.getItem(NAME);
      return kept === "light" || kept === "dark" ? kept : "auto";
    } catch {
      return "auto";
    }
  }

  function apply() {
    const chosen = choice();
    const wanted = chosen === "auto" ? (dark.matches ? "dark" : "light") : chosen;
    const shown = paper.matches ? "light" : wanted;
    if (document.documentElement.dataset.theme === shown) return;
    document.documentElement.dataset.theme = shown;
    document.dispatchEvent(new CustomEvent("themechange"));
  }

  /** @param {ThemeChoice} chosen */
  function choose(chosen) {
    try {
      if (chosen === "auto") localStorage.removeItem(NAME);
      else localStorage.setItem(NAME, chosen);
    } catch {
      /* without storage the choice lasts as long as the system's */
    }
    apply();
  }

  dark.addEventListener("change", apply);
  paper.addEventListener("change", apply);
  globalThis.humwatchTheme = Object.freeze({ choice, choose });
  apply();
})();
