/** All alarms, the newest first. */

import { alarmRow } from "./alarm_rows.js";
import { button, element, fill, say } from "./elements.js";
import { keepQuery } from "./route.js";
import { isLeft, read, wordsOf } from "./service.js";

const PAGE = 50;

/** @param {import("./route.js").Route} route @param {{feed: import("./fleet_feed.js").FleetFeed}} page */
export function alarmsView(route, { feed }) {
  const alarms = new Alarms(feed, route.query.get("open") === "1", route.query.get("machine") ?? "");
  return { node: alarms.node, title: "Alarms", close: () => alarms.close() };
}

/** The list and its filters. */
class Alarms {
  constructor(feed, open, machine_id) {
    this._feed = feed;
    this._left = new AbortController();
    this._open = element("input", { type: "checkbox", id: "only-open", checked: open });
    this._machine = /** @type {HTMLSelectElement} */ (element("select", { id: "of-machine" }));
    this._wanted = machine_id;
    this._list = element("ul.alarm-rows");
    this._note = element("p.quiet", { role: "status" }, "Loading…");
    this._older = button("Older alarms", () => this._load(this._before), { kind: "large" });
    this._older.hidden = true;
    this.node = element("div", {},
      element("h1", {}, "Alarms"),
      element("div.filters", {},
        element("span.field.check", {}, this._open, element("label", { for: "only-open" }, "Only open: in force or not acknowledged")),
        element("span.field.line", {}, element("label", { for: "of-machine" }, "Machine"), this._machine)),
      this._list, this._note, this._older);
    this._open.addEventListener("change", () => this._narrow());
    this._machine.addEventListener("change", () => {
      this._wanted = this._machine.value;
      this._narrow();
    });
    this._again = () => {
      this._fillMachines();
      this._load(null);
    };
    feed.addEventListener("alarm", this._again);
    feed.addEventListener("fleet", this._again);
    this._fillMachines();
    this._load(null);
  }

  close() {
    this._feed.removeEventListener("alarm", this._again);
    this._feed.removeEventListener("fleet", this._again);
    this._left.abort();
  }

  _narrow() {
    keepQuery("#/alarms", { open: this._open.checked ? "1" : "", machine: this._wanted });
    this._load(null);
  }

  _fillMachines() {
    const names = [...new Set([...this._feed.tiles.keys(), ...(this._wanted ? [this._wanted] : [])])].sort();
    const told = names.join();
    if (told === this._names && this._machine.options.length) return;
    this._names = told;
    fill(this._machine, element("option", { value: "" }, "all"), ...names.map((name) => element("option", { value: name, selected: name === this._wanted }, name)));
  }

  async _load(before) {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (this._open.checked) query.set("open", "true");
    if (this._wanted) query.set("machine_id", this._wanted);
    if (before) query.set("before", String(before));
    this._asked = query.toString();
    const asked = this._asked;
    try {
      const page = await read(`../v1/alarms?${query}`, { signal: this._left.signal });
      if (asked === this._asked) this._show(page, before);
    } catch (error) {
      if (!isLeft(error)) say(this._note, wordsOf(error));
    }
  }

  _show(page, before) {
    const rows = page.alarms.map((alarm) => alarmRow(alarm));
    if (before) this._list.append(...rows);
    else fill(this._list, ...rows);
    this._before = page.next_before;
    this._older.hidden = page.next_before === null;
    const none = this._open.checked ? "No alarm is open. Nothing has to be done." : "No alarm was ever raised.";
    say(this._note, this._list.children.length ? "" : none);
  }
}
