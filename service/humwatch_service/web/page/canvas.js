/** Canvases that are as sharp as the screen, and are drawn at most once a frame and never in a hidden tab. */

/**
 * Fit a canvas to its place on the page.
 * @param {HTMLCanvasElement} canvas
 * @returns {{context: CanvasRenderingContext2D, width: number, height: number}} in CSS pixels
 */
export function fitted(canvas) {
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  const scale = Math.min(globalThis.devicePixelRatio || 1, 2);
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return { context, width, height };
}

/** Draws when something has changed: in the next frame, once, and not while nobody can see it. */
export class Redraw {
  /** @param {() => void} draw */
  constructor(draw) {
    this._draw = draw;
    this._asked = 0;
    this._wanted = false;
    this._visible = () => {
      if (!document.hidden && this._wanted) this.ask();
    };
    this._themed = () => this.ask();
    document.addEventListener("visibilitychange", this._visible);
    document.addEventListener("themechange", this._themed);
  }

  /** Something has changed. */
  ask() {
    this._wanted = true;
    if (this._asked || document.hidden) return;
    this._asked = requestAnimationFrame(() => {
      this._asked = 0;
      this._wanted = false;
      this._draw();
    });
  }

  /** Draw no more. */
  close() {
    cancelAnimationFrame(this._asked);
    document.removeEventListener("visibilitychange", this._visible);
    document.removeEventListener("themechange", this._themed);
  }
}
