import { dropReasonText } from '../core/drop-reasons.ts';
import { described, type MapDescription, undescribed, wordCodec } from '../core/map-description.ts';

/** The maps of socket programs in the catalog. */
export const socketMaps = {
  connections: undescribed('backends that sockets are connected to', 'programs', {
    isDumped: false,
  }),
  flows: undescribed('destinations of UDP sockets that are not connected', 'programs', {
    isDumped: false,
  }),
  refusals: described(
    'counts of refused socket calls by reason',
    'programs',
    { key: wordCodec, value: wordCodec },
    ({ key }) => `refused: ${dropReasonText(key)}`,
  ),
} satisfies Record<string, MapDescription>;
