/**
 * The last minutes of sound as two pictures: how loud each band was, and how far from what the model expects.
 * Time is cut into slots of one column; a slot that nothing was sent for stays empty, as a gap. Memory is bounded:
 * {@link KEPT_S} of columns, however long the page is open.
 */

import { departureColours, loudnessColours } from "./palette.js";

export const KEPT_S = 600;
const MOST_SLOTS = 4_800;
/** `departure` of a band that was not predicted. */
export const NOT_PREDICTED = -128;
const NEVER = -1;

/** Bytes of base64. @param {string} text */
function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** A ring of columns, drawn into two canvases of one pixel a column and band. */
export class SoundStrip {
  /**
   * @param {Array<[number, number]>} bands_hz edges of every band, low to high
   * @param {number} column_s length of a column, seconds
   */
  constructor(bands_hz, column_s) {
    this.bands_hz = bands_hz;
    this.column_s = column_s;
    this.slots = Math.max(16, Math.min(MOST_SLOTS, Math.ceil(KEPT_S / column_s)));
    this.bands = bands_hz.length;
    this.level = new Uint8Array(this.slots * this.bands);
    this.departure = new Int8Array(this.slots * this.bands);
    /** Number of the slot in time that each place of the ring holds; NEVER where it is empty. */
    this.held = new Float64Array(this.slots).fill(NEVER);
    this.newest = NEVER;
    this.levelCanvas = this._canvas();
    this.departureCanvas = this._canvas();
    this.range = [0, 255];
    this.recolour();
  }

  _canvas() {
    const canvas = document.createElement("canvas");
    canvas.width = this.slots;
    canvas.height = this.bands;
    return canvas;
  }

  /** Middle of the newest column, seconds; 0 before any. */
  get end_s() {
    return Math.max(0, (this.newest + 0.5) * this.column_s);
  }

  /** Slot of a moment. @param {number} at_s */
  slotOf(at_s) {
    return Math.floor(at_s / this.column_s);
  }

  /** Forget all. */
  reset() {
    this.held.fill(NEVER);
    this.newest = NEVER;
    for (const canvas of [this.levelCanvas, this.departureCanvas]) canvas.getContext("2d").clearRect(0, 0, this.slots, this.bands);
  }

  /**
   * Take a piece of sound.
   * @param {{start_s: number, end_s: number, columns: number, level: string, departure: string}} told
   */
  push(told) {
    const level = bytesOf(told.level);
    const departure = new Int8Array(bytesOf(told.departure).buffer);
    const step_s = (told.end_s - told.start_s) / Math.max(1, told.columns);
    let last = NEVER;
    for (let column = 0; column < told.columns; column += 1) {
      const slot = this.slotOf(told.start_s + (column + 0.5) * step_s);
      const from = column * this.bands;
      const first = last === NEVER && slot - this.newest <= 2 && this.newest !== NEVER ? this.newest + 1 : last === NEVER ? slot : last + 1;
      for (let at = Math.max(first, slot - 2); at < slot; at += 1) this._put(at, level, departure, from);
      this._put(slot, level, departure, from);
      last = slot;
    }
    if (last !== NEVER) this._fitRange();
  }

  _put(slot, level, departure, from) {
    if (slot <= this.newest - this.slots) return;
    const place = ((slot % this.slots) + this.slots) % this.slots;
    this.level.set(level.subarray(from, from + this.bands), place * this.bands);
    this.departure.set(departure.subarray(from, from + this.bands), place * this.bands);
    this.held[place] = slot;
    this.newest = Math.max(this.newest, slot);
    this._paint(place);
  }

  _paint(place) {
    const loud = this._column;
    const [low, high] = this.range;
    const pixels = new Uint32Array(loud.data.buffer);
    const start = place * this.bands;
    for (let band = 0; band < this.bands; band += 1) {
      const value = Math.round(((this.level[start + band] - low) / (high - low)) * 255);
      pixels[this.bands - 1 - band] = this._loudness[Math.min(255, Math.max(0, value))];
    }
    this.levelCanvas.getContext("2d").putImageData(loud, place, 0);
    for (let band = 0; band < this.bands; band += 1) {
      const value = this.departure[start + band];
      pixels[this.bands - 1 - band] = value === NOT_PREDICTED ? 0 : this._departures[value + 128];
    }
    this.departureCanvas.getContext("2d").putImageData(loud, place, 0);
  }

  /** Paint all of it again, as the colours of the page are others now. */
  recolour() {
    this._loudness = loudnessColours();
    this._departures = departureColours();
    this._column ??= new ImageData(1, this.bands);
    for (let place = 0; place < this.slots; place += 1) if (this.held[place] !== NEVER) this._paint(place);
  }

  /** Spend the colours on the levels that occur; painted anew only when these have moved. */
  _fitRange() {
    const counts = new Uint32Array(256);
    let all = 0;
    const from = Math.max(0, this.newest - Math.ceil(60 / this.column_s));
    for (let slot = from; slot <= this.newest; slot += 1) {
      const place = slot % this.slots;
      if (this.held[place] !== slot) continue;
      for (let at = place * this.bands; at < (place + 1) * this.bands; at += 1) counts[this.level[at]] += 1;
      all += this.bands;
    }
    const low = quantile(counts, all * 0.02);
    const high = Math.max(low + 16, quantile(counts, all * 0.998));
    if (Math.abs(low - this.range[0]) > 8 || Math.abs(high - this.range[1]) > 8) {
      this.range = [low, high];
      this.recolour();
    }
  }

  /**
   * What stands at a moment in a band.
   * @param {number} at_s @param {number} band
   * @returns {{level: number, departure: number | null} | null} as bytes; null in a gap
   */
  reading(at_s, band) {
    const slot = this.slotOf(at_s);
    const place = ((slot % this.slots) + this.slots) % this.slots;
    if (this.held[place] !== slot) return null;
    const departure = this.departure[place * this.bands + band];
    return { level: this.level[place * this.bands + band], departure: departure === NOT_PREDICTED ? null : departure };
  }

  /**
   * Draw a stretch of time.
   * @param {CanvasRenderingContext2D} context @param {HTMLCanvasElement} source one of the two canvases
   * @param {number} start_s @param {number} end_s @param {number} width @param {number} height
   */
  draw(context, source, start_s, end_s, width, height) {
    if (this.newest === NEVER) return;
    const across = width / (end_s - start_s);
    context.imageSmoothingEnabled = false;
    for (const [first, last] of this._stretches(start_s, end_s)) {
      const x = (first * this.column_s - start_s) * across;
      const place = first % this.slots;
      context.drawImage(source, place, 0, last - first + 1, this.bands, x, 0, (last - first + 1) * this.column_s * across + 0.5, height);
    }
  }

  /** Runs of slots that are held, broken where there is a gap and where the ring ends. */
  *_stretches(start_s, end_s) {
    const from = Math.max(this.slotOf(start_s), this.newest - this.slots + 1, 0);
    const to = Math.min(this.slotOf(end_s), this.newest);
    let first = NEVER;
    for (let slot = from; slot <= to + 1; slot += 1) {
      const place = slot % this.slots;
      const held = slot <= to && this.held[place] === slot;
      if (first !== NEVER && (!held || place === 0)) {
        yield [first, slot - 1];
        first = NEVER;
      }
      if (held && first === NEVER) first = slot;
    }
  }
}

/** The value below which so many are. @param {Uint32Array} counts @param {number} wanted */
function quantile(counts, wanted) {
  let sum = 0;
  for (let value = 0; value < counts.length; value += 1) {
    sum += counts[value];
    if (sum > wanted) return value;
  }
  return counts.length - 1;
}
