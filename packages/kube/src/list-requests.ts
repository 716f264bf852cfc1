import type { Fields } from './fields.ts';

/** The resource to list and watch. */
export interface Resource<T> {
  /** The path of the resource, e.g. `/api/v1/services`. */
  readonly path: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** The fields that `read` uses. */
  readonly fields: Fields;
  /**
   * Returns the value of an object (which has its kind and apiVersion) for the caller. The object is not kept.
   * It must not throw.
   */
  read(object: unknown): T;
}

type Selected = Pick<Resource<unknown>, 'path' | 'labelSelector' | 'fieldSelector'>;

const pageSize = 500;

export interface ListOptions {
  /** The oldest accepted version. `0` allows any version, an empty text only the newest, which costs the server most. */
  readonly version: string;
  /** The token of the previous page. It is empty for the first page. */
  readonly continueToken: string;
  readonly isPaged: boolean;
}

/**
 * Returns the path of a list, or of a page of it. Servers use their cache for version 0, and for a list without
 * pages at a later version; else they read etcd, which a thousand agents should not cause at once.
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

/** Returns the path of a streaming list: all objects as events, a bookmark, and the changes after it (KEP-3157). */
export function streamingListPath(resource: Selected, timeoutSeconds: number): string {
  return pathOf(resource, {
    watch: 'true',
    sendInitialEvents: 'true',
    resourceVersionMatch: 'NotOlderThan',
    allowWatchBookmarks: 'true',
    timeoutSeconds: String(timeoutSeconds),
  });
}

/** Returns the path of a watch: the changes after `version`. */
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
