/** Hears a sound: large controls, a loop, jumps to a moment, and a switch to another sound to compare with. */

import { button, element, fill, say } from "./elements.js";
import { wordsOf } from "./service.js";
import { glyph } from "./state_sign.js";
import { playedText } from "./times.js";

const AROUND_S = 5;
/** How much of the sound before a stretch is heard with it, seconds. */
const LEAD_S = 0.7;

/**
 * @typedef {Object} Sound
 * @property {string} name
 * @property {string | null} address null until it is loaded
 * @property {((length_s: number) => number | null)} [moment] where something happens, seconds from its start
 * @property {(length_s: number) => Array<{start_s: number, end_s: number}>} [marks] stretches that stand out, seconds from its start
 * @property {() => Promise<string>} [load] gets its address when it is first wanted; what it raises is shown
 */

/** A player; `time` events tell where it is. */
export class Player extends EventTarget {
  /** @param {Sound[]} sounds the first one is heard at first @param {string} momentName what happens at the moment */
  constructor(sounds, momentName) {
    super();
    this._sounds = sounds;
    this._audio = /** @type {HTMLAudioElement} */ (element("audio", { preload: "metadata" }));
    this._play = button("", () => this.toggle(), { kind: "primary large play" });
    this._loop = button("Loop", () => this._setLoop(!this._audio.loop), { "aria-pressed": "false" });
    this._loop.prepend(glyph("loop"));
    this._jumps = momentName === "" ? [] : [
      button("Before", () => this._jump(-2 * AROUND_S), { "aria-label": `Play what was before ${momentName}` }),
      button(`To ${momentName}`, () => this._jump(-1), { "aria-label": `Jump to ${momentName}` }),
      button("After", () => this._jump(0.5), { "aria-label": `Play what was after ${momentName}` }),
    ];
    this._seek = /** @type {HTMLInputElement} */ (element("input.seek", { type: "range", min: 0, max: 1, step: 0.05, value: 0, "aria-label": "Place in the sound, seconds" }));
    this._marks = element("div.marks-track", { "aria-hidden": "true" });
    this._time = element("span.played", {}, "0:00");
    this._trouble = element("p.trouble", { role: "alert" });
    this._choice = element("div.row.compare", { role: "group", "aria-label": "Which sound" });
    this.node = element("div.player", {}, this._audio, this._choice,
      element("div.row.wrap.controls", {}, this._play, this._loop, ...this._jumps), element("div.row.seeker", {}, element("div.seek-place", {}, this._seek, this._marks), this._time), this._trouble);
    this._listen();
    this._current = sounds[0];
    this._audio.src = this._current.address;
    this._drawChoice();
    this._drawPlay();
  }

  /** Hear the first sound anew: there is more of it now. */
  reload() {
    if (this._audio.paused && this._current === this._sounds[0]) this._audio.load();
  }

  toggle() {
    if (this._audio.paused) this._begin();
    else this._audio.pause();
  }

  /** Hear the first sound from a moment on. @param {number} at_s seconds from its start */
  async hear(at_s) {
    if (this._current !== this._sounds[0]) await this._change(this._sounds[0]);
    const go = () => {
      this._audio.currentTime = Math.max(0, at_s - LEAD_S);
      this._begin();
    };
    if (this._audio.readyState > 0) go();
    else this._audio.addEventListener("loadedmetadata", go, { once: true });
  }

  /** Show the stretches that stand out anew. */
  drawMarks() {
    const { duration } = this._audio;
    const marks = Number.isFinite(duration) && duration > 0 ? this._current.marks?.(duration) ?? [] : [];
    fill(this._marks, ...marks.map(({ start_s, end_s }) => {
      const mark = element("i.stretch");
      mark.style.left = `${(100 * start_s) / duration}%`;
      mark.style.width = `${(100 * (end_s - start_s)) / duration}%`;
      return mark;
    }));
  }

  /** Seconds from the start of the first sound; null while another one is heard. */
  get place_s() {
    return this._current === this._sounds[0] ? this._audio.currentTime : null;
  }

  get length_s() {
    return this._current === this._sounds[0] && Number.isFinite(this._audio.duration) ? this._audio.duration : null;
  }

  close() {
    this._audio.pause();
    this._audio.removeAttribute("src");
    this._audio.load();
  }

  _listen() {
    const audio = this._audio;
    const told = () => {
      this._drawPlace();
      this.dispatchEvent(new CustomEvent("time"));
    };
    audio.addEventListener("timeupdate", told);
    audio.addEventListener("loadedmetadata", () => {
      this.drawMarks();
      told();
    });
    for (const kind of ["play", "pause", "ended"]) audio.addEventListener(kind, () => this._drawPlay());
    audio.addEventListener("error", () => audio.getAttribute("src") && say(this._trouble, "This sound cannot be played."));
    this._seek.addEventListener("input", () => {
      audio.currentTime = Number(this._seek.value);
    });
  }

  _begin() {
    this._audio.play().catch((error) => error.name === "AbortError" || say(this._trouble, "This sound cannot be played."));
  }

  _setLoop(loop) {
    this._audio.loop = loop;
    this._loop.setAttribute("aria-pressed", String(loop));
  }

  _jump(by_s) {
    const moment_s = this._current.moment?.(this._audio.duration) ?? null;
    if (moment_s === null) return;
    this._audio.currentTime = Math.max(0, Math.min(this._audio.duration, moment_s + by_s));
    this._begin();
  }

  /** Change the sound, and go on playing if it played: that is how two are compared. */
  async _change(sound) {
    const played = !this._audio.paused;
    say(this._trouble, "");
    try {
      sound.address ??= await sound.load();
    } catch (error) {
      say(this._trouble, `${sound.name}: ${wordsOf(error)}`);
      return;
    }
    this._current = sound;
    this._audio.src = sound.address;
    this._drawChoice();
    if (played) this._begin();
  }

  _drawChoice() {
    this._choice.hidden = this._sounds.length < 2;
    const focused = this._choice.contains(document.activeElement);
    fill(this._choice, ...this._sounds.map((sound) => button(sound.name, () => this._change(sound), { "aria-pressed": String(sound === this._current) })));
    if (focused) this._choice.querySelector('[aria-pressed="true"]').focus();
    for (const jump of this._jumps) jump.disabled = !this._current.moment;
  }

  _drawPlay() {
    const playing = !this._audio.paused;
    this._play.setAttribute("aria-label", playing ? "Pause" : "Play");
    fill(this._play, glyph(playing ? "pause" : "play"), element("span", {}, playing ? "Pause" : "Play"));
  }

  _drawPlace() {
    const { currentTime, duration } = this._audio;
    const length_s = Number.isFinite(duration) ? duration : 0;
    this._seek.max = String(Math.max(0.1, length_s));
    this._seek.value = String(currentTime);
    this._seek.setAttribute("aria-valuetext", `${playedText(currentTime)} of ${playedText(length_s)}`);
    say(this._time, `${playedText(currentTime)} / ${playedText(length_s)}`);
  }
}
