import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { platform, uniqueName } from '../../testing/kernel.ts';
import { createLab, type Lab } from '../lab.ts';
import type { LabHost } from '../lab-host.ts';
import { Tap } from '../packet/tap.ts';
import { askHttp, askTcp, askUdp, connectTcp, echoBytes } from './conversation.ts';
import { ping } from './ping.ts';
import { floodWithSyns, startBackend } from './programs.ts';

let lab: Lab;
let client: LabHost;
const ends = ['v4', 'v6'] as const;
const at = (end: 'v4' | 'v6', port: number) => ({ address: lab.pods[0]!.addresses[end], port });

before(async () => {
  lab = createLab(platform, {
    name: uniqueName('talk'),
    podsPerNode: 1,
    outside: 1,
  });
  client = lab.outside[0]!;
  await startBackend(lab.pods[0]!, { http: [80], tcp: [81], echo: [82], udp: [83] });
});
after(() => lab[Symbol.dispose]());

for (const end of ends) {
  test(`an outside host sends requests of all protocols to a backend over IP${end}`, () => {
    assert.equal(askHttp(client, at(end, 80)), 'pod-1-1');
    const seen = JSON.parse(askHttp(client, at(end, 80), '/client')).client;
    const own = client.addresses[end];
    assert.ok(seen.startsWith(end === 'v4' ? `${own}:` : `[${own}]:`), seen);
    assert.equal(askTcp(client, at(end, 81), 'hello'), 'pod-1-1 hello');
    assert.equal(askUdp(client, at(end, 83), 'hello'), 'pod-1-1 hello');
    const large = 'x'.repeat(8000);
    assert.equal(askUdp(client, at(end, 83), large), `pod-1-1 ${large}`);
    for (const size of [0, 1, 2_000_000]) echoBytes(client, at(end, 82), size);
  });
}

for (const end of ends) {
  test(`an outside host pings a pod with packets of all sizes over IP${end}`, () => {
    const { address } = at(end, 0);
    const fits = 1500 - (end === 'v4' ? 28 : 48);
    for (const size of [0, 1, fits, fits + 1, 20_000]) {
      assert.equal(ping(client, address, { size }), 'reply');
      const alone = ping(client, address, { size, df: true });
      assert.equal(alone, size > fits ? 'too large' : 'reply');
    }
    const nobody = end === 'v4' ? '198.18.0.1' : 'fd00:198:18::1';
    assert.equal(ping(client, nobody, { timeoutMs: 50 }), 'no reply');
  });
}

test('a missing or different answer is an error', () => {
  assert.throws(() => connectTcp(client, at('v4', 9)), { code: 'ECONNREFUSED' });
  assert.throws(() => askUdp(client, at('v4', 9), 'x'), { code: 'ECONNREFUSED' });
  assert.throws(() => askHttp(client, at('v4', 80), '/nothing'), /404 Not Found/);
  assert.throws(() => echoBytes(client, at('v4', 81), 100), /byte 0 differs/);
  assert.throws(() => echoBytes(client, at('v4', 80), 7), /echo 7 bytes at .*: 0 came back/);
});

test('all SYNs of a flood arrive while a connection continues', async () => {
  using connection = connectTcp(client, at('v4', 82));
  using tap = Tap.open(lab.nodes[0]!, 'eth0');
  await floodWithSyns(client, { to: at('v4', 82), count: 2000 });
  const syns = tap
    .drain()
    .filter(({ packet }) => /ipv4 198\.18\..*\ntcp .* SYN /.test(`${packet}`));
  assert.equal(syns.length, 2000);
  connection.send('still here');
  assert.equal(new TextDecoder().decode(connection.receive()), 'still here');
  await assert.rejects(
    floodWithSyns(client, { to: { address: 'nowhere', port: 82 }, count: 1 }),
    /flood from outside-1: ended by code 1/,
  );
});
