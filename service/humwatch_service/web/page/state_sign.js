/** The sign of a state: a shape of its own, a word and a colour; none of them alone. */

import { drawing, element } from "./elements.js";
import { STATES } from "./words.js";

const SHAPES = Object.freeze({
  alarm: ["!M8 2h8l6 6v8l-6 6H8l-6-6V8z", "M12 6.5v7", "M12 16.6v.8"],
  warning: ["!M12 2.5 23 21.5H1z", "M12 9v6", "M12 18v.6"],
  unknown: ["!M12 1.5 22.500 12 12 22.500 1.500 12z", "M9.400 9.800c0-3.600 5.300-3.500 5.300-.3 0 2-2.700 2.200-2.700 4.300", "M12 16.900v.7"],
  normal: ["!M12 2a10 10 0 1 0 .01 0z", "M7.300 12.400l3.300 3.300 6.200-7"],
  off: ["M7.600 5.600a8 8 0 1 0 8.800 0", "M12 2.500v9"],
  out_of_service: ["M4 4h16v16H4z", "M4.500 19.500l15-15", "M4.500 12l7.500-7.500", "M12 19.500l7.500-7.500"],
  not_listened: ["M4 4l16 16", "M9 5.500a3 3 0 0 1 6 .5v5m-.7 2.600A3 3 0 0 1 9 12V9", "M5.500 11.500a6.500 6.500 0 0 0 10.500 5M18.500 11.500a7 7 0 0 1-.6 2.800M12 18.500V22"],
});

const GLYPHS = Object.freeze({
  fleet: ["M3 3h7.500v7.500H3zM13.500 3H21v7.500h-7.500zM3 13.500h7.500V21H3zM13.500 13.500H21V21h-7.500z"],
  alarm: ["M6 17V11a6 6 0 0 1 12 0v6l2 2H4zM10 21.500h4"],
  try: ["M12 16V4m-5 5 5-5 5 5M4 15v5h16v-5"],
  sun: ["M12 7a5 5 0 1 0 .01 0zM12 1.500v2M12 20.500v2M1.500 12h2M20.500 12h2M4.600 4.600 6 6M18 18l1.400 1.400M4.600 19.400 6 18M18 6l1.400-1.400"],
  moon: ["M20 14.500A8.500 8.500 0 1 1 9.500 4a7 7 0 0 0 10.500 10.500z"],
  auto: ["M12 3a9 9 0 1 0 .01 0z", "!M12 3a9 9 0 0 1 0 18z"],
  play: ["!M6 3.500v17l15-8.500z"],
  pause: ["!M5 4h5v16H5zM14 4h5v16h-5z"],
  loop: ["M4 12V9a4 4 0 0 1 4-4h11m-3-3 3 3-3 3M20 12v3a4 4 0 0 1-4 4H5m3 3-3-3 3-3"],
  jump: ["!M4 4l9 8-9 8z", "M18 4v16"],
});

/** The shape of a state. @param {string} state */
export function stateShape(state) {
  return drawing(SHAPES[state] ?? SHAPES.unknown);
}

/** A little picture on a control. @param {string} name */
export function glyph(name) {
  return drawing(GLYPHS[name]);
}

/** Shape and word. @param {string} state @param {string} [word] */
export function stateSign(state, word = STATES[state] ?? state) {
  return element("span.state", { data: { state } }, stateShape(state), element("span", {}, word));
}
