/** Whether the normal sound of a machine has moved, where and since when, and the commissioning that would follow. */

import { askCalibration } from "./commissioning_form.js";
import { button, element, fill, panel } from "./elements.js";
import { departureText, rangeText, scoreText } from "./numbers.js";
import { isLeft, part, read, wordsOf } from "./service.js";
import { dayOf } from "./times.js";

const KINDS = Object.freeze({
  all_bands: "All bands moved alike, as by another gain, microphone or distance.",
  tilt: "Low bands moved against high ones, as by another microphone or something before it.",
  some_bands: "Some bands moved, as by the machine itself or its surroundings.",
  score: "No band moved, but the score did.",
});

/** Reads the drift of a machine. */
export class DriftPanel {
  /** @param {string} machine_id @param {AbortSignal} left @param {() => void} started a commissioning was started */
  constructor(machine_id, left, started) {
    this._id = machine_id;
    this._path = `../v1/machines/${part(machine_id)}/drift`;
    this._left = left;
    this._started = started;
    this._body = element("div");
    this.node = panel("Drift", { kind: "drift" }, this._body);
    this.node.hidden = true;
  }

  /** Read it anew; only of a machine that has a model. */
  async load() {
    try {
      this._show(await read(this._path, { signal: this._left }));
    } catch (error) {
      if (isLeft(error)) return;
      fill(this._body, element("p.quiet", {}, wordsOf(error)));
    }
    this.node.hidden = false;
  }

  /** @param {Object} told */
  _show(told) {
    if (told.state === "too_little") return fill(this._body, element("p", {}, `Too little was heard to tell: ${told.days} of ${told.days_needed} whole days since version ${told.model_version} is used.`));
    if (told.state === "none") return fill(this._body, element("p", {}, `Its normal sound is where it was: no drift in ${told.days} days.`));
    const bands = told.bands.map((band) => element("tr", {}, element("th", { scope: "row" }, rangeText(band.low_hz, band.high_hz)), element("td", {}, departureText(band.shift_db)), element("td", {}, departureText(band.from_calibration_db))));
    const head = element("thead", {}, element("tr", {}, ...["Band", "Moved by", "Now from calibration"].map((name) => element("th", { scope: "col" }, name))));
    const sure = told.since_low_s === told.since_high_s ? ["."] : [", at the earliest ", dayOf(told.since_low_s), ", at the latest ", dayOf(told.since_high_s), "."];
    fill(this._body,
      element("p.warned", {}, `Its normal sound has moved, ${told.shape === "ramp" ? "slowly since " : "at once, "}`, dayOf(told.since_s), ...sure),
      element("p", {}, KINDS[told.kind] ?? ""),
      told.bands.length ? element("table.plain-table", {}, head, element("tbody", {}, ...bands)) : null,
      told.score_shift === null ? null : element("p.quiet", {}, `The mean score moved by ${told.score_shift > 0 ? "+" : ""}${scoreText(told.score_shift)}; judged from ${told.days} days, ${told.hours} hours of sound.`),
      element("p", {}, "Look at the machine first: what is heard from then on is taken for normal. If it is well, commission it anew."),
      button("Commission it anew", () => this._ask(told.proposal), { kind: "primary" }),
      element("p.quiet", {}, `Version ${told.proposal.replaces_version} is kept, to compare with and to go back to.`));
  }

  /** @param {Object} proposal the order that the service proposes */
  async _ask(proposal) {
    if (await askCalibration(this._id, { why: proposal.body.why })) this._started();
  }
}
