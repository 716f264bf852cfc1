import type { Body } from './faults.ts';
import { type ObjectStore, type StoredObject, traitsOf } from './object-store.ts';
import type { Selection } from './selection.ts';
import { expired, invalid, StatusError, tooLargeVersion } from './status.ts';

const maxSnapshots = 16;
const batchBytes = 64 << 10;

interface ContinueToken {
  /** -1: the version of the rest (an inconsistent list). */
  readonly version: number;
  readonly start: string;
}

/**
 * Responds to a list or a page of it. Later pages have the state of the first one while `snapshots` has it, as
 * etcd until its compaction. Throws StatusError.
 */
export async function answerList(
  store: ObjectStore,
  snapshots: Map<string, readonly StoredObject[]>,
  { kind, query, matches }: Selection,
  hasCache: boolean,
  open: () => Body,
): Promise<void> {
  const limit = Number(query.get('limit') ?? 0);
  const token = decodeToken(query.get('continue'));
  const wanted = query.get('resourceVersion') ?? '';
  if (token && wanted !== '' && wanted !== '0') {
    throw badRequest('specifying resource version is not allowed when using continue');
  }
  const match = query.get('resourceVersionMatch');
  if (match && (wanted === '' || token)) {
    throw invalid(
      'resourceVersionMatch',
      'resourceVersionMatch is forbidden unless resourceVersion is provided',
    );
  }
  if (Number(wanted) > store.version) throw tooLargeVersion(Number(wanted), store.version);
  if (match === 'Exact' && Number(wanted) !== store.version) {
    throw expired(`The resourceVersion for the provided list is too old.`);
  }

  const known = token && token.version >= 0 ? token.version : store.version;
  const snapshotKey = `${kind} ${known}`;
  let objects = snapshots.get(snapshotKey);
  if (token && token.version >= 0 && !objects) {
    throw expired(
      'The provided continue parameter is too old to display a consistent list result.',
      encodeToken({ version: -1, start: token.start }),
    );
  }
  objects ??= store.sorted(kind);

  const chosen = objects.filter(
    (object) => matches(object) && (!token || object.key >= token.start),
  );
  const isPage = limit > 0 && chosen.length > limit && !(hasCache && wanted === '0');
  const page = isPage ? chosen.slice(0, limit) : chosen;
  const metadata: Record<string, unknown> = { resourceVersion: String(known) };
  if (isPage) {
    snapshots.set(snapshotKey, objects);
    if (snapshots.size > maxSnapshots) snapshots.delete(snapshots.keys().next().value!);
    metadata.continue = encodeToken({ version: known, start: chosen[limit]!.key });
    metadata.remainingItemCount = chosen.length - limit;
  }

  const body = open();
  const end = Buffer.from(']}\n');
  const head = { kind: `${kind}List`, apiVersion: traitsOf(kind).apiVersion, metadata };
  let batch: Buffer[] = [Buffer.from(`${JSON.stringify(head).slice(0, -1)},"items":[`)];
  let size = 0;
  let isBegun = false;
  for (const [i, object] of page.entries()) {
    if (i > 0) batch.push(comma);
    batch.push(object.item);
    size += object.item.length;
    if (size < batchBytes) continue;
    await body.write(Buffer.concat(batch));
    if (body.over) return;
    isBegun = true;
    batch = [];
    size = 0;
  }
  const last = Buffer.concat([...batch, end]);
  if (!isBegun) return body.whole(last);
  await body.write(last);
  body.end();
}

const comma = Buffer.from(',');

function encodeToken(token: ContinueToken): string {
  return Buffer.from(JSON.stringify(token)).toString('base64url');
}

function decodeToken(text: string | null): ContinueToken | undefined {
  if (!text) return undefined;
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString()) as ContinueToken;
  } catch {
    throw badRequest('continue key is not valid');
  }
}

function badRequest(message: string): StatusError {
  return new StatusError(400, 'BadRequest', message);
}
