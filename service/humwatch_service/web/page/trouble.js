/** Which machine needs somebody first. */

/** Kinds of trouble, the worst first, with the words of the counts and the filter. */
export const KINDS = Object.freeze([
  ["alarm", "Alarm"],
  ["acknowledged", "Acknowledged alarm"],
  ["unknown", "Unknown"],
  ["warning", "Warning"],
  ["normal", "Normal"],
  ["off", "Off"],
  ["out_of_service", "Out of service"],
  ["not_listened", "Not listened to"],
]);

const RANKS = new Map(KINDS.map(([kind], rank) => [kind, rank]));

/**
 * What kind of trouble a machine is in. An alarm in force stays one while the machine cannot be heard or does not run.
 * @param {Object} tile of the fleet
 * @returns {string} one of {@link KINDS}
 */
export function troubleOf(tile) {
  if (tile.out_of_service) return "out_of_service";
  if (tile.alarm_id !== null) return tile.acknowledged ? "acknowledged" : "alarm";
  if (tile.state === "unknown" && !tile.listened) return "not_listened";
  return tile.state;
}

/** The state whose shape and colour belong to a kind of trouble. @param {string} kind */
export function stateOfKind(kind) {
  return kind === "acknowledged" ? "alarm" : kind;
}

/**
 * The worst first; among alarms the newest, else by name: tiles do not change places with every score.
 * @param {Object} a tile @param {Object} b tile
 */
export function byTrouble(a, b) {
  const ranks = RANKS.get(troubleOf(a)) - RANKS.get(troubleOf(b));
  const since = a.alarm_id !== null && b.alarm_id !== null ? (b.alarm_since_s ?? 0) - (a.alarm_since_s ?? 0) : 0;
  return ranks || since || a.machine_id.localeCompare(b.machine_id, undefined, { numeric: true });
}

/** How many machines are in each kind of trouble. @param {Iterable<Object>} tiles @returns {Map<string, number>} */
export function countsOf(tiles) {
  const counts = new Map(KINDS.map(([kind]) => [kind, 0]));
  for (const tile of tiles) counts.set(troubleOf(tile), (counts.get(troubleOf(tile)) ?? 0) + 1);
  return counts;
}
