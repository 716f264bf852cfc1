import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { FlowRows, MapAnswer } from '../../contract.ts';
import { parseFilter } from '../../filter/index.ts';
import { columnsKey, defaultColumns, gridTracks, shownColumns } from './columns.ts';
import { csvCell, csvOf } from './export.ts';
import { groupsOf, readGroupKeys } from './groups.ts';
import { beatPaths, headText } from './head.ts';
import { hubbleJson } from './hubble-json.ts';
import { endName, flagText, rowsOf, ruleOf, ruleText, withNewer, withOlder } from './rows.ts';
import { firstRow, moveCursor } from './scroll.ts';
import { shellWord, traceCommand } from './trace.ts';
import { wordOfColumn } from './words-of-row.ts';

const names = [
  ...['', 'shop/checkout', 'checkout-x7k2q', '10.1.3.24', 'payments/ledger', 'ledger-m4vhd'],
  ...['10.1.7.91', 'SYN', 'NetworkPolicy payments/ledger-ingress ingress/2', 'rack1-b'],
];
const message = (more: Partial<FlowRows> = {}): FlowRows => ({
  ...{ at: 2000, matched: 40, shown: 1, exact: true, names, time: [1500], verdict: [2] },
  ...{ reason: [133], from: [1], fromPod: [2], fromAddress: [3], fromPort: [41822] },
  ...{ to: [4], toPod: [5], toAddress: [6], port: [8443], protocol: [6], flags: [2] },
  ...{ reply: [0], direction: [1], summary: [7], rule: [8], service: [4], node: [9] },
  ...{ bytes: [60], packets: [1], id: ['a'] },
  ...more,
});
const row = rowsOf(message())[0]!;

test('a message becomes rows with the names of its dictionary', () => {
  assert.deepEqual(row, {
    ...{ id: 'a', time: 1500, verdict: 'dropped', reason: 133, protocol: 6, flags: 2 },
    from: { name: 'shop/checkout', pod: 'checkout-x7k2q', address: '10.1.3.24', port: 41822 },
    to: { name: 'payments/ledger', pod: 'ledger-m4vhd', address: '10.1.7.91', port: 8443 },
    ...{ isReply: false, direction: 'ingress', summary: 'SYN', service: 'payments/ledger' },
    rule: 'NetworkPolicy payments/ledger-ingress ingress/2',
    ...{ node: 'rack1-b', bytes: 60, packets: 1 },
  });
});

test('Hubble’s verdicts become the words of the page', () => {
  const word = (verdict: number, reason: number) =>
    rowsOf(message({ verdict: [verdict], reason: [reason] }))[0]!.verdict;
  assert.equal(word(1, 0), 'forwarded');
  assert.equal(word(2, 133), 'dropped');
  assert.equal(word(2, 158), 'refused');
  assert.equal(word(4, 133), 'audit');
  assert.equal(word(5, 0), 'forwarded');
});

test('newer rows come first and older ones last, each once and newer ones up to the limit', () => {
  const make = (id: string) => ({ ...row, id });
  const ids = (rows: readonly { id: string }[]) => rows.map(({ id }) => id).join('');
  const rows = withNewer([make('b'), make('c')], [make('a'), make('b')]);
  assert.equal(ids(rows), 'abc');
  assert.equal(ids(withOlder(rows, [make('c'), make('d')])), 'abcd');
  const many = Array.from({ length: 5000 }, (_, index) => make(String(index)));
  assert.equal(withNewer(many, [make('x')]).length, 5000);
});

test('the name of an end has its parts', () => {
  const end = (name: string, pod: string, address: string) =>
    Object.values(endName({ name, pod, address, port: 1 })).join('|');
  assert.equal(end('shop/cart', 'cart-x7k2q', '10.0.0.1'), 'shop|cart|-x7k2q');
  assert.equal(end('shop/cart', 'other', '10.0.0.1'), 'shop|cart|');
  assert.equal(end('10.20.0.0/16', '', '10.20.3.7'), '|10.20.0.0/16|');
  assert.equal(end('2001:db8::/48', '', '2001:db8::1'), '|2001:db8::/48|');
  assert.equal(end('', '', '192.0.2.7'), '|192.0.2.7|');
});

test('a rule is read from its text, and one without a number, too', () => {
  assert.equal(ruleText(row.rule, 'dropped'), 'ledger-ingress, ingress rule 2');
  assert.equal(ruleText(row.rule, 'forwarded'), 'ledger-ingress, rule 2');
  assert.equal(ruleText('ClusterNetworkPolicy guard', 'dropped'), 'guard');
  assert.equal(ruleText('', 'refused'), 'no endpoint');
  assert.equal(ruleText('', 'forwarded'), '–');
  assert.equal(ruleOf('<img onerror> is no rule'), undefined);
  assert.equal(flagText(0x12), 'SYN, ACK');
});

test('the columns come back from the key of the URL', () => {
  assert.deepEqual(
    shownColumns(undefined).map(({ id }) => id),
    defaultColumns,
  );
  const shown = shownColumns('from:200,time,nonsense,bytes:9');
  assert.equal(columnsKey(shown), 'time,from:200,bytes');
  assert.equal(gridTracks(shown), '98px 200px 72px');
  assert.equal(columnsKey(shownColumns('')), undefined);
  fc.assert(
    fc.property(fc.string(), (text) => {
      const key = columnsKey(shownColumns(text));
      assert.equal(columnsKey(shownColumns(key)), key);
    }),
  );
});

test('each word that a column gives is a word of the filter', () => {
  const columns = [
    ...['verdict', 'reason', 'from', 'to', 'from-pod', 'to-pod', 'from-address', 'to-address'],
    ...['port', 'protocol', 'rule', 'service', 'node', 'direction'],
  ];
  const words = columns.map((column) => wordOfColumn(row, column)!);
  assert.equal(words.includes('from-pod'), false);
  const { words: read } = parseFilter(words.flatMap((word) => [word, `-${word}`]).join(' '));
  assert.equal(read.length, 2 * columns.length);
  assert.deepEqual(
    read.flatMap(({ error, text }) => (error ? [`${text}: ${error.text}`] : [])),
    [],
  );
  assert.equal(wordOfColumn(row, 'time'), undefined);
  assert.equal(wordOfColumn({ ...row, isReply: true }, 'port'), 'port:8443');
});

test('a row is exported as Hubble prints it', () => {
  const { flow, node_name, time } = JSON.parse(hubbleJson(row));
  assert.equal(node_name, 'rack1-b');
  assert.equal(time, '1970-01-01T00:00:01.500Z');
  assert.deepEqual(flow.l4, {
    TCP: { source_port: 41822, destination_port: 8443, flags: { SYN: true } },
  });
  assert.deepEqual(flow.source, {
    ...{ namespace: 'shop', pod_name: 'checkout-x7k2q', workloads: [{ name: 'checkout' }] },
  });
  assert.equal(flow.verdict, 'DROPPED');
  assert.equal(flow.drop_reason_desc, 'POLICY_DENIED');
  assert.equal(flow.traffic_direction, 'INGRESS');
});

test('an answer is exported with the server as its source', () => {
  const { flow } = JSON.parse(hubbleJson({ ...row, isReply: true }));
  assert.equal(flow.IP.source, '10.1.7.91');
  assert.equal(flow.l4.TCP.source_port, 8443);
  assert.equal(flow.source.pod_name, 'ledger-m4vhd');
  assert.deepEqual(flow.source_service, { name: 'ledger', namespace: 'payments' });
  assert.equal(flow.destination_service, undefined);
});

test('a cell that a spreadsheet takes for a formula begins with an apostrophe', () => {
  for (const text of ['=cmd()', '+1', '-1', '@x', '\tx', '\rx']) {
    assert.match(csvCell(text), /^"?'/, JSON.stringify(text));
  }
  assert.equal(csvCell('a "b", c'), '"a ""b"", c"');
  assert.equal(csvCell('line\nbreak'), '"line\nbreak"');
  assert.equal(csvCell(-5), '-5');
  assert.equal(csvCell('shop/cart'), 'shop/cart');
});

test('a row of CSV has as many cells as the first line', () => {
  const lines = csvOf([row]).split('\r\n');
  assert.equal(lines.length, 3);
  assert.equal(lines[0]!.split(',').length, lines[1]!.split(',').length);
});

test('the head says how many of the flows are shown', () => {
  const numbers = {
    ...{ isLive: true, isNarrow: false, matchedRate: 10_214, shownRate: 60, isExact: true },
    ...{ loaded: 0, hasOlder: false, from: 0, to: 60_000, now: 60_000 },
  };
  const of = (more: Partial<typeof numbers>) =>
    Object.values(headText({ ...numbers, ...more })).join(' ');
  assert.equal(
    of({}),
    '10\u202f214 flows/s match. 60 of them are shown each second, chosen evenly; no drop is left out.',
  );
  assert.match(of({ isExact: false }), /About 60 of them .* also of the drops\.$/);
  assert.equal(of({ matchedRate: 12, shownRate: 12 }), '12 flows/s match. All are shown.');
  assert.match(of({ isNarrow: true }), /match; 60 shown each second, every drop among them$/);
  assert.match(
    of({ isLive: false, loaded: 500, hasOlder: true }),
    /^500 flows from .* older ones\.$/,
  );
  assert.match(of({ isLive: false, loaded: 7 }), /These are all that are kept\.$/);
});

test('the chart of the head has a bar for each message', () => {
  const { all, trouble } = beatPaths([
    { matched: 10, troubled: 0 },
    { matched: 5, troubled: 1 },
  ]);
  assert.equal(all, 'M0 19v-19.0h2v19.0zM3 19v-9.5h2v9.5z');
  assert.equal(trouble, 'M3 22v-2.5h2v2.5z');
});

test('the pool of rows never begins before the first row or ends behind the last', () => {
  fc.assert(
    fc.property(
      fc.nat(200_000),
      fc.nat(5000),
      fc.integer({ min: 1, max: 60 }),
      (top, rows, pool) => {
        const first = firstRow(top, 28, rows, pool);
        assert.ok(first >= 0 && first <= Math.max(0, rows - pool));
      },
    ),
  );
});

test('keys move the cell within the table', () => {
  const size = { rows: 10, columns: 3 };
  const to = (key: string, at = { row: 5, column: 1 }) => moveCursor(key, at, size, 4);
  assert.deepEqual(to('ArrowDown'), { row: 6, column: 1 });
  assert.deepEqual(to('PageUp'), { row: 1, column: 1 });
  assert.deepEqual(to('End'), { row: 9, column: 1 });
  assert.deepEqual(to('ArrowLeft', { row: 0, column: 0 }), { row: 0, column: 0 });
  assert.equal(to('x'), undefined);
});

test('the command that traces a row is safe to paste', () => {
  assert.equal(
    traceCommand(row),
    'heddle trace --from shop/checkout-x7k2q --to payments/ledger --port 8443 --flags syn',
  );
  assert.equal(shellWord("a'; rm -rf /"), "'a'\\''; rm -rf /'");
  const dns = { ...row, protocol: 17, service: '', flags: 0 };
  assert.match(traceCommand(dns), /--to 10\.1\.7\.91 --port 8443 --protocol udp$/);
});

const map: MapAnswer = {
  ...{ seq: 1, from: 0, to: 1, left: { links: 0, connections: 0 }, hubs: [] },
  namespaces: { name: ['shop', 'outside: servers'], outside: [false, true] },
  workloads: {
    ...{ namespace: [0, 0, 1], name: ['cart', 'db', 'mail.example'], kind: 'DSO' },
    ...{ pods: [2, 1, 0], workloads: [1, 1, 1] },
  },
  links: {
    ...{ from: [0, 0, 1], to: [1, 2, 2], protocol: [6, 6, 6], port: [5432, 25, 25] },
    ...{ forwarded: [10, 3, 2], dropped: [0, 1, 0], refused: [0, 0, 0], audit: [0, 0, 0] },
    ...{ bytesOut: [1, 1, 1], bytesIn: [1, 1, 1], last: [0, 5, 9] },
  },
};

test('flows are grouped by any columns, with what fails first', () => {
  const all = groupsOf(map, [], readGroupKeys(undefined));
  assert.deepEqual(
    all.map(({ verdict, from, to, rate }) => `${verdict} ${from} ${to} ${rate}`),
    [
      'dropped shop/cart mail.example 1',
      'forwarded shop/cart shop/db 10',
      'forwarded shop/cart mail.example 3',
      'forwarded shop/db mail.example 2',
    ],
  );
  const byServer = groupsOf(map, [], readGroupKeys('to'));
  assert.deepEqual(
    byServer.map(({ to, rate, last }) => [to, rate, last]),
    [
      ['shop/db', 10, 0],
      ['mail.example', 6, 5],
    ],
  );
});
