/** Which frequencies make the score, as text and as bars. */

import { element, fill } from "./elements.js";
import { percentText, rangeText } from "./numbers.js";

/**
 * @param {HTMLElement} place
 * @param {Array<{low_hz: number, high_hz: number, contribution: number, departure_db: number}>} bands
 * @param {string} [nothing] what to say where there are none
 */
export function showBands(place, bands, nothing = "No frequencies stand out.") {
  if (!bands.length) {
    fill(place, element("p.quiet", {}, nothing));
    return;
  }
  const rows = bands.slice(0, 6).map((band) => {
    const louder = band.departure_db >= 0;
    const bar = element("i.share", { data: { side: louder ? "louder" : "quieter" } });
    bar.style.width = `${Math.max(2, band.contribution * 100)}%`;
    return element("li.band", {},
      element("span.hz", {}, rangeText(band.low_hz, band.high_hz)),
      element("span.departure", {}, `${Math.abs(band.departure_db).toFixed(1)} dB ${louder ? "louder" : "quieter"}`),
      element("span.track", { "aria-hidden": "true" }, bar),
      element("span.percent", {}, percentText(band.contribution), element("span.unseen", {}, " of the score")));
  });
  fill(place, element("ol.bands", {}, ...rows));
}
