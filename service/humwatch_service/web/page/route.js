/** Where on the page somebody is, as it stands behind the `#`. */

/**
 * @typedef {Object} Route
 * @property {"fleet" | "machine" | "alarms" | "alarm" | "try" | "nowhere"} view
 * @property {string | null} id of the machine or the alarm
 * @property {URLSearchParams} query what a view is narrowed to
 */

/** @param {string} hash @returns {Route} */
export function routeOf(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  const [name = "", id = null, ...rest] = path.split("/").filter(Boolean).map(decoded);
  const route = (view, of = null) => ({ view, id: of, query: new URLSearchParams(query) });
  if (rest.length) return route("nowhere");
  if (name === "") return route("fleet");
  if (name === "machines") return id === null ? route("fleet") : route("machine", id);
  if (name === "alarms") return id === null ? route("alarms") : route("alarm", id);
  if (name === "try" && id === null) return route("try");
  return route("nowhere");
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {string} machine_id */
export function machineAddress(machine_id) {
  return `#/machines/${encodeURIComponent(machine_id)}`;
}

/** @param {string} alarm_id */
export function alarmAddress(alarm_id) {
  return `#/alarms/${encodeURIComponent(alarm_id)}`;
}

/**
 * Keep what a view is narrowed to in the address, without a step in the browser's history.
 * @param {string} path such as `#/` @param {Object<string, string>} narrowed empty ones are left out
 */
export function keepQuery(path, narrowed) {
  const query = new URLSearchParams(Object.entries(narrowed).filter(([, value]) => value !== ""));
  const text = query.toString();
  history.replaceState(null, "", text ? `${path}?${text}` : path);
}
