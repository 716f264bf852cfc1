import type { Kind, StoredObject } from './object-store.ts';

/** The objects that a list or watch request selects. */
export interface Selection {
  readonly kind: Kind;
  readonly query: URLSearchParams;
  matches(object: StoredObject): boolean;
}
