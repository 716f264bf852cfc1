import type { Fields } from './fields.ts';

/** What to list and watch. */
export interface Resource<T> {
  /** E.g. `/api/v1/services`. */
  readonly path: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** What `read` looks at. */
  readonly fields: Fields;
  /**
   * Turns an object (with its kind and apiVersion) into what is wanted of it. The object is not kept.
   * Must not throw.
   */
  read(object: unknown): T;
}

type Selected = Pick<Resource<unknown>, 'path' | 'labelSelector' | 'fieldSelector'>;

const pageSize = 500;

export interface ListOptions {
  /** The list may not be older; `0`: any; empty: the newest, which costs the server the most. */
  readonly version: string;
  /** Of the page before; empty: from the beginning. */
  readonly continueToken: string;
  readonly isPaged: boolean;
}

/**
 * Asks for a list, or a page of it. Servers answer from their cache when no page is asked for at a version
 * above 0, or at version 0; else etcd has to be read, which a thousand agents should not do at once.
 */
export function listPath(resource: Selected, options: ListOptions): string {
  const { version, continueToken, isPaged } = options;
  if (continueToken !== '') {
    return pathOf(resource, { limit: String(pageSize), continue: continueToken });
  }
  if (version !== '' && version !== '0') {
    return pathOf(resource, {
      resourceVersion: version,
      resourceVersionMatch: 'NotOlderThan',
    });
  }
  return pathOf(resource, {
    limit: isPaged ? String(pageSize) : undefined,
    resourceVersion: version || undefined,
  });
}

/** Asks for all objects as events, a bookmark after the last of them, and what happens then (KEP-3157). */
export function streamingListPath(resource: Selected, timeoutSeconds: number): string {
  return pathOf(resource, {
    watch: 'true',
    sendInitialEvents: 'true',
    resourceVersionMatch: 'NotOlderThan',
    allowWatchBookmarks: 'true',
    timeoutSeconds: String(timeoutSeconds),
  });
}

/** Asks for what happened after `version`, and what happens then. */
export function watchPath(resource: Selected, version: string, timeoutSeconds: number): string {
  return pathOf(resource, {
    watch: 'true',
    resourceVersion: version,
    allowWatchBookmarks: 'true',
    timeoutSeconds: String(timeoutSeconds),
  });
}

function pathOf(
  { path, labelSelector, fieldSelector }: Selected,
  query: Readonly<Record<string, string | undefined>>,
): string {
  const parts = Object.entries({ labelSelector, fieldSelector, ...query }).flatMap(
    ([name, value]) => (value ? [`${name}=${encodeURIComponent(value)}`] : []),
  );
  return `${path}?${parts.join('&')}`;
}
