/** Alarms as rows, for the list of all and for those of a machine. */

import { element } from "./elements.js";
import { scoreText } from "./numbers.js";
import { alarmAddress } from "./route.js";
import { stateSign } from "./state_sign.js";
import { durationText, lateText, nowS, timeOf } from "./times.js";

const VERDICT_MARKS = { true_alarm: "true alarm", false_alarm: "false alarm", unsure: "not sure" };

/** Whether it is over, in words. @param {Object} alarm */
export function statusWords(alarm) {
  if (alarm.status === "cleared") return `cleared after ${durationText(alarm.cleared_s - alarm.raised_s)}`;
  return alarm.over ? "over, waits for acknowledgement" : `in force for ${durationText(nowS() - Math.max(alarm.raised_s, alarm.heard_s ?? 0))}`;
}

/** Who has seen it, in words. @param {Object} alarm */
export function acknowledgedWords(alarm) {
  return alarm.acknowledged ? `acknowledged by ${alarm.acknowledged.who}` : "not acknowledged";
}

/** @param {Object} alarm @param {{named?: boolean}} [given] whether the machine is named */
export function alarmRow(alarm, { named = true } = {}) {
  const active = alarm.status === "active";
  const marks = [lateText(alarm.late_s), alarm.shelved ? "shelved" : null, alarm.feedback ? VERDICT_MARKS[alarm.feedback.verdict] : null, alarm.evidence === "none" || alarm.evidence === "purged" ? "no sound kept" : null].filter(Boolean);
  return element(
    "li.alarm-row", { data: { open: String(active || !alarm.acknowledged), alarm: alarm.id } },
    element("div.sign", {}, stateSign(active ? "alarm" : "normal", active ? "In force" : "Cleared")),
    element("a.what", { href: alarmAddress(alarm.id) }, named ? `${alarm.machine_id}, alarm ${alarm.number}` : `Alarm ${alarm.number}`),
    element("span.when", {}, timeOf(alarm.raised_s)),
    element("span.how", {}, statusWords(alarm)),
    element("span.peak", {}, `peak ${scoreText(alarm.peak_score)}`),
    element("span.seen", { data: { missing: String(!alarm.acknowledged) } }, acknowledgedWords(alarm)),
    element("span.marks", {}, marks.join(" · ")),
  );
}
