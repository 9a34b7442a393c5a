/** One machine among all. */

import { Redraw } from "./canvas.js";
import { element, fill, say } from "./elements.js";
import { scoreText } from "./numbers.js";
import { alarmAddress, machineAddress } from "./route.js";
import { drawSparkline } from "./sparkline.js";
import { stateSign } from "./state_sign.js";
import { clockText, durationText, momentText, nowS, utcText } from "./times.js";
import { stateOfKind, troubleOf } from "./trouble.js";
import { reasonText, STATES } from "./words.js";

const BAR_TOP = 1.5;

/** Health of the source in words. @param {Object} tile */
export function sourceWords(tile) {
  if (!tile.listened) return "Nobody sends its sound";
  if (!tile.connected) return "Not connected";
  if (tile.faults.length) return tile.faults.map((fault) => reasonText(fault.code).replace(/\.$/, "")).join("; ");
  return "Sound is good";
}

/** Why the state is as it is; empty where there is nothing to say. @param {Object} tile */
function why(tile) {
  if (!tile.listened || tile.state === "normal") return "";
  const codes = tile.faults.map((fault) => fault.code);
  return tile.reasons.filter((code) => !codes.includes(code)).map(reasonText).join(" ");
}

/** Marks of what operators did. @param {Object} tile */
function marks(tile) {
  const hidden = tile.alarm_id !== null && tile.state !== "alarm";
  return [
    hidden ? "alarm in force" : null,
    tile.alarm_id !== null && tile.acknowledged ? "acknowledged" : null,
    tile.shelved_until_s !== null ? `shelved until ${clockText(tile.shelved_until_s)}` : null,
    tile.machine_type ? null : "no model",
    tile.provisional ? "provisional" : null,
    tile.commissioned && !tile.provisional ? "being commissioned" : null,
    tile.drifted ? "its normal has moved" : null,
  ].filter(Boolean);
}

/** A tile, kept as long as the view; only what changed is set. */
export class FleetTile {
  /** @param {string} machine_id @param {import("./fleet_history.js").FleetHistory} history */
  constructor(machine_id, history) {
    this._history = history;
    this._redraw = new Redraw(() => this._draw());
    this._name = element("a.name", { href: machineAddress(machine_id) }, machine_id);
    this._state = element("div.where");
    this._since = element("time.since");
    this._score = element("span.score");
    this._bar = element("div.bar", { "aria-hidden": "true" });
    this._fillbar = element("i.fill");
    this._warn = element("i.warn");
    this._bar.append(this._fillbar, this._warn, element("i.alarm"));
    this._canvas = /** @type {HTMLCanvasElement} */ (element("canvas.sparkline", { role: "img", "aria-label": "scores of the last hour" }));
    this._why = element("p.why");
    this._source = element("p.source");
    this._marks = element("p.marks");
    this._alarm = element("a.button.urgent", {}, "Look and listen");
    this._alarm.hidden = true;
    this.node = element(
      "li.tile", {},
      element("div.top", {}, this._state, this._since),
      element("h2", {}, this._name),
      element("div.measure", {}, element("span.unseen", {}, "score "), this._score, this._bar),
      this._canvas, this._why, this._source, this._marks, this._alarm,
    );
  }

  /** Show what is known now. @param {Object} tile */
  show(tile) {
    this._tile = tile;
    const kind = troubleOf(tile);
    if (this.node.dataset.kind !== kind || this.node.dataset.shown !== tile.state) this._showState(tile, kind);
    const warn_level = tile.warn_level ?? 0.7;
    const heard = tile.connected && tile.score !== null;
    say(this._score, heard ? scoreText(tile.score) : "–");
    this._fillbar.style.width = heard ? `${(Math.min(BAR_TOP, Math.max(0, tile.score)) / BAR_TOP) * 100}%` : "0";
    this._fillbar.dataset.over = !heard ? "" : tile.score >= 1 ? "alarm" : tile.score >= warn_level ? "warning" : "";
    this._warn.style.left = `${(warn_level / BAR_TOP) * 100}%`;
    say(this._why, why(tile));
    say(this._source, sourceWords(tile));
    this._source.dataset.health = !tile.listened ? "none" : !tile.connected || tile.faults.some((f) => f.hard) ? "bad" : tile.faults.length ? "doubtful" : "good";
    say(this._marks, marks(tile).join(" · "));
    this._alarm.hidden = tile.alarm_id === null;
    if (tile.alarm_id !== null) this._alarm.setAttribute("href", alarmAddress(tile.alarm_id));
    this._alarm.setAttribute("aria-label", `Look and listen: alarm of ${tile.machine_id}`);
    this.age();
    this.redraw();
  }

  /** Since when, by now. */
  age() {
    const since_s = this._tile.alarm_id !== null ? this._tile.alarm_since_s : this._tile.since_s;
    if (since_s === null || since_s === undefined) {
      say(this._since, "");
      return;
    }
    say(this._since, `for ${durationText(nowS() - since_s)}`);
    const title = `since ${momentText(since_s)}, UTC ${utcText(since_s)}`;
    if (this._since.title !== title) {
      this._since.title = title;
      this._since.setAttribute("datetime", utcText(since_s));
    }
  }

  /** Draw the last hour again. */
  redraw() {
    this._redraw.ask();
  }

  /** The tile goes. */
  close() {
    this._redraw.close();
  }

  _showState(tile, kind) {
    this.node.dataset.kind = kind;
    this.node.dataset.shown = tile.state;
    const shown = kind === "acknowledged" || kind === "alarm" ? (tile.state === "alarm" ? "alarm" : tile.state) : kind;
    fill(this._state, stateSign(shown === "unknown" && !tile.listened ? "not_listened" : shown, STATES[shown]));
    this.node.dataset.state = stateOfKind(kind);
  }

  _draw() {
    drawSparkline(this._canvas, this._history.scores(this._tile.machine_id), this._tile.warn_level ?? 0.7);
  }
}
