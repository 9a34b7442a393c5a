/** The scores of the last hour on a tile: a mark a minute, gaps where nothing was judged. */

import { fitted } from "./canvas.js";
import { colour } from "./palette.js";

const TOP = 1.35;
const BOTTOM = -0.35;
export const MINUTES = 60;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Array<number | null>} scores highest of each minute, the newest last
 * @param {number} warn_level
 */
export function drawSparkline(canvas, scores, warn_level) {
  const { context, width, height } = fitted(canvas);
  context.clearRect(0, 0, width, height);
  if (width === 0) return;
  const y = (score) => height - 1 - ((Math.min(TOP, Math.max(BOTTOM, score)) - BOTTOM) / (TOP - BOTTOM)) * (height - 2);
  level(context, width, y(1), "--alarm-line", []);
  level(context, width, y(warn_level), "--warn-line", [4, 3]);
  const step = width / MINUTES;
  context.lineWidth = 1.6;
  context.lineJoin = "round";
  context.strokeStyle = colour("--curve");
  context.fillStyle = colour("--curve");
  context.beginPath();
  scores.forEach((score, minute) => {
    if (score === null || score === undefined) return;
    const x = width - (scores.length - minute - 0.5) * step;
    const joined = minute > 0 && scores[minute - 1] !== null && scores[minute - 1] !== undefined;
    if (joined) context.lineTo(x, y(score));
    else context.moveTo(x, y(score));
    const alone = !joined && (scores[minute + 1] === null || scores[minute + 1] === undefined);
    if (alone) context.rect(x - 0.8, y(score) - 0.8, 1.6, 1.6);
  });
  context.stroke();
}

/** @param {CanvasRenderingContext2D} context @param {number} width @param {number} y @param {string} name @param {number[]} dashes */
function level(context, width, y, name, dashes) {
  context.strokeStyle = colour(name);
  context.lineWidth = 1;
  context.setLineDash(dashes);
  context.beginPath();
  context.moveTo(0, Math.round(y) + 0.5);
  context.lineTo(width, Math.round(y) + 0.5);
  context.stroke();
  context.setLineDash([]);
}
