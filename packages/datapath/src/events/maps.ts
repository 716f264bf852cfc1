import { dropReasonText } from '../core/drop-reasons.ts';
import { described, type MapDescription, undescribed, wordCodec } from '../core/map-description.ts';

/** The maps of drops and other events in the catalog. */
export const eventMaps = {
  drops: described(
    'counts of dropped packets by reason',
    'programs',
    { key: wordCodec, value: wordCodec },
    ({ key }) => `counted as dropped: ${dropReasonText(key)}`,
  ),
  drop_events: undescribed('dropped packets, while they are watched', 'programs', {
    isDumped: false,
  }),
  flow_events: undescribed('counts of evictions and of invalid TCP segments', 'programs'),
} satisfies Record<string, MapDescription>;
