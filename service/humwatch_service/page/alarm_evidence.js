/** The sound of an alarm: to hear, to see, and to compare with normal sound of the same machine. */

import { Curve } from "./curve.js";
import { element, panel, say } from "./elements.js";
import { Player } from "./player.js";
import { part } from "./service.js";
import { EVIDENCE } from "./words.js";

/** Sound that is kept after the moment at which an alarm is raised, seconds. */
const AFTER_S = 10;

/** Player, picture and scores, in step. */
export class AlarmEvidence {
  /** @param {Object} alarm */
  constructor(alarm) {
    this._alarm = alarm;
    this._path = `/v1/alarms/${part(alarm.id)}`;
    this._signs = new AbortController();
    this._place = element("div.curve");
    this._note = element("p.quiet");
    this._picture = /** @type {HTMLImageElement} */ (element("img.evidence", { alt: `Spectrogram, departure from what the model expects, and score of alarm ${alarm.id}`, hidden: true }));
    this._picture.addEventListener("load", () => (this._picture.hidden = false));
    this._picture.addEventListener("error", () => (this._picture.hidden = true));
    this._player = null;
    this._body = element("div");
    this.node = panel("Sound of the alarm", { kind: "listen" }, this._body, this._note);
    this.picture = panel("What it looks like", { kind: "seen" }, this._picture);
    this.trace = panel("Score", { kind: "trace" }, this._place);
    this._curve = new Curve(this._place, {
      height: 180, warn_level: () => this._alarm.context?.levels.warn ?? null,
      series: [{ name: "score", colour: "--curve", width: 2.2 }], marks: () => this._marks(),
    });
    this._compare();
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
      this._picture.src = `${this._path}/picture.png?of=${alarm.evidence}`;
      this.picture.hidden = !kept;
    }
    this._was = alarm.evidence;
    const trace = alarm.context?.trace ?? [];
    this.trace.hidden = trace.length < 2;
    this._curve.show([trace.map((point) => point.at_s), trace.map((point) => point.score)]);
  }

  close() {
    this._signs.abort();
    this._player?.close();
    this._curve.close();
  }

  /** Where in the clip the alarm was raised, seconds. @param {number} length_s */
  _moment(length_s) {
    if (!Number.isFinite(length_s)) return null;
    return Math.max(0, this._alarm.evidence === "kept" ? length_s - AFTER_S : length_s);
  }

  _makePlayer() {
    this._player = new Player([{ name: "This alarm", address: `${this._path}/clip.flac`, moment: (length_s) => this._moment(length_s) }], "the alarm");
    this._player.addEventListener("time", () => this._curve.redraw());
    if (this._normal) this._player.offer(this._normal);
    this._body.replaceChildren(this._player.node);
  }

  /** Offer normal sound, where there is any. */
  async _compare() {
    const address = `/v1/machines/${part(this._alarm.machine_id)}/normal.flac`;
    try {
      const response = await fetch(address, { signal: this._signs.signal, credentials: "same-origin", headers: { Range: "bytes=0-0" } });
      if (!response.ok) return;
      this._normal = { name: "Normal sound", address };
      this._player?.offer(this._normal);
    } catch {
      /* left, or not reached: there is nothing to compare with */
    }
  }

  _marks() {
    const raised = { at: this._alarm.raised_s, name: "raised", colour: "--alarm-line" };
    const { place_s, length_s } = this._player ?? {};
    if (place_s === null || place_s === undefined || length_s === null) return [raised];
    return [raised, { at: this._alarm.raised_s + place_s - this._moment(length_s), name: "", colour: "--ink" }];
  }
}
