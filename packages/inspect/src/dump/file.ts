import { createReadStream, createWriteStream, fsyncSync, renameSync, rmSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { exitCodes, Failure } from '@heddle/control/failure';
import { withoutCredentials } from '@heddle/sys/internal';
import { type Dump, type DumpedMap, entryCount } from './dump.ts';
import { dumpedLists } from './lists.ts';
import { withoutSecret } from './secret.ts';
import type { ProgramTags } from './tags.ts';

/**
 * The file format: gzip over lines of JSON, one record each, `{"kind": ..., ...}`. The first is `head`,
 * with the name and version of the format; the last is `end` with the number of records before it, so
 * that a truncated file is detected. Bytes are base64 text, 64-bit integers `{"#": "123"}`. README.md of
 * this package lists the records. Fields and kinds of records that readers may skip can be added; a
 * change that readers must not skip raises the version.
 */
const format = 'heddle-dump';
const formatVersion = 1;

/** Limits on the memory that an untrusted file can take. */
const maxLineBytes = 32 * 1024 * 1024;
const maxBytes = 4 * 1024 * 1024 * 1024;
const itemsPerRecord = 500;
/** The names of lists in the file, where they are not the control methods. */
const listNames: Readonly<Record<string, string>> = {
  'service.list': 'services',
  'backend.list': 'backends',
  'pod.list': 'pods',
  'attachment.list': 'attachments',
  'events.list': 'events',
  'flow.list': 'flows',
  'nat.list': 'nat',
  'node.list': 'nodes',
};
const methods = new Map(Object.entries(listNames).map(([method, name]) => [name, method]));
const details = 'details';

type Fields = Record<string, unknown>;

/** Writes a dump atomically, readable by its owner only. Throws Failure. */
export async function writeDump(path: string, dump: Dump): Promise<void> {
  const beside = `${path}.${process.pid}.new`;
  const file = createWriteStream(beside, { flags: 'wx', mode: 0o600 });
  file.on('open', (fd) => file.once('finish', () => fsyncSync(fd)));
  try {
    await pipeline(lines(dump), createGzip(), file);
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw new Failure(exitCodes.failed, `write dump ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Writes a dump to a stream and ends it. Throws Failure. */
export async function pipeDump(stream: NodeJS.WritableStream, dump: Dump): Promise<void> {
  try {
    await pipeline(lines(dump), createGzip(), stream);
  } catch (error) {
    throw new Failure(exitCodes.failed, `write dump: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function* lines(dump: Dump): Generator<string> {
  let count = 0;
  for (const record of records(withoutSecret(dump))) {
    count++;
    yield `${JSON.stringify(record, encodeValue)}\n`;
  }
  yield `${JSON.stringify({ kind: 'end', records: count })}\n`;
}

function* records(dump: Dump): Generator<Fields> {
  const { head, answers, network } = dump;
  yield { kind: 'head', format, version: formatVersion, ...head };
  if ('missing' in answers) {
    yield { kind: 'answers', missing: answers.missing };
  } else {
    yield { kind: 'answers', status: answers.status, config: answers.config };
    yield* itemRecords(details, answers.details);
    for (const [method, items] of answers.lists) {
      yield* itemRecords(listNames[method] ?? method, items);
    }
  }
  for (const [name, data] of dump.objects) {
    yield { kind: 'object', name, data, tags: dump.tags.get(name) };
  }
  for (const program of dump.programs.values()) yield { kind: 'program', ...program };
  for (const link of dump.links) yield { kind: 'link', ...link };
  for (const namespace of dump.namespaces) yield { kind: 'namespace', ...namespace };
  if (network) yield { kind: 'network', ...network };
  for (const map of dump.maps.values()) {
    const { entries, ...rest } = map;
    yield { kind: 'map', ...rest, count: entryCount(map) };
    for (const data of entries) yield { kind: 'entries', map: map.info.id, data };
  }
}

function* itemRecords(list: string, items: readonly unknown[]): Generator<Fields> {
  for (let at = 0; at < items.length; at += itemsPerRecord) {
    yield { kind: 'items', list, items: items.slice(at, at + itemsPerRecord) };
  }
}

function encodeValue(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return { '#': `${value}` };
  if (typeof value === 'string') return withoutCredentials(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return value;
}

function decodeValue(_: string, value: unknown): unknown {
  const number = (value as { '#'?: unknown } | null)?.['#'];
  return typeof number === 'string' && /^\d{1,20}$/.test(number) ? BigInt(number) : value;
}

/** Reads a dump. Throws Failure for a file that is missing, damaged, cut short or something else. */
export async function readDump(path: string): Promise<Dump> {
  const reader = new DumpReader();
  try {
    await pipeline(
      createReadStream(path),
      createGunzip(),
      async (chunks: AsyncIterable<Buffer>) => {
        let rest: Buffer[] = [];
        let waiting = 0;
        let total = 0;
        for await (const chunk of chunks) {
          total += chunk.length;
          if (total > maxBytes) throw new DamagedFile('it is larger than any dump');
          let from = 0;
          for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
            reader.take(Buffer.concat([...rest, chunk.subarray(from, end)]).toString());
            rest = [];
            waiting = 0;
            from = end + 1;
          }
          if (from < chunk.length) rest.push(chunk.subarray(from));
          waiting += chunk.length - from;
          if (waiting > maxLineBytes) throw new DamagedFile('a line is too long');
        }
        if (waiting > 0) throw new DamagedFile('it ends within a line');
      },
    );
    return reader.finish();
  } catch (error) {
    throw new Failure(exitCodes.failed, `read dump ${path}: ${causeOf(error as Error)}`);
  }
}

function causeOf(error: Error & { code?: string }): string {
  if (error instanceof DamagedFile) return error.message;
  if (error.code === 'Z_DATA_ERROR' && /incorrect header/.test(error.message)) {
    return 'it is not a dump of Heddle (make one with heddle dump FILE)';
  }
  if (error.code?.startsWith('Z_')) return `it is damaged or incomplete (${error.message})`;
  return error.message;
}

/** Thrown for a damaged file. The message describes the damage. */
class DamagedFile extends Error {}

/** Reads a dump from its records. */
class DumpReader {
  #head: Fields | undefined;
  #answers: Fields | undefined;
  readonly #details: unknown[] = [];
  /** The items of each list, by control method. A list without items has no record. */
  readonly #lists = new Map<string, unknown[]>(dumpedLists.map((each) => [each, []]));
  readonly #objects = new Map<string, Uint8Array>();
  readonly #tags = new Map<string, ProgramTags>();
  readonly #maps = new Map<number, DumpedMap & { entries: Uint8Array[] }>();
  readonly #counts = new Map<number, number>();
  readonly #rows: Record<'program' | 'link' | 'namespace', Fields[]> = {
    ...{ program: [], link: [], namespace: [] },
  };
  #network: Fields | undefined;
  #records = 0;
  #ended = false;

  take(line: string): void {
    const record = parse(line);
    if (this.#ended) throw new DamagedFile('it continues after its end');
    if (!this.#head) {
      this.#begin(record);
    } else if (record.kind === 'end') {
      if (record.records !== this.#records)
        throw new DamagedFile('it is damaged: records are missing');
      this.#ended = true;
    } else {
      this.#add(record);
    }
    this.#records++;
  }

  finish(): Dump {
    if (!this.#head) throw new DamagedFile('it is empty');
    if (!this.#ended) throw new DamagedFile('it is incomplete: its end is missing');
    for (const [id, map] of this.#maps) {
      if (entryCount(map) !== this.#counts.get(id)) {
        throw new DamagedFile(`it is damaged: entries of map ${map.info.name} are missing`);
      }
    }
    const { program, link, namespace } = this.#rows;
    const answers = this.#answers ?? { missing: 'the dump has no reason' };
    const dump = {
      head: this.#head,
      answers:
        'missing' in answers ? answers : { ...answers, details: this.#details, lists: this.#lists },
      objects: this.#objects,
      tags: this.#tags,
      maps: this.#maps,
      programs: new Map(program.map((each) => [each.id as number, each])),
      links: link,
      namespaces: namespace,
      ...(this.#network ? { network: this.#network } : {}),
    };
    return dump as unknown as Dump;
  }

  #begin(record: Fields): void {
    if (record.kind !== 'head' || record.format !== format) {
      throw new DamagedFile('it is not a dump of Heddle (make one with heddle dump FILE)');
    }
    if (record.version !== formatVersion) {
      throw new DamagedFile(
        `its format is version ${record.version}, this heddle reads ${formatVersion} (use heddle ${record.heddle})`,
      );
    }
    requireTypes(record, {
      created: 'string',
      monotonicNs: 'bigint',
      heddle: 'string',
      cpus: 'number',
    });
    if ((record.cpus as number) < 1 || (record.cpus as number) > 8192) {
      throw new DamagedFile('it is damaged: cpus of head');
    }
    this.#head = record;
  }

  #add(record: Fields): void {
    const { kind } = record;
    switch (kind) {
      case 'answers':
        if (!('missing' in record)) requireTypes(record, { status: 'object', config: 'object' });
        this.#answers = record;
        return;
      case 'items': {
        const { list, items } = record;
        if (typeof list !== 'string' || !Array.isArray(items)) {
          throw new DamagedFile('it is damaged: items');
        }
        const method = methods.get(list) ?? list;
        const all = list === details ? this.#details : (this.#lists.get(method) ?? []);
        for (const item of items) all.push(item);
        if (list !== details) this.#lists.set(method, all);
        return;
      }
      case 'object':
        requireTypes(record, { name: 'string' });
        this.#objects.set(record.name as string, bytesOf(record));
        if ('tags' in record) this.#tags.set(record.name as string, tagsOf(record));
        return;
      case 'map':
        this.#addMap(record);
        return;
      case 'entries': {
        const map = this.#maps.get(record.map as number);
        if (!map) throw new DamagedFile('it is damaged: entries without their map');
        map.entries.push(bytesOf(record));
        return;
      }
      case 'program':
        requireTypes(record, { id: 'number', name: 'string', tag: 'string', mapIds: 'object' });
        this.#rows.program.push(record);
        return;
      case 'link':
        requireTypes(record, { pin: 'string', info: 'object' });
        requireTypes(record.info as Fields, { kind: 'string', programId: 'number' });
        this.#rows.link.push(record);
        return;
      case 'namespace':
        requireTypes(record, { cookie: 'bigint', names: 'object', addresses: 'object' });
        this.#rows.namespace.push(record);
        return;
      case 'network':
        requireTypes(record, { links: 'object', addresses: 'object', routes: 'object' });
        requireTypes(record, { neighbours: 'object', forwards: 'object' });
        this.#network = record;
        return;
      default:
        // A record of a later minor change of the format, which readers may skip.
        return;
    }
  }

  #addMap(record: Fields): void {
    requireTypes(record, { info: 'object', valueBytes: 'number', count: 'number', cut: 'boolean' });
    const info = record.info as Fields;
    requireTypes(info, { id: 'number', name: 'string', type: 'number', flags: 'number' });
    for (const name of ['keySize', 'valueSize', 'maxEntries'] as const) {
      const size = info[name];
      if (!Number.isInteger(size) || (size as number) < 0 || (size as number) > 0xffffffff) {
        throw new DamagedFile(`it is damaged: ${name} of map ${info.name}`);
      }
    }
    const map = { ...record, entries: [] } as unknown as DumpedMap & { entries: Uint8Array[] };
    this.#maps.set(info.id as number, map);
    this.#counts.set(info.id as number, record.count as number);
  }
}

function parse(line: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(line, decodeValue);
  } catch {
    throw new DamagedFile('it is not a dump of Heddle, or damaged: a line is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DamagedFile('it is not a dump of Heddle, or damaged: a line is no object');
  }
  return value as Fields;
}

function bytesOf(record: Fields): Uint8Array {
  if (typeof record.data !== 'string')
    throw new DamagedFile(`it is damaged: data of ${record.kind}`);
  return new Uint8Array(Buffer.from(record.data, 'base64'));
}

function tagsOf(record: Fields): ProgramTags {
  requireTypes(record, { tags: 'object' });
  const isTags = (each: unknown) =>
    Array.isArray(each) && each.every((tag) => typeof tag === 'string');
  if (!Object.values(record.tags as Fields).every(isTags)) {
    throw new DamagedFile('it is damaged: tags of object');
  }
  return record.tags as ProgramTags;
}

function requireTypes(record: Fields, types: Readonly<Record<string, string>>): void {
  for (const [name, type] of Object.entries(types)) {
    const value = record[name];
    if (typeof value !== type || value === null) {
      throw new DamagedFile(`it is damaged: ${name} of ${record.kind ?? 'a record'}`);
    }
  }
}
