import type { LinkVerdict } from '../contract.ts';
import type { View } from './url.ts';

/** The texts of the frame. Texts of a view are beside the view. */
export const words = {
  brand: 'Heddle',
  skip: 'Skip to the view',
  views: 'Views',
  filter: 'Find or filter',
  filterHint:
    'Find or filter: a name, ns:shop, port:5432, to:10.0.0.0/8, verdict:dropped, -ns:kube-system',
  copyLink: 'Copy link',
  linkCopied: 'The link is copied.',
  export: 'Export',
  live: 'Live',
  paused: 'Paused',
  notLive: 'Not live',
  tryNow: 'Try now',
  reload: 'Reload',
  outdated: 'The relay was updated.',
  dark: 'Dark colours',
  asking: 'Asking the relay',
  kept: 'kept',
  token: 'Token',
  showViews: 'Show the views',
  forgetToken: 'Forget the token',
  tokenForgotten: 'The token is forgotten. The relay asks for a token.',
  noToken: 'A token has letters, digits and signs, and no spaces.',
  notReached: 'The relay is not reached.',
} as const;

/** The names of the views in the header. */
export const viewNames: Readonly<Record<View, string>> = {
  map: 'Map',
  drops: 'Drops',
  changes: 'Changes',
  flows: 'Flows',
  nodes: 'Nodes',
  workload: 'Workload',
  pod: 'Pod',
  service: 'Service',
  outside: 'Outside',
};

/** The views in the header, in the order of the keys 1 to 4. */
export const mainViews = ['map', 'drops', 'changes', 'flows'] as const satisfies readonly View[];

/** The words for what happened to packets. */
export const verdictWords: Readonly<Record<LinkVerdict, string>> = {
  forwarded: 'forwarded',
  dropped: 'dropped',
  refused: 'refused',
  audit: 'would be dropped',
};
