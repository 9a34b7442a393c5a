/** Server-sent events that come back by themselves, and say how old what they brought is. */

const CHECK_MS = 1_000;
const RETRY_MS = 2_000;
const GIVE_UP_S = 12;

/**
 * One stream of events. The browser reconnects after a break of the network; what it gives up on (an answer that is
 * no stream, a line that is open and silent) is opened anew here.
 */
export class EventStream {
  /**
   * @param {string} path
   * @param {Object<string, (data: any) => void>} heard what to do with each kind of event
   * @param {(age_s: number) => void} aged is called every second with the age of the last event
   * @param {() => void} [closed] the service would not let us in: perhaps nobody is signed in
   * @param {{rests?: boolean}} [given] whether nothing is heard in a hidden tab: a browser has six lines to a service
   */
  constructor(path, heard, aged, closed = () => {}, { rests = false } = {}) {
    this._path = path;
    this._heard = heard;
    this._aged = aged;
    this._closed = closed;
    this._last_ms = performance.now();
    this._opened_ms = 0;
    this._turned = () => (document.hidden ? this._rest() : this._source === null && this._open());
    if (rests) document.addEventListener("visibilitychange", this._turned);
    this._open();
    this._timer = setInterval(() => this._check(), CHECK_MS);
  }

  /** Seconds since the last event. */
  get age_s() {
    return (performance.now() - this._last_ms) / 1000;
  }

  /** Hear nothing more. */
  close() {
    clearInterval(this._timer);
    document.removeEventListener("visibilitychange", this._turned);
    this._rest();
  }

  _rest() {
    this._source?.close();
    this._source = null;
  }

  _open() {
    this._source?.close();
    this._opened_ms = performance.now();
    const source = new EventSource(this._path);
    this._source = source;
    for (const [kind, heard] of Object.entries(this._heard)) {
      source.addEventListener(kind, (event) => {
        this._last_ms = performance.now();
        heard(JSON.parse(event.data));
      });
    }
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) this._closed();
    });
  }

  _check() {
    const source = this._source;
    if (source === null) return;
    const tried_s = (performance.now() - this._opened_ms) / 1000;
    const refused = source.readyState === EventSource.CLOSED && tried_s * 1000 >= RETRY_MS;
    if (refused || (this.age_s > GIVE_UP_S && tried_s > GIVE_UP_S)) this._open();
    this._aged(this.age_s);
  }
}
