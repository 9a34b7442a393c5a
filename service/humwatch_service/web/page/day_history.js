/** A day of a machine: the highest score of each minute, and the state that it was in. */

import { fitted, Redraw } from "./canvas.js";
import { Curve, GUTTER_PX, RIGHT_PX } from "./curve.js";
import { element, panel, say } from "./elements.js";
import { scoreText } from "./numbers.js";
import { colour } from "./palette.js";
import { isLeft, part, read } from "./service.js";
import { minuteText, nowS, zone } from "./times.js";
import { STATES } from "./words.js";

const DAY_S = 86_400;
const AGAIN_MS = 60_000;
const WORST_FIRST = ["alarm", "warning", "unknown", "normal", "out_of_service", "off"];

/** Reads the history once a minute. */
export class DayHistory {
  /** @param {string} machine_id @param {AbortSignal} left @param {() => number | null} warn_level */
  constructor(machine_id, left, warn_level) {
    this._path = `../v1/machines/${part(machine_id)}/history`;
    this._left = left;
    this._points = [];
    this._place = element("div.curve");
    this._states = /** @type {HTMLCanvasElement} */ (element("canvas.states", { role: "img", "aria-label": "states of the last 24 hours" }));
    this._summary = element("p.quiet");
    this.node = panel("Last 24 hours", { kind: "day" }, this._place, this._states, this._summary);
    this._curve = new Curve(this._place, { height: 150, warn_level, series: [{ name: "highest score", colour: "--curve", width: 1.5, points: false }] });
    this._redraw = new Redraw(() => this._drawStates());
    this._resized = new ResizeObserver(() => this._redraw.ask());
    this._resized.observe(this._states);
    this._timer = setInterval(() => document.hidden || this.load(), AGAIN_MS);
    left.addEventListener("abort", () => this._close());
    this.load();
  }

  async load() {
    const end_s = Math.ceil(nowS());
    try {
      const points = await read(`${this._path}?start_s=${end_s - DAY_S}&end_s=${end_s}&resolution=minute`, { signal: this._left });
      this._show(points, end_s);
    } catch (error) {
      if (!isLeft(error)) this.node.hidden = true;
    }
  }

  _close() {
    clearInterval(this._timer);
    this._resized.disconnect();
    this._curve.close();
    this._redraw.close();
  }

  _show(points, end_s) {
    this.node.hidden = false;
    this._points = points;
    this._end_s = end_s;
    const [times, scores] = [[], []];
    for (const point of points) {
      if (times.length && point.at_s - times.at(-1) > 2 * point.span_s) {
        times.push(times.at(-1) + point.span_s);
        scores.push(null);
      }
      times.push(point.at_s + point.span_s / 2);
      scores.push(point.score_max);
    }
    this._curve.show([times, scores]);
    this._curve.window(end_s - DAY_S, end_s);
    this._redraw.ask();
    say(this._summary, this._words());
  }

  /** The same in words: how long in which state, and the highest score. */
  _words() {
    const seconds = new Map();
    let top = null;
    for (const point of this._points) {
      for (const [state, spent_s] of Object.entries(point.states)) seconds.set(state, (seconds.get(state) ?? 0) + spent_s);
      if (point.score_max !== null && (top === null || point.score_max > top.score_max)) top = point;
    }
    const spent = WORST_FIRST.filter((state) => seconds.has(state)).map((state) => `${STATES[state].toLowerCase()} ${spentText(seconds.get(state))}`);
    const highest = top ? ` Highest score ${scoreText(top.score_max)} at ${minuteText(top.at_s)} ${zone(top.at_s)}.` : "";
    return spent.length ? `Heard: ${spent.join(", ")}.${highest}` : "Nothing was heard in the last 24 hours.";
  }

  _drawStates() {
    const { context, width, height } = fitted(this._states);
    context.clearRect(0, 0, width, height);
    const inner = width - GUTTER_PX - RIGHT_PX;
    context.fillStyle = colour("--gap");
    context.fillRect(GUTTER_PX, 0, inner, height);
    for (const point of this._points) {
      const state = WORST_FIRST.find((worst) => point.states[worst]);
      if (!state) continue;
      const x = GUTTER_PX + ((point.at_s - this._end_s + DAY_S) / DAY_S) * inner;
      const tall = { alarm: 1, warning: 0.75, unknown: 0.55 }[state] ?? 0.35;
      context.fillStyle = colour(`--state-${state.replaceAll("_", "-")}`);
      context.fillRect(x, height * (1 - tall), Math.max(1, (point.span_s / DAY_S) * inner + 0.5), height * tall);
    }
  }
}

/** @param {number} seconds */
function spentText(seconds) {
  return seconds < 90 ? `${seconds} s` : seconds < 5_400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}
