/** Minutes of a commissioning that are unlike the others, to be heard and then kept or thrown out. */

import { button, element, fill } from "./elements.js";
import { detectorTitle } from "./explanation.js";
import { percentText, rangeText, scoreText } from "./numbers.js";
import { askOrder } from "./order_form.js";
import { part, send } from "./service.js";
import { silence, soundButton } from "./sound_button.js";
import { timeOf } from "./times.js";

/** A list that stays as it is until other minutes are odd: sound that plays goes on. */
export class OddMinutes {
  /** @param {string} machine_id @param {(told: Object) => void} changed how far the commissioning is now */
  constructor(machine_id, changed) {
    this._id = machine_id;
    this._path = `../v1/machines/${part(machine_id)}/calibration`;
    this._changed = changed;
    this._list = element("ul.odd");
    this.node = element("div.odd-minutes", {}, element("h3", {}, "Odd minutes"), element("p", {}, "These are unlike the others, and held back until somebody has heard them. Keep a minute only if the machine was well: it widens the level."), this._list);
    this.node.hidden = true;
  }

  /** @param {Object[]} minutes */
  show(minutes) {
    const told = JSON.stringify(minutes);
    if (told === this._told) return;
    this._told = told;
    if (!this.node.hidden) silence();
    this.node.hidden = minutes.length === 0;
    fill(this._list, ...minutes.map((minute) => this._row(minute)));
  }

  _row(minute) {
    const named = `minute ${minute.number}`;
    const why = minute.why === "alarm" ? "an alarm was in force" : minute.score === null ? "unlike the others" : `score ${scoreText(minute.score)} by the level of the others`;
    const found = [minute.detector ? detectorTitle(minute.detector).toLowerCase() : null, ...minute.bands.map((band) => `${rangeText(band.low_hz, band.high_hz)} ${percentText(band.share)}`)].filter(Boolean);
    return element("li", {},
      element("p", {}, element("b", {}, `Minute ${minute.number}`), ", ", timeOf(minute.at_s), `: ${why}${found.length ? ` (${found.join(", ")})` : ""}.`),
      element("div.row.wrap", {},
        minute.sound ? soundButton(`${this._path}/minutes/${minute.number}.flac`, named) : element("span.quiet", {}, "Its sound is not kept."),
        button("Keep", () => this._ask(minute, "keep-minute", { title: `Keep minute ${minute.number}`, text: "It counts as normal from the next version on.", verb: "Keep" }), { "aria-label": `Keep ${named}` }),
        button("Throw out", () => this._ask(minute, "drop-minute", { title: `Throw out minute ${minute.number}`, text: "Its sound is deleted. The plan makes it up while it lasts.", verb: "Throw out", danger: true }), { "aria-label": `Throw out ${named}` })));
  }

  async _ask(minute, verb, asked) {
    const told = await askOrder({ ...asked, give: (order) => send(`${this._path}:${verb}`, { ...order, number: minute.number }) });
    if (told) this._changed(told);
  }
}
