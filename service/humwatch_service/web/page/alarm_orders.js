/** What people do about an alarm: acknowledge, shelve, say what was found, take it along. */

import { button, element, fill, panel } from "./elements.js";
import { askShelf } from "./machine_orders.js";
import { askOrder } from "./order_form.js";
import { part, read, send } from "./service.js";
import { VERDICTS } from "./words.js";

/** Buttons that fit the alarm. */
export class AlarmOrders {
  /** @param {Object} alarm @param {(alarm: Object) => void} changed */
  constructor(alarm, changed) {
    this._alarm = alarm;
    this._path = `../v1/alarms/${part(alarm.id)}`;
    this._changed = changed;
    this._ack = button("Acknowledge", () => this._askAck(), { kind: "primary large" });
    this._shelve = button("Shelve", () => this._askShelf());
    this._feedback = button("Say what was found", () => this._askFeedback());
    this._downloads = element("div.row.wrap");
    this._trouble = element("p.trouble", { role: "alert" });
    this.node = panel("What to do", { kind: "orders" }, element("div.row.wrap", {}, this._ack, this._shelve, this._feedback, button("Print", () => print())), this._downloads, this._trouble);
    this.show(alarm);
  }

  /** @param {Object} alarm as it is now */
  show(alarm) {
    this._alarm = alarm;
    this._ack.hidden = alarm.acknowledged !== null;
    this._shelve.hidden = alarm.status !== "active";
    this._feedback.textContent = alarm.feedback ? "Change what was found" : "Say what was found";
    const kept = alarm.evidence === "kept" || alarm.evidence === "partial";
    const told = `${kept}`;
    if (told === this._told) return;
    this._told = told;
    fill(this._downloads,
      kept && element("a.button", { href: `${this._path}/clip.flac`, download: `${alarm.id}.flac` }, "Save sound"),
      kept && element("a.button", { href: `${this._path}/picture.png`, download: `${alarm.id}.png` }, "Save picture"),
      element("a.button", { href: this._path, download: `${alarm.id}.json` }, "Save data"));
  }

  async _askAck() {
    const { machine_id, number } = this._alarm;
    const record = await askOrder({
      title: `Acknowledge alarm ${number} of ${machine_id}`, verb: "Acknowledge", why: "Note (may be empty)",
      text: "You know of it, and see to it. It is not announced again.", give: (order) => send(`${this._path}:ack`, order),
    });
    if (record) this._changed(record);
  }

  async _askShelf() {
    const { machine_id, context } = this._alarm;
    const longest_s = context?.rule.shelve_max_s ?? (await read(`../v1/machines/${part(machine_id)}/status`)).rule.shelve_max_s;
    const record = await askShelf(`${this._path}:shelve`, machine_id, longest_s);
    if (record) this._changed(record);
  }

  async _askFeedback() {
    const said = this._alarm.feedback;
    const fields = [
      { name: "verdict", label: "Was something wrong with the machine?", kind: "radio", choices: Object.entries(VERDICTS), value: said?.verdict },
      { name: "cause", label: "Cause (may be empty)", value: said?.cause ?? "", rules: { maxlength: 500 } },
      { name: "action", label: "What was done (may be empty)", value: said?.action ?? "", rules: { maxlength: 500 } },
    ];
    const record = await askOrder({ title: "What was found", text: "It is kept with the alarm, and exported as training data.", verb: "Save", fields, why: null, give: (order) => send(`${this._path}:feedback`, order) });
    if (record) this._changed(record);
  }
}
