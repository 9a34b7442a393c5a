/** Alarms that come while the page is open: a notice on every view, read out once, and a count in the title. */

import { button, element, say } from "./elements.js";
import { alarmAddress } from "./route.js";
import { stateShape } from "./state_sign.js";
import { lateText, nowS, timeOf } from "./times.js";

const MOST = 3;

/** Whether somebody has to look at it. @param {Object} tile */
function isOpen(tile) {
  return tile.alarm_id !== null && !tile.acknowledged;
}

/** Follows the feed in the frame of the page. */
export class AlarmNotices {
  /** @param {import("./fleet_feed.js").FleetFeed} feed */
  constructor(feed) {
    this._feed = feed;
    this._place = document.getElementById("notices");
    this._count = document.getElementById("open-alarms");
    this._announcer = document.getElementById("announcer");
    this._count.append("0", element("span.unseen", {}, " in force and not acknowledged"));
    this._title = "Humwatch";
    /** @type {Map<string, HTMLElement>} notices by alarm id */
    this._shown = new Map();
    feed.addEventListener("alarm", (event) => this._heard(event.detail));
    feed.addEventListener("fleet", () => this._counted());
    feed.addEventListener("tiles", () => this._counted());
  }

  /** Name the view in the window's title. @param {string} title */
  setTitle(title) {
    this._title = title;
    this._counted();
  }

  /** Take a notice away: somebody is looking. @param {string} alarm_id */
  seen(alarm_id) {
    this._shown.get(alarm_id)?.remove();
    this._shown.delete(alarm_id);
  }

  _heard({ kind, alarm_id, machine_id, at_s, announced }) {
    if (kind === "acknowledged" || kind === "cleared") this.seen(alarm_id);
    if (!announced || (kind !== "raised" && kind !== "realarmed")) return;
    if (location.hash === alarmAddress(alarm_id)) return;
    this.seen(alarm_id);
    const words = kind === "raised" ? "Alarm" : "Still in alarm";
    const link = element("a.button", { href: alarmAddress(alarm_id), on: { click: () => this.seen(alarm_id) } }, "Look and listen");
    const late = lateText(nowS() - at_s);
    const close = button("Hide", () => this.seen(alarm_id), { kind: "plain", "aria-label": `Hide the notice about ${machine_id}` });
    const notice = element("div.notice", { data: { state: "alarm" } }, stateShape("alarm"), element("p", {}, element("strong", {}, `${words}: ${machine_id}`), " ", timeOf(at_s), late ? `, ${late}` : ""), link, close);
    this._shown.set(alarm_id, notice);
    this._place.prepend(notice);
    for (const [oldest, node] of this._shown) {
      if (this._shown.size <= MOST) break;
      node.remove();
      this._shown.delete(oldest);
    }
    say(this._announcer, late ? `${words}: ${machine_id}, about old sound` : `${words}: ${machine_id}`);
  }

  _counted() {
    const open = [...this._feed.tiles.values()].filter(isOpen).length;
    this._count.hidden = open === 0;
    say(this._count.firstChild, String(open));
    const title = `${open ? `(${open}) ` : ""}${this._title} · Humwatch`;
    if (document.title !== title) document.title = title;
  }
}
