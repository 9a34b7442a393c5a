/** The sound of a machine as it comes: how loud, how unusual, and what the score makes of it, on one axis of time. */

import { fitted, Redraw } from "./canvas.js";
import { Curve, GUTTER_PX, RIGHT_PX } from "./curve.js";
import { button, element, fill, say } from "./elements.js";
import { drawFrequencies, drawRanges } from "./frequency_axis.js";
import { departureText, rangeText, scoreText } from "./numbers.js";
import { colour, departureColours, loudnessColours } from "./palette.js";
import { ScoreTrail } from "./score_trail.js";
import { SoundStrip } from "./sound_strip.js";
import { SoundWindow } from "./sound_window.js";
import { glyph } from "./state_sign.js";
import { clockText, durationText, nowS, utcText, zone } from "./times.js";

const MOST_LAG_S = 15;
/** Marked frequencies are those of the newest sound; without any for so long there are none. */
const QUIET_S = 3;

/** Spectrogram, departure and score; pause, zoom and readings by pointer and keys. */
export class SoundStack {
  constructor() {
    this._window = new SoundWindow(innerWidth < 700 ? 30 : 60);
    this._trail = new ScoreTrail();
    this._cursor = null;
    this._bands = [];
    this._stretches = [];
    this._lag_s = 0;
    this._warn_level = null;
    this._redraw = new Redraw(() => this._draw());
    this._build();
    this._curve = new Curve(this._curvePlace, {
      height: 150, warn_level: () => this._warn_level,
      series: [{ name: "second", colour: "--second", width: 1 }, { name: "score", colour: "--curve", width: 2.2 }],
    });
    this._resized = new ResizeObserver(() => this._redraw.ask());
    this._resized.observe(this._level);
    this._recolour = () => this._strip?.recolour();
    document.addEventListener("themechange", this._recolour);
  }

  /** What the columns mean. @param {Object} told the event `hello` */
  hello(told) {
    this._level_db = told.level_db;
    this._departure_db = told.departure_db;
    this._warn_level = told.warn_level;
    if (!this._strip || this._strip.column_s !== told.column_s || this._strip.bands !== told.bands_hz.length) {
      this._strip = new SoundStrip(told.bands_hz, told.column_s);
      this._trail.reset();
    }
    say(this._departureRange, `\u2212${Math.round(told.departure_db)} to +${Math.round(told.departure_db)} dB`);
    this._redraw.ask();
  }

  /** A piece of sound. @param {Object} told the event `sound` */
  sound(told) {
    if (!this._strip) return;
    this._strip.push(told);
    this._trail.push(told.end_s, told.score, told.step_score);
    this._stretches = told.irregular_times ?? [];
    this._bands = this._stretches.length ? [] : told.line ? tonesOf(told.line) : told.bands ?? [];
    this._lag_s = Math.min(MOST_LAG_S, Math.max(-MOST_LAG_S, nowS() - told.end_s));
    this._window.reach(told.end_s);
    this._empty.hidden = true;
    this._redraw.ask();
  }

  /** A second went by; where no sound comes the gap grows. */
  second() {
    if (this._strip && this._window.newest_s > 0) this._window.reach(nowS() - this._lag_s);
    if (this._bands.length && this._window.newest_s - this._strip.end_s > QUIET_S) this._bands = [];
    if (!this._window.isPaused) this._redraw.ask();
  }

  close() {
    this._redraw.close();
    this._curve.close();
    this._resized.disconnect();
    document.removeEventListener("themechange", this._recolour);
  }

  _build() {
    this._level = /** @type {HTMLCanvasElement} */ (element("canvas.picture", { role: "img", "aria-label": "spectrogram of the last minutes" }));
    this._departure = /** @type {HTMLCanvasElement} */ (element("canvas.picture", { role: "img", "aria-label": "departure from what the model expects" }));
    this._curvePlace = element("div.curve");
    this._overlay = /** @type {HTMLCanvasElement} */ (element("div.cursor", { hidden: true }));
    this._reading = element("output.reading", { "aria-live": "off" }, "Point at the picture, or use the arrow keys, to read Hz, dB and time.");
    this._levelRange = element("span", {});
    this._departureRange = element("span", {});
    this._levelKey = /** @type {HTMLCanvasElement} */ (element("canvas.key", { "aria-hidden": "true" }));
    this._departureKey = /** @type {HTMLCanvasElement} */ (element("canvas.key", { "aria-hidden": "true" }));
    this._empty = element("p.waiting", {}, "No sound yet. It is shown here as soon as it comes.");
    this._area = element(
      "div.stack", { tabindex: 0, role: "group", "aria-label": "Sound over time. Arrow keys read, plus and minus zoom, space pauses." },
      element("p.caption", {}, element("b", {}, "Heard"), element("span.legend", {}, "quiet ", this._levelKey, " loud ", this._levelRange)), this._level,
      element("p.caption", {}, element("b", {}, "Departure from expected"), element("span.legend", {}, "quieter ", this._departureKey, " louder ", this._departureRange)), this._departure,
      element("p.caption", {}, element("b", {}, "Score"), element("span.legend", {}, element("i.line.thick", {}), "last ten seconds ", element("i.line.thin", {}), "last second")), this._curvePlace,
      this._overlay, this._empty,
    );
    this._pause = button("", () => this._toggle(), { kind: "primary" });
    this._span = element("span.span");
    this._tools = element("div.row.stack-tools", {}, this._pause,
      button("Zoom in", () => this._zoom(true)), button("Zoom out", () => this._zoom(false)),
      button("Earlier", () => this._shift(-0.5)), button("Later", () => this._shift(0.5)), this._span);
    this.node = element("section.panel.sound", { "aria-labelledby": "sound-title" }, element("div.row.between", {}, element("h2", { id: "sound-title" }, "Sound, live"), this._tools), this._area, this._reading);
    this._showPause();
    this._listen();
  }

  _listen() {
    const area = this._area;
    const at = (event) => this._pointAt(event);
    area.addEventListener("pointermove", at);
    area.addEventListener("pointerdown", at);
    area.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this._read(null));
    area.addEventListener("keydown", (event) => this._key(event));
    area.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey && document.activeElement !== area) return;
      event.preventDefault();
      this._zoom(event.deltaY < 0, this._cursor?.at_s);
    }, { passive: false });
  }

  _toggle() {
    this._window.toggle();
    this._showPause();
    this._redraw.ask();
  }

  _zoom(closer, around_s = undefined) {
    this._window.zoom(closer, around_s);
    this._redraw.ask();
  }

  _shift(spans) {
    this._window.shift(spans * this._window.span_s);
    this._showPause();
    this._redraw.ask();
  }

  _showPause() {
    const paused = this._window.isPaused;
    fill(this._pause, glyph(paused ? "play" : "pause"), element("span", {}, paused ? "Go on live" : "Pause"));
    this._area.classList.toggle("paused", paused);
  }

  _key(event) {
    if (event.target !== this._area || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (moves[event.key]) this._move(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this._zoom(true, this._cursor?.at_s);
    else if (event.key === "-") this._zoom(false, this._cursor?.at_s);
    else if (event.key === " ") this._toggle();
    else if (event.key === "PageUp") this._shift(-0.5);
    else if (event.key === "PageDown") this._shift(0.5);
    else if (event.key === "Escape") this._read(null);
    else return;
    event.preventDefault();
  }

  /** By keys: a hundredth of the width, or a band. A reading needs a picture that stands. */
  _move(across, up) {
    if (!this._strip) return;
    if (!this._window.isPaused) this._toggle();
    const was = this._cursor ?? { at_s: Math.min(this._window.end_s, this._strip.end_s), band: Math.floor(this._strip.bands / 2) };
    const at_s = was.at_s + (across * this._window.span_s) / 100;
    if (at_s < this._window.start_s || at_s > this._window.end_s) this._shift(across * 0.25);
    const band = Math.max(0, Math.min(this._strip.bands - 1, was.band + up));
    this._reading.setAttribute("aria-live", "polite");
    this._read({ at_s: Math.max(this._window.start_s, Math.min(this._window.end_s, at_s)), band });
  }

  _pointAt(event) {
    if (!this._strip) return;
    const box = this._level.getBoundingClientRect();
    const share = (event.clientX - box.left - GUTTER_PX) / (box.width - GUTTER_PX - RIGHT_PX);
    if (share < 0 || share > 1) return;
    const picture = [this._level, this._departure].find((canvas) => {
      const { top, bottom } = canvas.getBoundingClientRect();
      return event.clientY >= top && event.clientY <= bottom;
    });
    const within = picture ? 1 - (event.clientY - picture.getBoundingClientRect().top) / picture.clientHeight : null;
    const band = within === null ? this._cursor?.band ?? 0 : Math.min(this._strip.bands - 1, Math.floor(within * this._strip.bands));
    this._reading.setAttribute("aria-live", "off");
    this._read({ at_s: this._window.start_s + share * this._window.span_s, band: Math.max(0, band) });
  }

  _read(cursor) {
    this._cursor = cursor;
    this._showCursor();
  }

  _showCursor() {
    const { _cursor: cursor, _window: seen } = this;
    const across = cursor && (cursor.at_s - seen.start_s) / seen.span_s;
    this._overlay.hidden = cursor === null || across < 0 || across > 1;
    if (cursor === null) return;
    const width = this._level.clientWidth - GUTTER_PX - RIGHT_PX;
    this._overlay.style.left = `${this._level.offsetLeft + GUTTER_PX + across * width}px`;
    this._reading.classList.add("read");
    say(this._reading, this._words(cursor));
    this._reading.title = `UTC ${utcText(cursor.at_s)}`;
  }

  _words({ at_s, band }) {
    const [low_hz, high_hz] = this._strip.bands_hz[band];
    const when = `${clockText(at_s)} ${zone(at_s)}`;
    const found = this._strip.reading(at_s, band);
    if (found === null) return `${when} · no sound`;
    const [low_db, high_db] = this._level_db;
    const level = low_db + (found.level / 255) * (high_db - low_db);
    const departure = found.departure === null ? "not judged" : `${departureText((found.departure / 127) * this._departure_db)} from expected`;
    return `${when} · ${rangeText(low_hz, high_hz)} · ${level.toFixed(1).replace("-", "\u2212")} dB · ${departure} · score ${scoreText(this._trail.at(at_s))}`;
  }

  _draw() {
    const { start_s, end_s, span_s } = this._window;
    say(this._span, `${durationText(span_s)}${this._window.isPaused ? ", paused" : ""}`);
    if (!this._strip) return;
    this._drawPicture(this._level, this._strip.levelCanvas, start_s, end_s, []);
    this._drawPicture(this._departure, this._strip.departureCanvas, start_s, end_s, this._window.isPaused ? [] : this._bands);
    const [times, scores, steps] = this._trail.columns;
    this._curve.show([times, steps, scores]);
    this._curve.window(start_s, end_s);
    this._drawKeys();
    this._showCursor();
  }

  _drawPicture(canvas, source, start_s, end_s, ranges) {
    const { context, width, height } = fitted(canvas);
    const inner = width - GUTTER_PX - RIGHT_PX;
    context.clearRect(0, 0, width, height);
    if (inner <= 0) return;
    context.save();
    context.translate(GUTTER_PX, 0);
    context.beginPath();
    context.rect(0, 0, inner, height);
    context.clip();
    context.fillStyle = colour("--gap");
    context.fillRect(0, 0, inner, height);
    this._strip.draw(context, source, start_s, end_s, inner, height);
    this._drawStretches(context, start_s, end_s, inner, height);
    drawRanges(context, this._strip.bands_hz, ranges, inner, height);
    context.restore();
    drawFrequencies(context, this._strip.bands_hz, height);
  }

  /** Mark when the sound was irregular, at the upper edge and by two lines. */
  _drawStretches(context, start_s, end_s, width, height) {
    const across = width / (end_s - start_s);
    context.fillStyle = colour("--stretch");
    for (const stretch of this._stretches) {
      const left = (stretch.start_s - start_s) * across;
      const right = Math.max(left + 3, (stretch.end_s - start_s) * across);
      context.fillRect(left, 0, right - left, 5);
      for (const x of [left, right]) context.fillRect(Math.round(x) - 1, 0, 1.5, height);
    }
  }

  _drawKeys() {
    drawKey(this._levelKey, loudnessColours());
    drawKey(this._departureKey, departureColours());
    const [low, high] = this._strip.range.map((value) => this._level_db[0] + (value / 255) * (this._level_db[1] - this._level_db[0]));
    say(this._levelRange, `${Math.round(low)} to ${Math.round(high)} dB`.replaceAll("-", "\u2212"));
  }
}

/** Where the tones are that changed, as ranges. @param {{before_hz: number | null, after_hz: number | null}} line */
function tonesOf({ before_hz, after_hz }) {
  return [before_hz, after_hz].filter((hz) => hz !== null).map((hz) => ({ low_hz: hz, high_hz: hz }));
}

/** A strip of all colours. @param {HTMLCanvasElement} canvas @param {Uint32Array} colours */
function drawKey(canvas, colours) {
  const told = `${colours[0]} ${colours[128]}`;
  if (canvas.dataset.drawn === told) return;
  canvas.dataset.drawn = told;
  canvas.width = 256;
  canvas.height = 1;
  const pixels = new ImageData(256, 1);
  new Uint32Array(pixels.data.buffer).set(colours);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}
