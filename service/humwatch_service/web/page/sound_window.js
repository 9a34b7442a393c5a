/** Which stretch of time is looked at: the newest as it comes, or one that stands still. Seconds since 1970. */

import { KEPT_S } from "./sound_strip.js";

const SHORTEST_S = 10;
const STEP = 1.6;

/** A window in time. */
export class SoundWindow {
  /** @param {number} span_s */
  constructor(span_s = 60) {
    this.span_s = span_s;
    this.newest_s = 0;
    /** @type {number | null} end of the window while it stands still */
    this.held_s = null;
  }

  get end_s() {
    return this.held_s ?? this.newest_s;
  }

  get start_s() {
    return this.end_s - this.span_s;
  }

  get isPaused() {
    return this.held_s !== null;
  }

  /** Sound, or silence, has come as far as this. @param {number} at_s */
  reach(at_s) {
    this.newest_s = Math.max(this.newest_s, at_s);
  }

  /** Stand still, or follow the newest again. */
  toggle() {
    this.held_s = this.held_s === null ? this.newest_s : null;
  }

  /** @param {boolean} closer @param {number} [around_s] moment that stays where it is while paused */
  zoom(closer, around_s = this.end_s) {
    const span_s = Math.min(KEPT_S, Math.max(SHORTEST_S, closer ? this.span_s / STEP : this.span_s * STEP));
    if (this.isPaused) {
      const share = (around_s - this.start_s) / this.span_s;
      this.held_s = Math.min(this.newest_s, around_s + (1 - share) * span_s);
    }
    this.span_s = span_s;
  }

  /** Look earlier or later; stands still from then on. @param {number} seconds */
  shift(seconds) {
    const earliest_s = this.newest_s - KEPT_S + this.span_s;
    this.held_s = Math.max(earliest_s, Math.min(this.newest_s, this.end_s + seconds));
  }
}
