/** Who gives orders. The name is kept as long as the tab, and goes nowhere but into orders. */

const NAME = "humwatch.who";

/** @returns {string} */
export function rememberedName() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} who */
export function rememberName(who) {
  try {
    sessionStorage.setItem(NAME, who);
  } catch {
    /* asked again next time */
  }
}

/** Forget who it was. */
export function forgetName() {
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    /* nothing was kept */
  }
}
