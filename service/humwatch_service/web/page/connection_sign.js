/** Whether what the page shows is new; said plainly, and read out only when it changes. */

import { say } from "./elements.js";
import { durationText } from "./times.js";

const WORDS = Object.freeze({ connecting: "connecting", live: "live", old: "reconnecting", signed_out: "signed out" });
const READ_OUT = Object.freeze({
  live: "The connection is back. What is shown is new.",
  old: "The connection is broken. What is shown is old.",
});

/** Follows the feed in the frame of the page. */
export class ConnectionSign {
  /** @param {import("./fleet_feed.js").FleetFeed} feed */
  constructor(feed) {
    this._feed = feed;
    this._node = document.getElementById("connection");
    this._text = document.getElementById("connection-text");
    this._stale = document.getElementById("stale");
    this._announcer = document.getElementById("announcer");
    this._was_old = false;
    feed.addEventListener("sign", () => this._show());
    feed.addEventListener("second", () => this._show());
    this._show();
  }

  _show() {
    const { sign, age_s } = this._feed;
    const old = sign === "old";
    if (this._node.dataset.sign !== sign) this._node.dataset.sign = sign;
    document.body.classList.toggle("old", old);
    say(this._text, WORDS[sign]);
    this._stale.hidden = !old;
    if (old) say(this._stale, `Reconnecting, data is ${durationText(age_s)} old.`);
    if (old !== this._was_old && (old || sign === "live")) say(this._announcer, READ_OUT[sign] ?? "");
    this._was_old = old;
  }
}
