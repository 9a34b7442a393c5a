/** Times and durations as people read them. All times are seconds since 1970 (UTC). */

import { element } from "./elements.js";

const DAY_S = 86_400;
const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minuteFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const zoneFormat = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });

/** The service's clock less this device's, seconds: a tablet on a wall is often wrong. */
let ahead_s = 0;

/** Take the service's time as it arrives. @param {number} at_s */
export function noteServiceTime(at_s) {
  ahead_s = at_s - Date.now() / 1000;
}

/** Now, by the service's clock. @returns {number} */
export function nowS() {
  return Date.now() / 1000 + ahead_s;
}

/** Name of the local time zone, as of a moment. @param {number} at_s */
export function zone(at_s) {
  return zoneFormat.formatToParts(at_s * 1000).find((part) => part.type === "timeZoneName")?.value ?? "";
}

/** Time of day. @param {number} at_s */
export function clockText(at_s) {
  return clockFormat.format(at_s * 1000);
}

/** Time of day without its seconds. @param {number} at_s */
export function minuteText(at_s) {
  return minuteFormat.format(at_s * 1000);
}

/** Day and time of day, the day only where it is not today's. @param {number} at_s */
export function momentText(at_s) {
  const today = new Date(nowS() * 1000).toDateString() === new Date(at_s * 1000).toDateString();
  return today ? clockText(at_s) : `${dayFormat.format(at_s * 1000)}, ${clockText(at_s)}`;
}

/** The same in UTC, ISO 8601. @param {number} at_s */
export function utcText(at_s) {
  return new Date(at_s * 1000).toISOString().replace(/\.\d+Z$/, "Z");
}

/**
 * A time: local with its zone, UTC on hover.
 * @param {number | null} at_s @param {{withZone?: boolean}} [given]
 * @returns {HTMLElement}
 */
export function timeOf(at_s, { withZone = true } = {}) {
  if (at_s === null || at_s === undefined) return element("span", {}, "not known");
  const text = withZone ? `${momentText(at_s)} ${zone(at_s)}` : momentText(at_s);
  return element("time", { datetime: utcText(at_s), title: `UTC ${utcText(at_s)}` }, text);
}

/** A day, where the hour is not known. @param {number} at_s @returns {HTMLElement} */
export function dayOf(at_s) {
  return element("time", { datetime: utcText(at_s), title: `UTC ${utcText(at_s)}` }, dayFormat.format(at_s * 1000));
}

/** A duration in words: `12 s`, `3 min`, `2 h 5 min`, `4 d`. @param {number} seconds */
export function durationText(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5_400) return `${Math.round(s / 60)} min`;
  if (s < 2 * DAY_S) {
    const hours = Math.floor(s / 3_600);
    const minutes = Math.round((s - hours * 3_600) / 60);
    return minutes === 0 ? `${hours} h` : minutes === 60 ? `${hours + 1} h` : `${hours} h ${minutes} min`;
  }
  return `${Math.round(s / DAY_S)} d`;
}

/** How much later than recorded sound was heard, in words; null where that is within a minute. @param {number | null} late_s */
export function lateText(late_s) {
  return (late_s ?? 0) > 60 ? `heard ${durationText(late_s)} later` : null;
}

/** Minutes and seconds of a player: `1:07`. @param {number} seconds */
export function playedText(seconds) {
  const s = Math.max(0, Number.isFinite(seconds) ? seconds : 0);
  return `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
}
