/** Signing in. The key is sent once, for a cookie that no script can read; it is kept nowhere on the page. */

import { element, fill } from "./elements.js";
import { ask, Problem, read, wordsOf } from "./service.js";

/** @returns {Promise<{key_needed: boolean, signed_in: boolean}>} */
export function session() {
  return read("../v1/session");
}

/** Forget the session. */
export async function signOut() {
  await ask("../v1/session", { method: "DELETE" });
}

/** @param {unknown} error */
function refusal(error) {
  return error instanceof Problem && error.status === 401 ? "This key is not known. Check it, and try again." : wordsOf(error);
}

/**
 * Show the form in place of a view.
 * @param {HTMLElement} main @param {() => void} signedIn
 */
export function showSignIn(main, signedIn) {
  const key = element("input", { id: "key", type: "password", autocomplete: "off", required: true, spellcheck: "false", autocapitalize: "none" });
  const trouble = element("p.trouble", { role: "alert", id: "key-trouble" });
  const submit = element("button.primary.large", { type: "submit" }, "Sign in");
  const form = element(
    "form.sign-in",
    { "aria-labelledby": "sign-in-title" },
    element("h1", { id: "sign-in-title" }, "Sign in"),
    element("p", {}, "This service wants an API key. It is exchanged for a session of twelve hours, and kept nowhere on this device."),
    element("div.field", {}, element("label", { for: "key" }, "API key"), key),
    trouble,
    submit,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const typed = key.value;
    key.value = "";
    submit.disabled = true;
    trouble.textContent = "";
    try {
      await ask("../v1/session", { method: "POST", json: { key: typed } });
      fill(main);
      signedIn();
    } catch (error) {
      trouble.textContent = refusal(error);
      key.focus();
    } finally {
      submit.disabled = false;
    }
  });
  fill(main, form);
  key.focus();
}
