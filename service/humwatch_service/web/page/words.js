/** What codes of the service mean, in words that an operator can act on. */

import { durationText } from "./times.js";
import { scoreText } from "./numbers.js";

/** States in words. */
export const STATES = Object.freeze({
  alarm: "Alarm",
  warning: "Warning",
  unknown: "Unknown",
  normal: "Normal",
  off: "Off",
  out_of_service: "Out of service",
  not_listened: "Not listened to",
});

const REASONS = Object.freeze({
  no_sound: "No sound arrives.",
  warming_up: "Not enough sound was heard yet.",
  starting: "The machine has just started.",
  deciding: "The first scores after a break are high; the rule has not decided yet.",
  rate_unconfirmed: "It is not sure yet that sound comes at the pace that was declared.",
  silent: "The sound is silent.",
  stuck: "The samples stand still.",
  drop_outs: "Parts of the sound are missing.",
  wrong_rate: "The sound comes at another rate than was declared.",
  bandwidth_limited: "High frequencies that the model listens to are missing.",
  clipped: "The sound clips: it is too loud for the microphone or its gain.",
  dc_offset: "The samples are off centre.",
  level_unusual: "The level is unlike that of the calibration.",
  clock_drift: "The source's clock drifts.",
  not_loaded: "The model is not loaded.",
});

const ADVICE = Object.freeze({
  no_sound: "Check that the listener on the box at the machine runs, its network and the microphone's plug.",
  silent: "Check the microphone's plug, its mute switch and its gain.",
  stuck: "Plug the microphone in again, or restart the sound card's box.",
  drop_outs: "Check the network and the load of the box that sends.",
  wrong_rate: "Let the source declare the rate that its sound card really has.",
  bandwidth_limited: "Use a higher sample rate, and no compressed or telephone audio.",
  clipped: "Turn the microphone's gain down, then commission again.",
  dc_offset: "Use another input or sound card: it puts an offset on the signal.",
  level_unusual: "Look whether the microphone was moved or its gain was changed; if it is meant so, commission again.",
  clock_drift: "The sound card's clock is off; scores are doubtful. Replace the card if it stays so.",
  warming_up: "Wait for the first ten seconds of sound.",
});

/** A reason in words. @param {string} code */
export function reasonText(code) {
  return REASONS[code] ?? `${code.replaceAll("_", " ")}.`;
}

/** What to do about a reason; null where there is nothing to do. @param {string} code @returns {string | null} */
export function adviceText(code) {
  return ADVICE[code] ?? null;
}

const EVENTS = Object.freeze({
  state_changed: "State changed",
  raised: "Alarm raised",
  cleared: "Alarm cleared",
  realarmed: "Announced again",
  acknowledged: "Acknowledged",
  shelved: "Shelved",
  unshelved: "Shelf ended",
  out_of_service: "Taken out of service",
  in_service: "Returned to service",
  feedback: "Feedback",
});

/** A line of the audit trail. @param {string} kind */
export function eventText(kind) {
  return EVENTS[kind] ?? kind.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());
}

export const VERDICTS = Object.freeze({
  true_alarm: "True alarm: something was wrong",
  false_alarm: "False alarm: the machine was fine",
  unsure: "Not sure",
});

export const EVIDENCE = Object.freeze({
  kept: "kept",
  partial: "the sound after the alarm is not there yet",
  purged: "deleted, as it was too old or too much",
  none: "not kept",
});

/**
 * The rule in force, as sentences.
 * @param {Object} rule @param {number | null} warn_level
 * @param {{kind: string, sentence: string} | null} [decision] what the rule comes to with the model in use
 * @returns {string[]}
 */
export function ruleSentences(rule, warn_level, decision = null) {
  if (decision?.kind === "sequential") return evidenceSentences(rule, decision.sentence);
  const counted = rule.n > 1 ? `${rule.k} of the last ${rule.n} scores have to be` : "the score has to be";
  return [
    `To raise an alarm, ${counted} at 1.00 or more for ${durationText(rule.on_delay_s)} of sound.`,
    warn_level === null ? "" : `From ${scoreText(warn_level)} on, for as long, it is a warning.`,
    `It ends when the score was below ${scoreText(1 - rule.dead_band)} for ${durationText(rule.off_delay_s)} of sound${rule.latch ? ", and somebody has acknowledged it" : ""}.`,
    ...lastSentences(rule),
  ].filter(Boolean);
}

/** The rule where evidence adds up. @param {Object} rule @param {string} sentence when an alarm is raised */
function evidenceSentences(rule, sentence) {
  return [
    sentence,
    "From half of a limit on it is a warning.",
    `It ends when all averages were below three quarters of their limits for ${durationText(rule.off_delay_s)} of sound${rule.latch ? ", and somebody has acknowledged it" : ""}.`,
    ...lastSentences(rule),
  ];
}

/** What holds for every rule. @param {Object} rule */
function lastSentences(rule) {
  return [
    rule.realarm_s === null ? "An alarm is announced once." : `An alarm that nobody acknowledges is announced again after ${durationText(rule.realarm_s)} of sound.`,
    `After the machine starts, ${durationText(rule.startup_s)} of sound are not judged.`,
  ];
}

/** Which average raised an alarm. @param {{time_constant_s: number, average: number, limit: number}} chart */
export function chartSentence({ time_constant_s, average, limit }) {
  return `The average of the score over ${durationText(time_constant_s)} reached ${scoreText(average)}; its limit is ${scoreText(limit)}.`;
}

/** Limits that were in force, in words. @param {{charts: Array<{time_constant_s: number, limit: number}>}} limits */
export function limitsSentence({ charts }) {
  return `An alarm is raised when the average of the score passes one of its limits: ${charts.map(({ time_constant_s, limit }) => `${scoreText(limit)} over ${durationText(time_constant_s)}`).join(", ")}.`;
}
