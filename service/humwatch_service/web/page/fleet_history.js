/** The last hour of every machine: read once a minute, and carried on with the scores that come meanwhile. */

import { isLeft, read } from "./service.js";
import { MINUTES } from "./sparkline.js";
import { nowS } from "./times.js";

const AGAIN_MS = 60_000;
const STEP_S = 60;

/** Scores by minute; `changed` is called when all of them were read anew. */
export class FleetHistory {
  /** @param {import("./fleet_feed.js").FleetFeed} feed @param {() => void} changed */
  constructor(feed, changed) {
    this._feed = feed;
    this._changed = changed;
    this._left = new AbortController();
    /** @type {Map<string, Map<number, number>>} highest score by machine and minute */
    this._minutes = new Map();
    this._timer = setInterval(() => this.read(), AGAIN_MS);
    this.read();
  }

  /** Read all of it. */
  async read() {
    try {
      const told = await read(`../v1/fleet/history?minutes=${MINUTES}`, { signal: this._left.signal });
      const first = Math.floor(told.start_s / STEP_S);
      this._minutes = new Map(
        Object.entries(told.machines).map(([id, { scores }]) => [
          id, new Map(scores.map((score, at) => [first + at, score]).filter(([, score]) => score !== null)),
        ]),
      );
      this._changed();
    } catch (error) {
      if (!isLeft(error)) console.info("no history of the fleet yet");
    }
  }

  /** Take the score that a tile shows now. @param {Object} tile */
  note(tile) {
    if (tile.score === null || !tile.connected) return;
    const minutes = this._minutes.get(tile.machine_id) ?? new Map();
    const minute = Math.floor((tile.heard_s ?? nowS()) / STEP_S);
    minutes.set(minute, Math.max(tile.score, minutes.get(minute) ?? -Infinity));
    for (const old of minutes.keys()) if (old < Math.floor(nowS() / STEP_S) - 2 * MINUTES) minutes.delete(old);
    this._minutes.set(tile.machine_id, minutes);
  }

  /** Highest score of each of the last minutes, null where none is known. @param {string} machine_id */
  scores(machine_id) {
    const minutes = this._minutes.get(machine_id);
    const last = Math.floor(nowS() / STEP_S);
    return Array.from({ length: MINUTES }, (_, at) => minutes?.get(last - MINUTES + 1 + at) ?? null);
  }

  /** Read no more. */
  close() {
    clearInterval(this._timer);
    this._left.abort();
  }
}
