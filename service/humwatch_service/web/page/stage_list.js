/** Stages of a commissioning: each is a version, with its level and what it promises. */

import { element } from "./elements.js";
import { rateText, scoreText } from "./numbers.js";
import { timeOf } from "./times.js";

const STATES = Object.freeze({ active: "in use", candidate: "runs beside", waiting: "waits to be accepted", replaced: "replaced" });

/**
 * @param {Object[]} stages that were made, the first one first @param {number[]} wanted minutes from which versions are made
 */
export function stageList(stages, wanted) {
  const made = stages.at(-1)?.collected ?? 0;
  const coming = wanted.filter((minutes) => minutes > made);
  return element("ol.stages", {}, ...stages.map(stageRow), ...coming.map((minutes) => comingRow(minutes, minutes === wanted.at(-1))));
}

/** @param {Object} stage */
function stageRow(stage) {
  const alarms = stage.expected_false_alarms_a_day;
  const weekly = stage.false_alarms_a_week === null ? `no limits of its own${stage.decision_reason ? `: ${stage.decision_reason}` : ""}` : `${rateText(stage.false_alarms_a_week)} false alarms a week expected, ${stage.promised ? "promised" : `not promised${stage.decision_reason ? `: ${stage.decision_reason}` : ""}`}`;
  return element("li", { data: { state: stage.state } },
    element("p", {}, element("b", {}, `Version ${stage.version}`), ` from ${stage.minutes} minutes `, element("span.mark", {}, STATES[stage.state]), stage.provisional && stage.state === "active" ? element("span.mark", {}, "provisional") : null),
    element("p.quiet", {}, timeOf(stage.made_s), `. Alarm from a raw score of ${rawText(stage.raw_thresholds.alarm)}, warning from ${scoreText(stage.thresholds.warn)}; ${rateText(alarms.value)} clips a day over the alarm level expected${alarms.promised ? ", promised" : ", not promised"}. Alarms: ${weekly}.`),
    element("p.quiet", {}, `${stage.reason.replace(/^./, (first) => first.toUpperCase())}.`));
}

/** @param {number} minutes @param {boolean} last */
function comingRow(minutes, last) {
  return element("li", { data: { state: "coming" } }, element("p.quiet", {}, `From ${minutes} minutes: ${last ? "the version of all minutes" : "the next provisional version"}.`));
}

/** A raw score, with the digits that mean anything. @param {number} raw */
export function rawText(raw) {
  return Number(raw.toPrecision(3)).toString().replace("-", "\u2212");
}
