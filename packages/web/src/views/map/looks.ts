import { pathText, type Route } from '../../layout/route.ts';
import { noRates } from '../../layout/structure.ts';
import { changeSigns, type LinkLook, linkLook } from './look.ts';
import type { MapModel } from './map-model.svelte.ts';
import { changeOf, relationOf } from './scene.ts';

/** A link as it is drawn. */
export interface DrawnLook extends LinkLook {
  readonly key: string;
  readonly route: Route;
  readonly path: string;
  /** The sign of the link's change in a comparison. */
  readonly sign: string | undefined;
}

const paths = new WeakMap<Route, string>();

/** Returns the text of a route's path, which is made once. */
function pathOf(route: Route): string {
  const known = paths.get(route);
  if (known !== undefined) return known;
  const path = pathText(route.curves);
  paths.set(route, path);
  return path;
}

/** Returns the links of a map as they are drawn, those that matter most last. */
export function looksOf(model: MapModel): DrawnLook[] {
  const { links, routes, linkRates, chosen, changes, isDense, strong } = model;
  const looks = links.flatMap((link): DrawnLook[] => {
    const route = routes.get(link.key);
    if (!route) return [];
    const change = changes && changeOf(link, changes);
    const look = linkLook(linkRates.get(link.key) ?? noRates, {
      isInner: route.isInner,
      relation: relationOf(link, chosen),
      isDense,
      isWeak: isDense && !strong.has(link.key),
      ...(change ? { change } : {}),
    });
    const sign = change && change !== 'same' ? changeSigns[change] : undefined;
    return [{ ...look, key: link.key, route, path: pathOf(route), sign }];
  });
  return looks.sort((one, other) => one.order - other.order);
}
