/** Frequencies up the side of a picture whose rows are bands of a mel scale, low ones at the bottom. */

import { GUTTER_PX } from "./curve.js";
import { colour } from "./palette.js";

const TICKS_HZ = [125, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000];

/** Place of a frequency among bands, 0 to 1 from the bottom. @param {Array<[number, number]>} bands_hz @param {number} hz */
export function heightOf(bands_hz, hz) {
  const centres = bands_hz.map(([low, high]) => (low + high) / 2);
  if (hz <= centres[0]) return 0.5 / centres.length;
  for (let band = 1; band < centres.length; band += 1) {
    if (hz <= centres[band]) return (band - 1 + (hz - centres[band - 1]) / (centres[band] - centres[band - 1]) + 0.5) / centres.length;
  }
  return 1 - 0.5 / centres.length;
}

/** Draw ticks beside a picture. @param {CanvasRenderingContext2D} context @param {Array<[number, number]>} bands_hz @param {number} height */
export function drawFrequencies(context, bands_hz, height) {
  const top_hz = bands_hz.at(-1)[1];
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillStyle = colour("--quiet");
  context.strokeStyle = colour("--quiet");
  context.lineWidth = 1;
  let free = height + 100;
  for (const hz of TICKS_HZ) {
    if (hz > top_hz || hz < bands_hz[0][0]) continue;
    const y = height * (1 - heightOf(bands_hz, hz));
    if (free - y < 15 || y < 7 || y > height - 5) continue;
    free = y;
    context.fillText(hz >= 1_000 ? `${hz / 1_000} kHz` : `${hz} Hz`, GUTTER_PX - 7, y);
    context.beginPath();
    context.moveTo(GUTTER_PX - 5, Math.round(y) + 0.5);
    context.lineTo(GUTTER_PX, Math.round(y) + 0.5);
    context.stroke();
  }
}

/**
 * Mark ranges at the edge of a picture.
 * @param {CanvasRenderingContext2D} context @param {Array<[number, number]>} bands_hz
 * @param {Array<{low_hz: number, high_hz: number}>} ranges @param {number} width @param {number} height
 */
export function drawRanges(context, bands_hz, ranges, width, height) {
  context.fillStyle = colour("--ink");
  for (const { low_hz, high_hz } of ranges) {
    const top = height * (1 - heightOf(bands_hz, high_hz));
    const bottom = height * (1 - heightOf(bands_hz, low_hz));
    context.fillRect(width - 5, top, 4, Math.max(3, bottom - top));
  }
}
