import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { Failure } from '@heddle/control/failure';
import fc from 'fast-check';
import { DumpedControl } from './control.ts';
import type { Answers, Dump } from './dump.ts';
import { readDump, writeDump } from './file.ts';
import { dumpedLists } from './lists.ts';

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-dump-'));
});
after(() => rmSync(folder, { recursive: true }));

const info = {
  ...{ type: 1, id: 7, keySize: 4, valueSize: 8, maxEntries: 10, flags: 0, name: 'services' },
  ...{ btfId: 0, keyTypeId: 0, valueTypeId: 0, extra: 0n },
};
const sample: Dump = {
  head: {
    ...{ created: '2026-01-02T03:04:05.000Z', monotonicNs: 12_345_678_901_234_567n, cpus: 4 },
    ...{ heddle: '0.1.0', kernel: '6.12.0', arch: 'x64', bpffs: '/sys/fs/bpf' },
  },
  answers: {
    status: { source: { path: 'https://me:secret@192.0.2.1:6443' } },
    config: { bpffs: '/sys/fs/bpf' },
    details: [],
    lists: new Map<string, unknown[]>([
      [
        'service.list',
        Array.from({ length: 1203 }, (_, i) => ({ key: `default/s${i}:80/TCP/IPv4` })),
      ],
      // Empty lists have no records.
      ...dumpedLists
        .filter((method) => method !== 'service.list')
        .map((method) => [method, []] as [string, unknown[]]),
      // A list of a feature that this version's commands do not know.
      ['bell.list', [{ key: 'default/noon', ringAt: '12:00' }]],
    ]),
  } as unknown as Answers,
  objects: new Map([['socket', Uint8Array.of(1, 2, 3)]]),
  tags: new Map([['socket', { connect4: ['0011', '2233'] }]]),
  maps: new Map([
    [
      7,
      {
        ...{ info, pin: 'services', valueBytes: 8, cut: false },
        entries: [new Uint8Array(24).fill(5), new Uint8Array(12).fill(6)],
      },
    ],
  ]),
  programs: new Map([
    [
      3,
      {
        ...{ type: 18, id: 3, tag: '0011', name: 'connect4', uid: 0, mapIds: [7], btfId: 1 },
        ...{ loadTimeNs: 5n, runTimeNs: 0n, runCount: 0n, verifiedInstructions: 9 },
      },
    ],
  ]),
  links: [
    {
      pin: 'connect4',
      info: { kind: 'cgroup', id: 2, programId: 3, cgroupId: 1n << 60n, attachType: 10 },
    },
  ],
  namespaces: [{ inode: 1, cookie: 1n, isNode: true, names: ['node'], addresses: ['192.0.2.1'] }],
};

const path = (name: string) => join(folder, name);

/** Returns the message of the Failure when the bytes are read. */
async function refusal(bytes: Uint8Array): Promise<string> {
  writeFileSync(path('bad'), bytes);
  try {
    await readDump(path('bad'));
  } catch (error) {
    assert.ok(error instanceof Failure, `${(error as Error).stack}`);
    return error.message;
  }
  return '';
}

describe('the file of a dump', () => {
  it('a dump file is read back as written, except credentials in URLs', async () => {
    await writeDump(path('a'), sample);
    const read = await readDump(path('a'));
    const { kind, format, version, ...head } = read.head as unknown as Record<string, unknown>;
    assert.deepEqual([kind, format, version], ['head', 'heddle-dump', 1]);
    assert.deepEqual(head, sample.head);
    assert.deepEqual((read.answers as Answers).lists, (sample.answers as Answers).lists);
    const bells = await new DumpedControl(read, 'a').request('bell.list');
    assert.deepEqual(bells, { items: [{ key: 'default/noon', ringAt: '12:00' }] });
    assert.equal((read.answers as Answers).status.source.path, 'https://***@192.0.2.1:6443');
    assert.deepEqual(read.objects, sample.objects);
    assert.deepEqual(read.tags, sample.tags);
    assert.deepEqual(read.maps.get(7)!.entries, sample.maps.get(7)!.entries);
    assert.deepEqual(read.maps.get(7)!.info, info);
    assert.equal(read.programs.get(3)!.loadTimeNs, 5n);
    assert.deepEqual(read.links[0]!.info, sample.links[0]!.info);
    assert.equal(read.namespaces[0]!.cookie, 1n);
    assert.equal(statSync(path('a')).mode & 0o777, 0o600);
  });

  it('replaces an older file atomically and leaves no temporary file', async () => {
    writeFileSync(path('b'), 'older', { mode: 0o644 });
    await writeDump(path('b'), sample);
    assert.equal(statSync(path('b')).mode & 0o777, 0o600);
    await assert.rejects(writeDump(path('no/such/place'), sample), /^Failure: write dump .*ENOENT/);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.includes('.new')),
      [],
    );
  });

  it('may lack tags, and is refused with invalid tags', async () => {
    await writeDump(path('tags'), sample);
    const text = gunzipSync(readFileSync(path('tags'))).toString();
    const tags = '"tags":{"connect4":["0011","2233"]}';
    assert.ok(text.includes(`,${tags}`));
    writeFileSync(path('older'), gzipSync(text.replace(`,${tags}`, '')));
    assert.deepEqual((await readDump(path('older'))).tags, new Map());
    for (const bad of ['"tags":null', '"tags":{"connect4":"0011"}', '"tags":{"connect4":[11]}']) {
      assert.match(await refusal(gzipSync(text.replace(tags, bad))), /: it is damaged: tags of /);
    }
  });

  it('a file of another kind or version gives a message', async () => {
    const own = JSON.stringify({
      kind: 'head',
      format: 'heddle-dump',
      version: 2,
      heddle: '0.9.0',
    });
    for (const [bytes, message] of [
      [Buffer.from('hello'), /: it is not a dump of Heddle \(make one with heddle dump FILE\)$/],
      [new Uint8Array(0), /: it is (empty|damaged or incomplete)/],
      [gzipSync('hello\n'), /: it is not a dump of Heddle, or damaged: a line is not JSON$/],
      [gzipSync('{"kind":"head"}\n'), /: it is not a dump of Heddle \(make/],
      [gzipSync('[1]\n'), /a line is no object$/],
      [
        gzipSync(`${own}\n`),
        /its format is version 2, this heddle reads 1 \(use heddle 0\.9\.0\)$/,
      ],
    ] as const) {
      assert.match(await refusal(bytes), message);
    }
    await assert.rejects(readDump(path('none')), /^Failure: read dump .*ENOENT/);
  });

  it('a dump file is detected as incomplete when truncated at any offset', async () => {
    await writeDump(path('c'), sample);
    const bytes = readFileSync(path('c'));
    for (let length = 0; length < bytes.length; length += 13) {
      assert.match(await refusal(bytes.subarray(0, length)), /incomplete|empty/, `${length}`);
    }
    const text = gunzipSync(bytes).toString().split('\n');
    for (let line = 1; line < text.length - 1; line++) {
      const message = await refusal(gzipSync(text.toSpliced(line, 1).join('\n')));
      assert.match(message, /missing|incomplete|without their map/, text[line]!.slice(0, 60));
    }
  });

  it('a dump file with any changed byte is read or gives an error of damage', async () => {
    await writeDump(path('d'), sample);
    const packed = readFileSync(path('d'));
    const plain = gunzipSync(packed);
    const change = (bytes: Uint8Array, at: number, value: number) => {
      const copy = bytes.slice();
      copy[at % copy.length] = value;
      return copy;
    };
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(255), fc.boolean(), async (at, value, isPlain) => {
        // A changed text may still be valid, but reading it gives no other error.
        await refusal(isPlain ? gzipSync(change(plain, at, value)) : change(packed, at, value));
      }),
      { numRuns: 300 },
    );
  });
});
