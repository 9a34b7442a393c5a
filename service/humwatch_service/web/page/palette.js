/** Colours for canvases, taken from the style sheet, so that there is one place for them. */

/** @type {Map<string, string>} */
let known = new Map();

document.addEventListener("themechange", () => {
  known = new Map();
});

/** A colour of the style sheet. @param {string} name such as `--ink` @returns {string} */
export function colour(name) {
  if (!known.has(name)) known.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return known.get(name);
}

/** The same as red, green, blue of 0 to 255. @param {string} name @returns {[number, number, number]} */
export function channels(name) {
  const hex = colour(name).replace("#", "");
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** Cividis, which reads the same with any colour vision: dark blue is quiet, yellow is loud. */
const LOUDNESS = ["00224e", "003170", "2a3f6d", "434e6c", "575d6d", "6a6c71", "7d7c78", "918b78", "a59c74", "bcae6c", "d2c060", "e9d34e", "fee838"];

/** Between stops, 256 colours as little-endian RGBA. @param {Array<[number, number, number]>} stops */
function ramp(stops) {
  const colours = new Uint32Array(256);
  for (let value = 0; value < 256; value += 1) {
    const at = (value / 255) * (stops.length - 1);
    const below = Math.min(Math.floor(at), stops.length - 2);
    const [r, g, b] = stops[below].map((start, channel) => Math.round(start + (stops[below + 1][channel] - start) * (at - below)));
    colours[value] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return colours;
}

/** Colours of a level, quiet to loud. @returns {Uint32Array} (256,) */
export function loudnessColours() {
  return ramp(LOUDNESS.map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16))));
}

/** Colours of a departure: quieter, as expected, louder. @returns {Uint32Array} (256,) */
export function departureColours() {
  return ramp([channels("--quieter-far"), channels("--quieter"), channels("--expected"), channels("--louder"), channels("--louder-far")]);
}
