/** The sound of an alarm: to hear, to see, and to compare with normal sound of the same machine. */

import { Curve } from "./curve.js";
import { element, panel, say } from "./elements.js";
import { Player } from "./player.js";
import { ask, part } from "./service.js";
import { nowS } from "./times.js";
import { EVIDENCE } from "./words.js";

/** Sound that is kept after the moment at which an alarm is raised, seconds. */
const AFTER_S = 10;
const YOUNG_S = 60;
const PAINTED_MS = 4_000;

/** Player, picture and scores, in step; `length` events tell that places in the sound are known. */
export class AlarmEvidence extends EventTarget {
  /** @param {Object} alarm */
  constructor(alarm) {
    super();
    this._alarm = alarm;
    this._path = `../v1/alarms/${part(alarm.id)}`;
    this._left = new AbortController();
    this._place = element("div.curve");
    this._note = element("p.quiet");
    this._picture = /** @type {HTMLImageElement} */ (element("img.evidence", { alt: `Spectrogram, departure from what the model expects, and score of alarm ${alarm.id}`, hidden: true }));
    this._picture.addEventListener("load", () => (this._picture.hidden = false));
    this._picture.addEventListener("error", () => (this.picture.hidden = true));
    this._player = null;
    this._body = element("div");
    this.node = panel("Sound of the alarm", { kind: "listen" }, this._body, this._note);
    this.picture = panel("What it looks like", { kind: "seen" }, this._picture);
    this.trace = panel("Score", { kind: "trace" }, this._place);
    this._curve = new Curve(this._place, {
      height: 180, warn_level: () => this._alarm.context?.levels.warn ?? null,
      series: [{ name: "score", colour: "--curve", width: 2.2 }], marks: () => this._marks(),
    });
    this.show(alarm);
  }

  /** @param {Object} alarm as it is now */
  show(alarm) {
    const grown = alarm.evidence !== this._was;
    this._alarm = alarm;
    const kept = alarm.evidence === "kept" || alarm.evidence === "partial";
    say(this._note, alarm.evidence === "kept" ? "From ten seconds before the sound that began it to ten seconds after it was raised." : `The sound is ${EVIDENCE[alarm.evidence]}.`);
    if (kept && this._player === null) this._makePlayer();
    else if (grown) this._player?.reload();
    if (grown) {
      if (alarm.evidence === "kept") this._loadPicture();
      else this.picture.hidden = true;
    }
    this._was = alarm.evidence;
    const trace = alarm.context?.trace ?? [];
    this.trace.hidden = trace.length < 2;
    this._curve.show([trace.map((point) => point.at_s), trace.map((point) => point.score)]);
  }

  /** The picture is painted once the sound is whole, which takes the service a moment. */
  _loadPicture() {
    const young = nowS() - this._alarm.raised_s < YOUNG_S;
    this._timer = setTimeout(() => {
      this.picture.hidden = false;
      this._picture.src = `${this._path}/picture.png`;
    }, young ? PAINTED_MS : 0);
  }

  close() {
    this._left.abort();
    clearTimeout(this._timer);
    this._player?.close();
    if (this._normal) URL.revokeObjectURL(this._normal);
    this._curve.close();
  }

  /** Where in the sound a time lies, seconds from its start; null where that is not known. @param {number} at_s */
  placeOf(at_s) {
    const moment_s = this._moment(this._length_s ?? NaN);
    const place_s = moment_s === null ? null : moment_s + at_s - this._alarm.raised_s;
    return place_s !== null && place_s >= 0 && place_s <= this._length_s ? place_s : null;
  }

  /** Hear the sound from a time on. @param {number} at_s */
  hear(at_s) {
    const place_s = this.placeOf(at_s);
    if (place_s !== null) this._player?.hear(place_s);
  }

  _stretches() {
    return (this._alarm.context?.irregular_times ?? []).map(({ start_s, end_s }) => ({ start_s: this.placeOf(start_s), end_s: this.placeOf(end_s) })).filter((found) => found.start_s !== null && found.end_s !== null);
  }

  /** Where in the clip the alarm was raised, seconds. @param {number} length_s */
  _moment(length_s) {
    if (!Number.isFinite(length_s)) return null;
    return Math.max(0, this._alarm.evidence === "kept" ? length_s - AFTER_S : length_s);
  }

  _makePlayer() {
    const alarm = { name: "This alarm", address: `${this._path}/clip.flac`, moment: (length_s) => this._moment(length_s), marks: () => this._stretches() };
    this._player = new Player([alarm, { name: "Normal sound", address: null, load: () => this._loadNormal() }], "the alarm");
    this._player.addEventListener("time", () => this._timed());
    this._body.replaceChildren(this._player.node);
  }

  _timed() {
    const { length_s } = this._player;
    if (length_s !== null && length_s !== this._length_s) {
      this._length_s = length_s;
      this._player.drawMarks();
      this.dispatchEvent(new CustomEvent("length"));
    }
    this._curve.redraw();
  }

  /** Normal sound of the machine, fetched when somebody wants to compare. */
  async _loadNormal() {
    const response = await ask(`../v1/machines/${part(this._alarm.machine_id)}/normal.flac`, { signal: this._left.signal, accept: "audio/flac" });
    this._normal = URL.createObjectURL(await response.blob());
    return this._normal;
  }

  _marks() {
    const raised = { at: this._alarm.raised_s, name: "raised", colour: "--alarm-line" };
    const stretches = (this._alarm.context?.irregular_times ?? []).map(({ start_s, end_s }) => ({ at: (start_s + end_s) / 2, name: "", colour: "--stretch" }));
    const { place_s, length_s } = this._player ?? {};
    if (place_s === null || place_s === undefined || length_s === null) return [raised, ...stretches];
    return [raised, ...stretches, { at: this._alarm.raised_s + place_s - this._moment(length_s), name: "", colour: "--ink" }];
  }
}
