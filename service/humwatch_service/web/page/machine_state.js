/** The state of a machine, large enough to be read from afar, with why and what to do. */

import { element, fill, say } from "./elements.js";
import { levelText, scoreText } from "./numbers.js";
import { alarmAddress } from "./route.js";
import { stateSign } from "./state_sign.js";
import { durationText, momentText, nowS, timeOf, utcText, zone } from "./times.js";
import { adviceText, reasonText, STATES } from "./words.js";
import { troubleOf } from "./trouble.js";

/** The head of a machine's view. */
export class MachineState {
  /** @param {string} machine_id */
  constructor(machine_id) {
    this._sign = element("div.big-state");
    this._since = element("p.since");
    this._alarm = element("div.in-force");
    this._reasons = element("ul.reasons");
    this._score = element("b");
    this._scoreNote = element("span.quiet");
    this._level = element("b");
    this._source = element("b");
    this._facts = element("div.gauges", {},
      element("div", {}, element("span", {}, "Score"), this._score, this._scoreNote),
      element("div", {}, element("span", {}, "Level"), this._level),
      element("div", {}, element("span", {}, "Sound"), this._source));
    this.node = element("section.panel.head", { "aria-label": `State of ${machine_id}` }, this._sign, this._since, this._alarm, this._reasons, this._facts);
  }

  /** @param {Object | undefined} tile of the fleet @param {Object | null} status */
  show(tile, status) {
    if (!tile) return;
    this._tile = tile;
    const kind = troubleOf(tile);
    const state = kind === "not_listened" ? kind : tile.state;
    if (this.node.dataset.state !== state) {
      this.node.dataset.state = state;
      fill(this._sign, stateSign(state, STATES[state]));
    }
    this._showAlarm(tile, status);
    this._showReasons(tile);
    say(this._score, tile.connected ? scoreText(tile.score) : "–");
    say(this._scoreNote, tile.warn_level === null ? "" : `warning from ${scoreText(tile.warn_level)}, alarm from 1.00`);
    say(this._level, tile.connected ? levelText(tile.level_dbfs) : "–");
    say(this._source, sourceWord(tile, status));
    this.age();
  }

  /** Since when, by now. */
  age() {
    const since_s = this._tile?.since_s ?? null;
    if (since_s === null) return say(this._since, "");
    say(this._since, `since ${momentText(since_s)} ${zone(since_s)} (${durationText(nowS() - since_s)})`);
    this._since.title = `UTC ${utcText(since_s)}`;
  }

  _showAlarm(tile, status) {
    const told = JSON.stringify([tile.alarm_id, tile.acknowledged, status?.acknowledged, tile.shelved_until_s, status?.shelf, status?.out_of_service, status?.commissioning, tile.provisional, tile.commissioned, status?.drift]);
    if (told === this._told) return;
    this._told = told;
    const lines = [];
    if (tile.alarm_id !== null) {
      const by = status?.acknowledged ? `acknowledged by ${status.acknowledged.who}` : tile.acknowledged ? "acknowledged" : "not acknowledged";
      lines.push(element("p", {}, `Alarm ${tile.alarm_id} is in force, ${by}. `), element("a.button.urgent", { href: alarmAddress(tile.alarm_id) }, "Look and listen"));
    }
    if (status?.shelf) lines.push(element("p", {}, `Shelved by ${status.shelf.who} until `, timeOf(status.shelf.until_s), status.shelf.why ? `: ${status.shelf.why}` : "", ". Nobody is told of alarms."));
    if (status?.out_of_service) lines.push(element("p", {}, `Out of service: taken by ${status.out_of_service.who}, `, timeOf(status.out_of_service.at_s), status.out_of_service.why ? `: ${status.out_of_service.why}` : "", "."));
    fill(this._alarm, ...lines, ...notesOf(tile, status));
  }

  _showReasons(tile) {
    const faults = new Map(tile.faults.map((fault) => [fault.code, fault.message]));
    const codes = [...new Set([...tile.reasons, ...faults.keys()])].filter((code) => tile.listened || code !== "no_sound");
    const told = JSON.stringify([codes, [...faults.values()]]);
    if (told === this._reasonsTold) return;
    this._reasonsTold = told;
    fill(this._reasons, ...codes.map((code) => {
      const advice = adviceText(code);
      const measured = faults.has(code) ? ` (${faults.get(code)}).` : ".";
      return element("li", {}, element("span", {}, `${reasonText(code).replace(/\.$/, "")}${measured}`), advice ? element("span.advice", {}, `What to do: ${advice}`) : null);
    }));
    if (!tile.listened) this._reasons.append(element("li", {}, element("span", {}, "Nobody sends the sound of this machine; it can be judged by files alone."), element("span.advice", {}, `What to do: run humwatch listen --machine ${tile.machine_id} on the box with the microphone.`)));
  }
}

/** What the model in use is worth. @param {Object} tile @param {Object | null} status */
function notesOf(tile, status) {
  const stage = status?.commissioning;
  const rests = stage ? `, on ${stage.minutes} of ${stage.planned_minutes} minutes` : "";
  const goes = tile.commissioned ? "its commissioning goes on" : "its commissioning does not go on: commission it anew";
  return [
    tile.provisional ? element("p.note", {}, element("b", {}, "Watched provisionally"), `${rests}, with a wider level; ${goes}.`) : null,
    tile.commissioned && !tile.provisional ? element("p.note", {}, element("b", {}, "Being commissioned"), tile.machine_type ? "; the version in use judges meanwhile." : "; nothing judges it yet.") : null,
    status?.drift ? element("p.note", {}, element("b", {}, "Its normal sound has moved"), `: ${status.drift.summary}.`) : null,
  ].filter(Boolean);
}

/** @param {Object} tile @param {Object | null} status */
function sourceWord(tile, status) {
  if (!tile.listened) return "nobody sends";
  if (!tile.connected) return "not connected";
  if (tile.faults.some((fault) => fault.hard)) return "bad";
  const rate = status?.stream ? `, ${status.stream.rate_hz / 1000} kHz` : "";
  return `${tile.faults.length ? "doubtful" : "good"}${rate}`;
}
