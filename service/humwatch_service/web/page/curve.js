/** Curves of scores over time, with the warning and alarm levels. Drawn by uPlot. */

import { colour } from "./palette.js";
import { clockText, minuteText } from "./times.js";
import uPlot from "./vendor/uplot/uPlot.esm.js";

/** Width of the axis on the left, CSS pixels; canvases above a curve leave as much. */
export const GUTTER_PX = 52;
/** Room on the right of it. */
export const RIGHT_PX = 24;
/** Scores beyond these are cut off, or the levels could not be seen beside them. */
const HIGHEST = 4;
const LOWEST = -2;

/**
 * @typedef {Object} CurveGiven
 * @property {Array<{name: string, colour: string, width?: number, fill?: string, paths?: any, points?: boolean}>} series
 * @property {() => number | null} warn_level
 * @property {number} [height] CSS pixels
 * @property {() => Array<{at: number, name: string, colour: string}>} [marks] upright lines
 * @property {boolean} [seconds] the axis counts seconds of a recording instead of the clock
 */

/** A curve that fits the width of its place. */
export class Curve {
  /** @param {HTMLElement} place @param {CurveGiven} given */
  constructor(place, given) {
    this._place = place;
    this._given = given;
    this._data = [[], ...given.series.map(() => [])];
    this._window = null;
    this._make = () => this._build();
    this._resized = new ResizeObserver(() => this._resize());
    this._resized.observe(place);
    document.addEventListener("themechange", this._make);
    this._build();
  }

  /** Show these: times and values of each series. @param {Array<Array<number | null>>} columns */
  show(columns) {
    this._data = columns;
    this._plot?.setData(columns, this._window === null);
    if (this._window !== null) this._apply();
  }

  /** Show this stretch of time. @param {number} start @param {number} end */
  window(start, end) {
    this._window = { min: start, max: end };
    this._apply();
  }

  /** Draw again: marks have moved. */
  redraw() {
    this._plot?.redraw(false);
  }

  close() {
    this._resized.disconnect();
    document.removeEventListener("themechange", this._make);
    this._plot?.destroy();
  }

  _apply() {
    if (this._plot) this._plot.setScale("x", this._window);
  }

  _resize() {
    const width = this._place.clientWidth;
    if (width > 0 && this._plot && width !== this._plot.width) this._plot.setSize({ width, height: this._given.height ?? 150 });
    else if (width > 0 && !this._plot) this._build();
  }

  _build() {
    this._plot?.destroy();
    this._plot = null;
    const width = this._place.clientWidth;
    if (width === 0) return;
    this._plot = new uPlot(this._options(width), this._data, this._place);
    if (this._window !== null) this._apply();
  }

  _options(width) {
    const { series, height = 150, seconds = false } = this._given;
    const font = "12px system-ui, sans-serif";
    const axis = { stroke: colour("--quiet"), font, grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--grid"), width: 1, size: 4 } };
    const clock = (_, splits) => splits.map((at) => axisText(at, splits, seconds));
    return {
      width, height, legend: { show: false }, cursor: { show: false }, padding: [8, RIGHT_PX, 0, 0],
      scales: { x: { time: false }, y: { range: (_, low, high) => this._range(low, high) } },
      axes: [{ ...axis, values: clock, space: seconds ? 50 : 76, size: 28, incrs: seconds ? undefined : CLOCK_STEPS_S }, { ...axis, size: GUTTER_PX, values: (_, splits) => splits.map((at) => at.toFixed(Math.abs(at) < 10 ? 1 : 0).replace("-", "\u2212")) }],
      series: [{}, ...series.map((one) => ({ label: one.name, stroke: colour(one.colour), width: one.width ?? 2, fill: one.fill ? colour(one.fill) : undefined, points: { show: one.points ?? false, size: 5 }, spanGaps: false, paths: one.paths }))],
      hooks: { drawAxes: [(plot) => this._drawLevels(plot)], draw: [(plot) => this._drawMarks(plot)] },
    };
  }

  _range(low, high) {
    return [Math.max(LOWEST, Math.min(0, low ?? 0)) - 0.08, Math.max(1.25, Math.min(HIGHEST, (high ?? 1) * 1.08))];
  }

  _drawLevels(plot) {
    const warn_level = this._given.warn_level();
    line(plot, 1, "--alarm-line", [], "alarm");
    if (warn_level !== null) line(plot, warn_level, "--warn-line", [6, 4], "warn", 13);
  }

  _drawMarks(plot) {
    const { ctx, bbox } = plot;
    for (const mark of this._given.marks?.() ?? []) {
      const x = Math.round(plot.valToPos(mark.at, "x", true)) + 0.5;
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.save();
      ctx.strokeStyle = colour(mark.colour);
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (mark.name) label(ctx, mark.name, x + 4 * devicePixelRatio, bbox.top + 12 * devicePixelRatio, mark.colour);
      ctx.restore();
    }
  }
}

const CLOCK_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400];

/** @param {number} at @param {number[]} splits @param {boolean} seconds */
function axisText(at, splits, seconds) {
  if (seconds) return `${Math.round(at * 10) / 10} s`;
  return splits.length > 1 && splits[1] - splits[0] >= 60 ? minuteText(at) : clockText(at);
}

/** A level across the plot, with its name. */
function line(plot, level, name, dashes, words, down_px = -4) {
  const { ctx, bbox } = plot;
  const y = Math.round(plot.valToPos(level, "y", true)) + 0.5;
  if (y < bbox.top || y > bbox.top + bbox.height) return;
  ctx.save();
  ctx.strokeStyle = colour(name);
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.setLineDash(dashes.map((dash) => dash * devicePixelRatio));
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  label(ctx, words, bbox.left + 4 * devicePixelRatio, y + down_px * devicePixelRatio, name);
  ctx.restore();
}

/** A word in a plot. */
function label(ctx, words, x, y, name) {
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.fillStyle = colour(name);
  ctx.fillText(words, x, y);
}
