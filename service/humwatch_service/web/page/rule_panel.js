/** The rule in force: in sentences, as a curve, with what it is expected to cost and how near an alarm is now. */

import { Characteristic } from "./characteristic.js";
import { element, fill, panel, say } from "./elements.js";
import { percentText, scoreText } from "./numbers.js";
import { promiseSentence } from "./promises.js";
import { durationText } from "./times.js";
import { ruleSentences } from "./words.js";

/** Shows a rule with the model in use. */
export class RulePanel {
  /** @param {AbortSignal} left */
  constructor(left) {
    this._sentences = element("ul.sentences", {}, element("li.quiet", {}, "Not known yet."));
    this._cost = element("p.promise");
    this._meter = /** @type {HTMLProgressElement} */ (element("progress", { max: 1, value: 0, "aria-label": "evidence for an alarm" }));
    this._near = element("p.quiet");
    this._evidence = element("div.evidence-now", {}, this._meter, this._near);
    this._curve = new Characteristic(left);
    this._adds = element("div", {}, this._curve.node, this._evidence);
    this._adds.hidden = this._cost.hidden = true;
    this.node = panel("Rule in force", { kind: "rule" }, element("div", {}, this._sentences, this._cost), this._adds);
  }

  /** @param {Object} rule @param {Object} decision what it comes to with the model in use @param {number | null} warn_level */
  show(rule, decision, warn_level) {
    const { nearest, ...lasting } = decision;
    const told = JSON.stringify([rule, lasting, warn_level]);
    if (told === this._told) return;
    this._told = told;
    const adds = decision.kind === "sequential";
    fill(this._sentences, ...ruleSentences(rule, warn_level, decision).map((sentence) => element("li", {}, sentence)));
    this._adds.hidden = this._cost.hidden = !adds;
    this.node.classList.toggle("adds", adds);
    if (!adds) return;
    this._curve.show(decision.curve);
    say(this._cost, promiseSentence(decision.false_alarms));
    this.near(nearest);
  }

  /** How near an alarm is. @param {Object | null} nearest the average that is nearest to its limit */
  near(nearest) {
    if (!nearest) return say(this._near, "How far the evidence is, is not known yet.");
    const share = Math.max(0, Math.min(1, nearest.average / nearest.limit));
    if (Math.abs(this._meter.value - share) > 0.001) this._meter.value = share;
    say(this._near, `The average over ${durationText(nearest.time_constant_s)} is nearest to its limit: ${scoreText(Math.max(0, nearest.average))} of ${scoreText(nearest.limit)}, ${percentText(share)}.`);
  }
}
