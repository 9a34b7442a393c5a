/** Requests to the service. Errors are problems (RFC 9457), and carry words that can be shown. */

/** What the service said no to, or that it could not be reached. */
export class Problem extends Error {
  /** @param {number} status HTTP status; 0: not reached @param {string} code @param {string} words */
  constructor(status, code, words) {
    super(words);
    this.status = status;
    this.code = code;
  }
}

/** @param {Response} response */
async function problemOf(response) {
  try {
    const told = await response.json();
    return new Problem(response.status, told.code ?? "", told.detail ?? told.title ?? `status ${response.status}`);
  } catch {
    return new Problem(response.status, "", `The service answered with status ${response.status}.`);
  }
}

/**
 * Ask the service. Raises {@link Problem}. A 401 is told to the page as well, which asks to sign in.
 * @param {string} path
 * @param {{method?: string, json?: any, body?: BodyInit, signal?: AbortSignal, accept?: string}} [given]
 * @returns {Promise<Response>}
 */
export async function ask(path, { method = "GET", json, body, signal, accept = "application/json" } = {}) {
  const headers = { Accept: accept };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method, headers, signal, body: json === undefined ? body : JSON.stringify(json), credentials: "same-origin", cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "The service cannot be reached. Nothing was changed.");
  }
  if (response.ok) return response;
  if (response.status === 401 && path !== "../v1/session") document.dispatchEvent(new CustomEvent("signedout"));
  throw await problemOf(response);
}

/** @param {string} path @param {{signal?: AbortSignal}} [given] @returns {Promise<any>} */
export async function read(path, given = {}) {
  return (await ask(path, given)).json();
}

/** Give an order. @param {string} path @param {any} order @returns {Promise<any>} */
export async function send(path, order) {
  const response = await ask(path, { method: "POST", json: order });
  return response.status === 204 ? null : response.json();
}

/** Part of a path. @param {string} name */
export function part(name) {
  return encodeURIComponent(name);
}

/** Whether an error only says that the view was left. @param {unknown} error */
export function isLeft(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Words for any error. @param {unknown} error */
export function wordsOf(error) {
  return error instanceof Error ? error.message : String(error);
}
