/** False alarms a week: what is promised, what is expected, what was seen. */

import { button, element, fill, panel, say } from "./elements.js";
import { rateText } from "./numbers.js";
import { askOrder } from "./order_form.js";
import { isLeft, part, read, send, wordsOf } from "./service.js";
import { durationText, timeOf } from "./times.js";

/**
 * A rate with its interval, in words.
 * @param {number | null} value @param {number | null} low @param {number | null} high
 */
export function weeklyText(value, low, high) {
  if (value === null) return "not known";
  return low === null || high === null ? `${rateText(value)} a week` : `${rateText(value)} a week (${rateText(low)} to ${rateText(high)})`;
}

/** What limits are expected to cost, as a sentence. @param {Object | null} rate */
export function promiseSentence(rate) {
  if (!rate) return "How many false alarms it costs is not known.";
  const asked = `${rateText(rate.wanted_a_week)} false ${rate.wanted_a_week === 1 ? "alarm" : "alarms"} a week`;
  const expected = rate.expected_a_week === null ? "Nothing can be said of what to expect" : `Expected: ${weeklyText(rate.expected_a_week, rate.low_a_week, rate.high_a_week)}`;
  const rests = `from ${durationText(rate.heard_s)} of normal sound`;
  if (rate.promised) return `${asked} ${rate.wanted_a_week === 1 ? "is" : "are"} promised. ${expected}, ${rests}.`;
  return `Asked for: ${asked}; not promised${rate.reason ? `: ${rate.reason}` : ""}. ${expected}, ${rests}.`;
}

const KEPT = Object.freeze({
  kept: "The promise is kept.",
  broken: "The promise is broken: more alarms were judged false than it allows.",
  too_early: "It is too early to tell whether the promise is kept.",
  not_promised: "Nothing is promised, so nothing can be kept or broken.",
});

/** Promised beside seen. */
export class PromisesPanel {
  /** @param {string} machine_id @param {AbortSignal} left @param {() => void} made a version was made */
  constructor(machine_id, left, made) {
    this._id = machine_id;
    this._path = `../v1/machines/${part(machine_id)}/false-alarms`;
    this._left = left;
    this._made = made;
    this._body = element("div");
    this._verdict = element("p.promise");
    this._note = element("p.quiet");
    this._fitted = element("p.promise", { role: "status" });
    const fit = button("Fit limits to what was heard", () => this._fit());
    this.node = panel("False alarms", { kind: "promises" }, this._verdict, this._body, this._note, element("div.row", {}, fit), this._fitted);
    this.node.hidden = true;
  }

  /** Read it anew; only of a machine that has a model. */
  async load() {
    try {
      this._show(await read(this._path, { signal: this._left }));
    } catch (error) {
      if (isLeft(error)) return;
      fill(this._body);
      say(this._verdict, wordsOf(error));
    }
    this.node.hidden = false;
  }

  /** @param {Object} told */
  _show({ promised, expected, seen, alarms, watched_s, since_s, model_version }) {
    const broken = seen.promise === "broken";
    this._verdict.className = broken ? "promise warned" : "promise";
    say(this._verdict, KEPT[seen.promise]);
    const head = element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "False alarms"), element("th", { scope: "col" }, "A week")));
    const row = (name, value) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value));
    const most = seen.most_a_week === null ? null : row("If all that nobody judged were false", `at most ${rateText(seen.most_a_week)}`);
    fill(this._body, element("table.plain-table", {}, head, element("tbody", {},
      row(promised?.promised ? "Promised" : "Asked for, not promised", promised ? rateText(promised.wanted_a_week) : "nothing: the version has no limits"),
      row("Expected, by what was heard", expected ? weeklyText(expected.expected_a_week, expected.low_a_week, expected.high_a_week) : "not known"),
      row("Seen, judged false", seen.a_week === null ? "nothing was watched yet" : weeklyText(seen.a_week, seen.low_a_week, seen.high_a_week)),
      most)));
    const counts = `${alarms.false_alarm} false, ${alarms.true_alarm} true, ${alarms.unsure} unsure, ${alarms.unjudged} that nobody judged`;
    const watched = since_s === null ? ["Nothing was judged yet."] : [`Version ${model_version} under this rule watched ${durationText(watched_s)} since `, timeOf(since_s), `: ${counts}. In brackets: 90 % interval.`];
    this._note.replaceChildren(...watched);
  }

  /** Ask for a version with limits that are fitted to the machine's own live scores. */
  async _fit() {
    const days = { name: "days", label: "Days up to now", kind: "number", value: 7, rules: { min: 0.05, max: 30, step: "any", required: true }, hint: "The machine was well in all of them, but for alarms that were judged true." };
    const report = await askOrder({
      title: `Fit the alarm limits of ${this._id}`,
      text: "A new version with the same statistics, and limits for the false alarms a week that its rule asks for. It is not used before you activate it.",
      verb: "Fit", fields: [days], give: (order) => send(`../v1/machines/${part(this._id)}/limits`, order),
    });
    if (!report) return;
    say(this._fitted, `Version ${report.version} was made. ${promiseSentence(report.decision.rate)} Run it beside the version in use, or activate it, in Versions.`);
    this._made();
  }
}
