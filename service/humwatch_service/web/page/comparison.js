/** Alarms of two versions: of both, of the old one alone, of the new one alone, each to be heard. */

import { button, element, fill } from "./elements.js";
import { scoreText } from "./numbers.js";
import { alarmAddress } from "./route.js";
import { soundButton } from "./sound_button.js";
import { durationText, timeOf } from "./times.js";
import { VERDICTS } from "./words.js";

const FIRST = 10;

/** How many, as large numbers. @param {Object} told @param {string} verb */
export function comparisonCounts(told, verb) {
  const count = (kind, value, words) => element("div", { data: { by: kind } }, element("b", {}, String(value)), element("span", {}, words));
  return element("div.compared", { role: "group", "aria-label": `Alarms that the versions ${verb}` },
    count("both", told.alarms_both, "alarms of both"), count("old", told.alarms_only_old, "only the old version"), count("new", told.alarms_only_new, "only the new version"));
}

/** Who raised it. */
function byWords(by, old_version, new_version) {
  if (by === "both") return "Both versions";
  return by === "old" ? `Only version ${old_version}` : `Only version ${new_version}`;
}

/**
 * @param {Object[]} episodes `at_s` tells when, or null with `file` and `start_s`
 * @param {string} old_version @param {string} new_version
 */
export function episodeList(episodes, old_version, new_version) {
  if (episodes.length === 0) return element("p.quiet", {}, "Neither version raised an alarm.");
  const list = element("ul.episodes");
  const show = (many) => fill(list, ...many.map((episode) => episodeRow(episode, old_version, new_version)));
  show(episodes.slice(0, FIRST));
  if (episodes.length <= FIRST) return list;
  const more = button(`Show all ${episodes.length}`, () => {
    show(episodes);
    list.querySelector("a, button")?.focus();
    more.remove();
  });
  return element("div", {}, list, element("div.row.more", {}, more));
}

/** @param {Object} episode */
function episodeRow(episode, old_version, new_version) {
  const where = episode.at_s !== null ? timeOf(episode.at_s) : element("span", {}, `${episode.file}, at ${durationText(episode.start_s)}`);
  const lasts = episode.end_s === null ? "in force" : `for ${durationText(episode.end_s - episode.start_s)}`;
  const peaks = [[old_version, episode.peak_old], [new_version, episode.peak_new]].filter(([, peak]) => peak !== null).map(([version, peak]) => `${scoreText(peak)} by version ${version}`);
  const words = byWords(episode.by, old_version, new_version);
  const verdict = episode.verdict ? `${VERDICTS[episode.verdict].replace(/:.*/, "")}. ` : "";
  return element("li", { data: { by: episode.by } },
    element("p", {}, element("b", {}, words), ", ", where, `, ${lasts}. ${verdict}`, element("span.quiet", {}, peaks.length ? `Highest score ${peaks.join(", ")}.` : "")),
    element("div.row.wrap", {},
      episode.listen ? soundButton(episode.listen, `${words}, ${where.textContent}`) : element("span.quiet", {}, "No sound is kept."),
      episode.alarm_id ? element("a.button", { href: alarmAddress(episode.alarm_id), "aria-label": `See alarm ${episode.alarm_id}` }, "See the alarm") : null));
}
