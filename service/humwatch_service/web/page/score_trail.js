/** Scores of the last minutes by time, in order, with gaps where nothing was heard. Bounded. */

import { KEPT_S } from "./sound_strip.js";

const GAP_S = 3.5;
const MOST = 1_200;

/** Columns for a curve: time, score of the clip, score of the last second. */
export class ScoreTrail {
  constructor() {
    this.reset();
  }

  /** Forget all. */
  reset() {
    /** @type {[number[], (number | null)[], (number | null)[]]} */
    this.columns = [[], [], []];
  }

  /** @param {number} at_s end of the sound @param {number | null} score @param {number | null} step_score */
  push(at_s, score, step_score) {
    const [times, scores, steps] = this.columns;
    const last_s = times.at(-1);
    if (last_s !== undefined && at_s <= last_s) return;
    if (last_s !== undefined && at_s - last_s > GAP_S) this._add(last_s + 1, null, null);
    this._add(at_s, score, step_score);
    const old = times.findIndex((time_s) => time_s >= at_s - KEPT_S);
    const excess = Math.max(old, times.length - MOST);
    if (excess > 60) for (const column of this.columns) column.splice(0, excess);
  }

  _add(...values) {
    values.forEach((value, at) => this.columns[at].push(value));
  }

  /** The score at a moment; null where there is none within two seconds. @param {number} at_s */
  at(at_s) {
    const [times, scores] = this.columns;
    let found = -1;
    for (let at = times.length - 1; at >= 0 && times[at] >= at_s - 2; at -= 1) if (Math.abs(times[at] - at_s) <= 2 && scores[at] !== null) found = found === -1 || Math.abs(times[at] - at_s) < Math.abs(times[found] - at_s) ? at : found;
    return found === -1 ? null : scores[found];
  }
}
