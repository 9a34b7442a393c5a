/** What the service says of all machines, once a second, for every view that wants to know. */

import { EventStream } from "./event_stream.js";
import { noteServiceTime } from "./times.js";

export const OLD_AFTER_S = 5;

/**
 * Events: `fleet` (everything is known anew, after a break as well), `tiles` (detail: ids that changed),
 * `alarm` (detail: the alarm event), `sign` (the sign of the connection changed), `second`.
 */
export class FleetFeed extends EventTarget {
  constructor() {
    super();
    /** @type {Map<string, Object>} tiles by machine id */
    this.tiles = new Map();
    /** @type {"connecting" | "live" | "old" | "signed_out"} */
    this.sign = "connecting";
    this.known = false;
    /** @type {EventStream | null} */
    this._stream = null;
  }

  /** Seconds since something was heard. */
  get age_s() {
    return this._stream?.age_s ?? 0;
  }

  /** Begin, or begin anew. */
  open() {
    this.close();
    this._set("connecting");
    this._stream = new EventStream(
      "../v1/live",
      {
        fleet: (told) => this._all(told),
        changes: (told) => this._changes(told),
        alarm: (told) => this.dispatchEvent(new CustomEvent("alarm", { detail: told })),
      },
      (age_s) => this._aged(age_s),
      () => document.dispatchEvent(new CustomEvent("streamrefused")),
    );
  }

  /** Hear nothing more. */
  close() {
    this._stream?.close();
    this._stream = null;
  }

  /** Nobody is signed in. */
  signOut() {
    this.close();
    this.tiles = new Map();
    this.known = false;
    this._set("signed_out");
  }

  _all(told) {
    noteServiceTime(told.at_s);
    this.tiles = new Map(told.machines.map((tile) => [tile.machine_id, tile]));
    this.known = true;
    this._set("live");
    this.dispatchEvent(new CustomEvent("fleet"));
  }

  _changes(told) {
    noteServiceTime(told.at_s);
    for (const tile of told.machines) this.tiles.set(tile.machine_id, tile);
    for (const gone of told.gone ?? []) this.tiles.delete(gone);
    this._set("live");
    const ids = [...told.machines.map((tile) => tile.machine_id), ...(told.gone ?? [])];
    if (ids.length) this.dispatchEvent(new CustomEvent("tiles", { detail: ids }));
  }

  _aged(age_s) {
    if (age_s > OLD_AFTER_S && this.sign !== "signed_out") this._set("old");
    this.dispatchEvent(new CustomEvent("second"));
  }

  _set(sign) {
    if (this.sign === sign) return;
    this.sign = sign;
    this.dispatchEvent(new CustomEvent("sign"));
  }
}
