/** The rule in force as a curve: how far over the level, how soon. Drawn as wide as its place, and told as a table too. */

import { element, fill, shape } from "./elements.js";
import { scoreText } from "./numbers.js";
import { durationText } from "./times.js";

const HEIGHT_PX = 190;
const LEFT_PX = 54;
const RIGHT_PX = 12;
const TOP_PX = 10;
const BOTTOM_PX = 38;
const WIDEST_PX = 560;
const TIMES_S = [1, 10, 60, 600, 3_600, 36_000];
const SCORES = [0.3, 0.5, 1, 2, 5, 10];

/** @typedef {{score: number, seconds: number | null}} CurvePoint a score that stays, and the time to its alarm; null: never */

/** A curve that is drawn anew when its place changes its width. */
export class Characteristic {
  /** @param {AbortSignal} left */
  constructor(left) {
    this._place = element("div.characteristic");
    this._table = element("div");
    this.node = element("figure.rule-curve", {}, element("figcaption.quiet", {}, "A score that stays as it is raises the alarm after"), this._place,
      element("details", {}, element("summary", {}, "The curve as a table"), this._table));
    this._points = [];
    const resized = new ResizeObserver(() => this._place.clientWidth !== this._width && this._draw());
    resized.observe(this._place);
    left.addEventListener("abort", () => resized.disconnect());
  }

  /** @param {CurvePoint[]} points */
  show(points) {
    this._points = points;
    fill(this._table, tableOf(points));
    this._draw();
  }

  _draw() {
    const width = this._width = this._place.clientWidth;
    const told = this._points.filter((point) => point.seconds !== null);
    if (width === 0 || told.length === 0) return fill(this._place);
    fill(this._place, drawn(Math.min(width, WIDEST_PX), this._points, told));
  }
}

/** Place of a value on a logarithmic axis. */
function axis(low, high, from_px, to_px) {
  return (value) => from_px + (Math.log(value / low) / Math.log(high / low)) * (to_px - from_px);
}

/** @param {number} width @param {CurvePoint[]} points @param {CurvePoint[]} told those that are not never */
function drawn(width, points, told) {
  const seconds = told.map((point) => Math.max(1, point.seconds));
  const low_s = TIMES_S.findLast((time_s) => time_s <= Math.min(...seconds)) ?? 1;
  const high_s = TIMES_S.find((time_s) => time_s >= Math.max(...seconds) && time_s > low_s) ?? TIMES_S.at(-1);
  const x = axis(points[0].score, points.at(-1).score, LEFT_PX, width - RIGHT_PX);
  const y = axis(low_s, high_s, HEIGHT_PX - BOTTOM_PX, TOP_PX);
  const parts = [];
  for (const time_s of TIMES_S.filter((each) => each >= low_s && each <= high_s)) {
    parts.push(shape("line", { x1: LEFT_PX, x2: width - RIGHT_PX, y1: y(time_s), y2: y(time_s), class: "grid" }), words(durationText(time_s), LEFT_PX - 6, y(time_s) + 4, "end"));
  }
  for (const score of SCORES.filter((each) => each >= points[0].score && each <= points.at(-1).score)) {
    const at = score === 1 ? "level" : "grid";
    parts.push(shape("line", { x1: x(score), x2: x(score), y1: TOP_PX, y2: HEIGHT_PX - BOTTOM_PX, class: at }), words(String(score), x(score), HEIGHT_PX - BOTTOM_PX + 16, score === points.at(-1).score ? "end" : "middle"));
  }
  const never = points.filter((point) => point.seconds === null);
  if (never.length > 0) {
    const until = x(told[0].score);
    parts.push(shape("rect", { x: LEFT_PX, y: TOP_PX, width: Math.max(0, until - LEFT_PX), height: HEIGHT_PX - BOTTOM_PX - TOP_PX, class: "never" }));
    if (until - LEFT_PX > 44) parts.push(words("never", (LEFT_PX + until) / 2, HEIGHT_PX / 2, "middle"));
  }
  const line = told.map((point, number) => `${number ? "L" : "M"}${x(point.score).toFixed(1)} ${y(Math.max(1, point.seconds)).toFixed(1)}`).join(" ");
  parts.push(shape("path", { d: line, class: "curve-line" }), ...told.map((point) => shape("circle", { cx: x(point.score), cy: y(Math.max(1, point.seconds)), r: 2.6, class: "dot" })));
  parts.push(words("score (1 is the alarm level)", (LEFT_PX + width - RIGHT_PX) / 2, HEIGHT_PX - 4, "middle"));
  return shape("svg", { width, height: HEIGHT_PX, viewBox: `0 0 ${width} ${HEIGHT_PX}`, role: "img", "aria-label": sayCurve(points) }, ...parts);
}

/** @param {string} text @param {number} x @param {number} y @param {string} anchor */
function words(text, x, y, anchor) {
  const made = shape("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

/** The curve in words. @param {CurvePoint[]} points */
function sayCurve(points) {
  return `Time to the alarm by the score: ${points.map(({ score, seconds }) => `${scoreText(score)} ${seconds === null ? "never" : `after ${durationText(seconds)}`}`).join(", ")}.`;
}

/** @param {CurvePoint[]} points */
function tableOf(points) {
  const rows = points.map(({ score, seconds }) => element("tr", {}, element("th", { scope: "row" }, scoreText(score)), element("td", {}, seconds === null ? "never" : durationText(seconds))));
  return element("table.plain-table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Score"), element("th", { scope: "col" }, "Alarm after"))), element("tbody", {}, ...rows));
}
