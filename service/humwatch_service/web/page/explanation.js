/** Which detector decided a score, and what it found: frequencies, times, or narrow tones. */

import { showBands } from "./bands_list.js";
import { button, element, fill } from "./elements.js";
import { hzText } from "./numbers.js";

/**
 * @typedef {Object} Told what the service says of a score
 * @property {"profile" | "rhythm" | "lines" | "error" | null} detector null: not known
 * @property {Array<Stretch>} irregular_times
 * @property {Object | null} line
 * @property {Array<{low_hz: number, high_hz: number, contribution: number, departure_db: number}>} bands
 *
 * @typedef {{start_s: number, end_s: number, change_db: number, share: number}} Stretch
 */

const TITLES = Object.freeze({
  profile: ["Spectrum", "how loud each band of frequencies is, over the whole clip"],
  rhythm: ["Irregularity in time", "the sound does not go on as evenly as it usually does"],
  lines: ["Narrow tones", "tones of the machine are not where they usually are"],
  error: ["Prediction error", "the sound is not what the model expects"],
});

/** Name of a detector; empty where it is not known. @param {string | null} detector */
export function detectorTitle(detector) {
  return TITLES[detector]?.[0] ?? "";
}

/** Whether something else than bands explains a score. @param {Told} told */
export function isOfMoments(told) {
  return (told.detector === "rhythm" && told.irregular_times.length > 0) || (told.detector === "lines" && told.line !== null);
}

/**
 * @param {HTMLElement} place
 * @param {Told} told
 * @param {{spanText: (stretch: Stretch) => string, hear?: ((stretch: Stretch) => void) | null, nothing?: string}} given
 *   how a time is said, what plays it, and what is said where nothing stands out
 */
export function showExplanation(place, told, { spanText, hear = null, nothing }) {
  const bands = element("div");
  if (isOfMoments(told)) fill(bands, told.detector === "rhythm" ? timesList(told.irregular_times, spanText, hear) : element("p.finding", {}, lineText(told.line)));
  else showBands(bands, told.bands, nothing);
  fill(place, heading(told.detector), bands);
}

/** @param {string | null} detector */
function heading(detector) {
  const [title, about] = TITLES[detector] ?? [];
  return title ? element("p.decided", { data: { detector } }, element("span.quiet", {}, "Decided by "), element("b", {}, title), element("span.quiet", {}, `: ${about}.`)) : null;
}

/** @param {Array<Stretch>} times @param {(stretch: Stretch) => string} spanText @param {((stretch: Stretch) => void) | null} hear */
function timesList(times, spanText, hear) {
  const inOrder = [...times].sort((one, other) => one.start_s - other.start_s);
  const rows = inOrder.map((stretch) => {
    const words = `${loudnessText(stretch.change_db)} ${spanText(stretch)}`;
    return element("li", {}, element("span", {}, words), hear && button("Hear", () => hear(stretch), { "aria-label": `Hear it: ${words}` }));
  });
  return element("ol.moments", {}, ...rows);
}

/** @param {number} change_db */
function loudnessText(change_db) {
  return `${change_db >= 0 ? "louder" : "quieter"} by ${Math.abs(change_db).toFixed(1)} dB`;
}

/** From when to when, hundredths of a second. @param {number} start_s @param {number} end_s */
export function secondsText(start_s, end_s) {
  return `from ${start_s.toFixed(2)} to ${end_s.toFixed(2)} s`.replaceAll("-", "\u2212");
}

/** What has become of narrow tones. @param {Object} line */
export function lineText(line) {
  if (line.change === "missing") return missingText(line);
  const shift = line.shift_percent;
  const percent = shift === null ? "" : `${Math.abs(shift).toFixed(1)} %`;
  const from = line.before_hz !== null && line.after_hz !== null ? ` The strongest tone went from ${hzText(line.before_hz)} to ${hzText(line.after_hz)}.` : "";
  if (line.change === "drift") return `The pitch drifts${percent && ` ${shift > 0 ? "up" : "down"} by ${percent}`} within the clip.${from}`;
  return `${percent ? `The machine runs ${percent} ${shift > 0 ? "faster" : "slower"}` : "The machine runs at another speed"}.${from}`;
}

/** @param {Object} line */
function missingText({ before_hz, after_hz, change_db }) {
  if (before_hz === null) return "A tone is gone.";
  const change = change_db === null ? "" : ` (${change_db.toFixed(1).replace("-", "\u2212")} dB)`;
  // The largest surplus near a missing tone need not be the same tone.
  if (after_hz !== null) return `A tone moved from ${hzText(before_hz)} to ${hzText(after_hz)}, or is gone${change}.`;
  return `The tone at ${hzText(before_hz)} is gone${change}.`;
}
