/** One alarm: hear it, see it, act on it. */

import { AlarmEvidence } from "./alarm_evidence.js";
import { AlarmOrders } from "./alarm_orders.js";
import { acknowledgedWords, statusWords } from "./alarm_rows.js";
import { element, factList, fill, panel, say } from "./elements.js";
import { detectorTitle, secondsText, showExplanation } from "./explanation.js";
import { scoreText } from "./numbers.js";
import { machineAddress } from "./route.js";
import { isLeft, part, read, wordsOf } from "./service.js";
import { stateSign } from "./state_sign.js";
import { durationText, lateText, timeOf } from "./times.js";
import { chartSentence, eventText, EVIDENCE, limitsSentence, reasonText, ruleSentences, STATES, VERDICTS } from "./words.js";

const LOOK_MS = 3_000;

/** @param {import("./route.js").Route} route @param {{feed: import("./fleet_feed.js").FleetFeed, notices: import("./alarm_notices.js").AlarmNotices}} page */
export function alarmView(route, { feed, notices }) {
  notices.seen(route.id);
  const alarm = new AlarmPage(feed, route.id);
  return { node: alarm.node, title: `Alarm ${route.id}`, close: () => alarm.close() };
}

/** The view. */
class AlarmPage {
  constructor(feed, alarm_id) {
    this._id = alarm_id;
    this._path = `../v1/alarms/${part(alarm_id)}`;
    this._left = new AbortController();
    this._parts = null;
    this._trouble = element("p.trouble", { role: "alert" });
    this._body = element("div", {}, element("p.quiet", {}, "Loading…"));
    this.node = element("div.alarm-view", {}, element("p.crumbs", {}, element("a", { href: "#/alarms" }, "Alarms"), ` / ${alarm_id}`), this._trouble, this._body);
    const listen = (kind, heard) => feed.addEventListener(kind, heard, { signal: this._left.signal });
    listen("alarm", (event) => event.detail.alarm_id === alarm_id && this._load());
    listen("fleet", () => this._load());
    this._load();
  }

  close() {
    this._left.abort();
    clearTimeout(this._timer);
    this._parts?.evidence.close();
  }

  async _load() {
    clearTimeout(this._timer);
    const signal = this._left.signal;
    try {
      const [alarm, { events }] = await Promise.all([read(this._path, { signal }), read(`${this._path}/events`, { signal })]);
      this._show(alarm, events);
      say(this._trouble, "");
      if (alarm.status === "active" || alarm.evidence === "partial") this._timer = setTimeout(() => this._load(), LOOK_MS);
    } catch (error) {
      if (isLeft(error)) return;
      say(this._trouble, wordsOf(error));
      if (this._parts === null) fill(this._body);
    }
  }

  _show(alarm, events) {
    if (this._parts === null) this._build(alarm);
    const { head, facts, rule, trail, evidence, orders, said } = this._parts;
    this._showHead(head, alarm);
    evidence.show(alarm);
    orders.show(alarm);
    const context = alarm.context;
    const told = JSON.stringify([alarm, events.length]);
    if (told === this._told) return;
    this._told = told;
    this._shown = alarm;
    fill(facts, factsOf(alarm));
    fill(said, ...feedbackOf(alarm.feedback));
    said.hidden = alarm.feedback === null;
    this._explain(alarm);
    fill(rule, ...(context ? ruleOf(context) : ["Not known any more."]).map((sentence) => element("li", {}, sentence)));
    fill(trail, ...events.map(trailRow));
  }

  /** @param {Object} alarm */
  _explain(alarm) {
    const { bands, evidence } = this._parts;
    const context = alarm.context ?? { detector: null, irregular_times: [], line: null, bands: [] };
    const known = context.irregular_times.length > 0 && evidence.placeOf(context.irregular_times[0].start_s) !== null;
    showExplanation(bands, context, {
      spanText: (stretch) => spanText(stretch, alarm, evidence),
      hear: known ? (stretch) => evidence.hear(stretch.start_s) : null,
      nothing: alarm.context ? "No frequencies stand out." : "What was heard is not known any more.",
    });
  }

  _build(alarm) {
    const parts = {
      head: element("section.panel.head", { "aria-label": "State of the alarm" }), facts: element("div"), bands: element("div"),
      rule: element("ul.sentences"), trail: element("ol.trail"), said: element("div.said"),
      evidence: new AlarmEvidence(alarm), orders: new AlarmOrders(alarm, (record) => this._changed(record)),
    };
    this._parts = parts;
    parts.evidence.addEventListener("length", () => this._shown && this._explain(this._shown));
    fill(this._body,
      element("h1", {}, element("a", { href: machineAddress(alarm.machine_id) }, alarm.machine_id), `, alarm ${alarm.number}`),
      element("div.split", {},
        element("div.main-side", {}, parts.evidence.node, parts.evidence.picture, parts.evidence.trace, panel("Rule in force", { kind: "rule" }, parts.rule), panel("Audit trail", { kind: "history" }, parts.trail)),
        element("div.side", {}, parts.head, parts.orders.node, parts.said, panel("What made the score", {}, parts.bands), panel("Facts", {}, parts.facts))));
  }

  _changed(record) {
    this._load();
    this._showHead(this._parts.head, record);
    this._parts.orders.show(record);
    this._parts.head.tabIndex = -1;
    this._parts.head.focus({ preventScroll: true });
  }

  _showHead(head, alarm) {
    const active = alarm.status === "active";
    const told = `${alarm.status}${alarm.over}${alarm.acknowledged?.at_s}${alarm.shelved}${statusWords(alarm)}`;
    if (head.dataset.told === told) return;
    head.dataset.told = told;
    head.dataset.state = active ? "alarm" : "normal";
    const late = lateText(alarm.late_s);
    const note = alarm.acknowledged?.why ? `: ${alarm.acknowledged.why}` : "";
    fill(head,
      element("div.big-state", {}, stateSign(active ? "alarm" : "normal", active ? "In force" : "Cleared")),
      element("p.since", {}, "raised ", timeOf(alarm.raised_s), `, ${statusWords(alarm)}`),
      late && element("p.late", {}, `About old sound: ${late}, `, timeOf(alarm.heard_s), "."),
      element("p.acknowledged", { data: { missing: String(alarm.acknowledged === null) } }, `${acknowledgedWords(alarm)}${note}`),
      alarm.shelved && element("p", {}, "Shelved: nobody is told of it for a while."));
  }
}

/** The rule that was in force, and what of it raised the alarm. @param {Object} context */
function ruleOf({ rule, levels, limits, chart }) {
  if (!limits) return ruleSentences(rule, levels.warn);
  return [...(chart ? [chartSentence(chart)] : []), ...ruleSentences(rule, levels.warn, { kind: "sequential", sentence: limitsSentence(limits) })];
}

/** Where in the sound something was, or else how long before the alarm. */
function spanText({ start_s, end_s }, alarm, evidence) {
  const from_s = evidence.placeOf(start_s);
  const to_s = evidence.placeOf(end_s);
  if (from_s !== null && to_s !== null) return `${secondsText(from_s, to_s)} of this sound`;
  return `${(alarm.raised_s - start_s).toFixed(2)} to ${(alarm.raised_s - end_s).toFixed(2)} s before the alarm`;
}

/** @param {Object} alarm */
function factsOf(alarm) {
  const { context } = alarm;
  return factList([
    ["Score at the alarm", `${scoreText(alarm.score)} (raw ${context ? context.raw_score.toPrecision(4) : "not known"})`],
    ["Highest score", scoreText(alarm.peak_score)],
    context?.detector && ["Decided by", detectorTitle(context.detector)],
    context?.chart && ["Raised by", `the average over ${durationText(context.chart.time_constant_s)}: ${scoreText(context.chart.average)} of ${scoreText(context.chart.limit)}`],
    context && ["Levels", `warning ${scoreText(context.levels.warn)}, alarm ${scoreText(context.levels.alarm)}`],
    context && ["Model", `version ${context.model_version}`],
    context && ["Model's SHA-256", element("code.digest", {}, context.model_sha256)],
    context?.reasons.length ? ["Doubtful", context.reasons.map(reasonText).join(" ")] : null,
    ["Raised", timeOf(alarm.raised_s)], lateText(alarm.late_s) ? ["Heard", timeOf(alarm.heard_s)] : null, alarm.cleared_s ? ["Cleared", timeOf(alarm.cleared_s)] : null,
    ["Announced", alarm.announced_s ? timeOf(alarm.announced_s) : "never: it was shelved"],
    ["Sound", EVIDENCE[alarm.evidence]],
    context?.source ? ["Stream", `${context.source.stream_id}, ${context.source.rate_hz / 1000} kHz`] : null,
  ]);
}

/** @param {Object | null} feedback */
function feedbackOf(feedback) {
  if (feedback === null) return [];
  return [panel("What was found", {}, factList([
    ["Verdict", VERDICTS[feedback.verdict]], feedback.cause ? ["Cause", feedback.cause] : null, feedback.action ? ["Done", feedback.action] : null,
    ["Said by", element("span", {}, feedback.who, ", ", timeOf(feedback.at_s))],
  ]))];
}

/** @param {Object} event a line of the audit trail */
function trailRow(event) {
  const change = event.from_state && event.to_state && event.from_state !== event.to_state ? `: ${STATES[event.from_state].toLowerCase()} to ${STATES[event.to_state].toLowerCase()}` : "";
  const score = event.score !== null ? `, score ${scoreText(event.score)}` : "";
  return element("li", {}, timeOf(event.at_s), " ", element("b", {}, `${eventText(event.kind)}${change}`), score,
    event.who ? ` by ${event.who}` : "", event.why ? `: ${event.why}` : "", event.until_s ? element("span", {}, ", until ", timeOf(event.until_s)) : null, event.announced ? element("span.mark", {}, "announced") : null);
}
