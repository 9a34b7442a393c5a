/** A button that plays a sound, and stops the one that plays: one is heard at a time. */

import { button, element, fill } from "./elements.js";
import { glyph } from "./state_sign.js";

/** @type {(() => void) | null} */
let stopOther = null;

/** Be silent: the view is left, or its list is drawn anew. */
export function silence() {
  stopOther?.();
}

/** @param {string} address of the sound @param {string} words what it is @returns {HTMLElement} */
export function soundButton(address, words) {
  const audio = new Audio();
  const made = button("", () => (audio.paused ? play() : stop()));
  const trouble = element("span.trouble", { role: "alert" });
  const draw = (playing) => {
    made.setAttribute("aria-label", `${playing ? "Stop" : "Play"}: ${words}`);
    fill(made, glyph(playing ? "pause" : "play"), element("span", {}, playing ? "Stop" : "Play"));
  };
  const ended = () => {
    if (stopOther === stop) stopOther = null;
    draw(false);
  };
  function stop() {
    audio.pause();
    audio.removeAttribute("src");
    audio.load();
    ended();
  }
  function play() {
    stopOther?.();
    stopOther = stop;
    trouble.textContent = "";
    audio.src = address;
    draw(true);
    audio.play().catch((error) => {
      if (error.name === "AbortError") return;
      trouble.textContent = "This sound cannot be played.";
      stop();
    });
  }
  audio.addEventListener("ended", stop);
  draw(false);
  return element("span.sound-button", {}, made, trouble);
}
