/** Numbers with their units. A true minus sign, no more digits than mean anything. */

/** A normalised score: 0 is the median of normal, 1 the alarm level. @param {number | null | undefined} score */
export function scoreText(score) {
  if (score === null || score === undefined || !Number.isFinite(score)) return "–";
  return signed(score.toFixed(Math.abs(score) >= 100 ? 0 : Math.abs(score) >= 10 ? 1 : 2));
}

/** @param {number} hz */
export function hzText(hz) {
  return hz >= 10_000 ? `${(hz / 1000).toFixed(1)} kHz` : hz >= 1_000 ? `${(hz / 1000).toFixed(2)} kHz` : `${Math.round(hz)} Hz`;
}

/** @param {number} low_hz @param {number} high_hz */
export function rangeText(low_hz, high_hz) {
  return low_hz >= 1_000 || high_hz < 1_000
    ? `${hzText(low_hz).replace(/ k?Hz$/, "")} to ${hzText(high_hz)}`
    : `${hzText(low_hz)} to ${hzText(high_hz)}`;
}

/** A departure: always with its sign. @param {number} db */
export function departureText(db) {
  const rounded = db.toFixed(1);
  return `${db > 0 ? "+" : ""}${signed(rounded)} dB`;
}

/** @param {number | null} dbfs */
export function levelText(dbfs) {
  return dbfs === null || dbfs === undefined ? "no sound yet" : `${signed(dbfs.toFixed(1))} dBFS`;
}

/** @param {number} share 0 to 1 */
export function percentText(share) {
  const percent = share * 100;
  return `${percent > 0 && percent < 1 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/** A count of something a day. @param {number} value */
export function rateText(value) {
  return value >= 100 ? Math.round(value).toLocaleString() : value >= 10 ? value.toFixed(0) : value.toFixed(value >= 1 ? 1 : 2);
}

/** @param {number} bytes */
export function bytesText(bytes) {
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`;
}

/** @param {string} text */
function signed(text) {
  return text.replace("-", "\u2212");
}
