/** The places of a tier: from `first` to `end`, without `end`. */
export interface Region {
  readonly first: number;
  readonly end: number;
}

/** The most places that are left free between policies, for rules that are to come between them later. */
const gap = 16;

/**
 * Returns places for rules whose order matters. `policies` has all policies of the tier in the order of precedence, each
 * with the present places of its rules, or undefined for a new rule. A new rule gets a place between its neighbours; if
 * there is none, all rules get new places. Returns undefined if there is no room.
 */
export function placesInOrder(
  policies: readonly (readonly (number | undefined)[])[],
  region: Region,
  isFree: (place: number) => boolean,
): number[] | undefined {
  const placed = policies.flat();
  if (placed.every((place) => place === undefined)) return spreadPlaces(policies, region, isFree);
  for (let start = 0; start < placed.length; start++) {
    if (placed[start] !== undefined) continue;
    let end = start;
    while (end < placed.length && placed[end] === undefined) end++;
    const between = {
      first: start === 0 ? region.first : placed[start - 1]! + 1,
      end: end === placed.length ? region.end : placed[end]!,
    };
    const found = placesBetween(between, end - start, isFree);
    if (!found) return spreadPlaces(policies, region, isFree);
    placed.splice(start, end - start, ...found);
    start = end - 1;
  }
  const isAscending = placed.every((place, i) => i === 0 || placed[i - 1]! < place!);
  return isAscending ? (placed as number[]) : spreadPlaces(policies, region, isFree);
}

/** Returns places for rules whose order does not matter: neighbours if possible. Undefined if there is no room. */
export function anyPlaces(
  count: number,
  region: Region,
  isFree: (place: number) => boolean,
): number[] | undefined {
  let start = region.first;
  for (let place = region.first; place < region.end; place++) {
    if (!isFree(place)) start = place + 1;
    else if (place - start + 1 === count) return range(start, count);
  }
  return firstPlaces(count, region, isFree);
}

/** Returns free places: neighbours in the longest run of free places if they fit, behind a gap. */
function placesBetween(
  region: Region,
  count: number,
  isFree: (place: number) => boolean,
): number[] | undefined {
  let best = { start: region.first, length: 0 };
  let start = region.first;
  for (let place = region.first; place < region.end; place++) {
    if (!isFree(place)) start = place + 1;
    else if (place - start + 1 > best.length) best = { start, length: place - start + 1 };
  }
  if (best.length < count) return firstPlaces(count, region, isFree);
  return range(best.start + Math.min(gap, Math.floor((best.length - count) / 2)), count);
}

/** Returns ascending free places for all rules of a tier, with gaps between the policies. */
function spreadPlaces(
  policies: readonly (readonly unknown[])[],
  region: Region,
  isFree: (place: number) => boolean,
): number[] | undefined {
  const free = freePlaces(region, isFree);
  const count = policies.reduce((sum, rules) => sum + rules.length, 0);
  const unused = free.length - count;
  if (unused < 0) return undefined;
  const space = Math.min(gap, Math.floor(unused / (policies.length + 1)));
  const places: number[] = [];
  // Some places at the beginning are left for policies that will precede all others.
  let at = Math.floor((unused - space * policies.length) / 4);
  for (const { length } of policies) {
    at += space;
    for (let i = 0; i < length; i++) places.push(free[at++]!);
  }
  return places;
}

function firstPlaces(
  count: number,
  region: Region,
  isFree: (place: number) => boolean,
): number[] | undefined {
  const free = freePlaces(region, isFree);
  return free.length < count ? undefined : free.slice(0, count);
}

function freePlaces({ first, end }: Region, isFree: (place: number) => boolean): number[] {
  return range(first, Math.max(0, end - first)).filter(isFree);
}

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}
