// Services ask for more frontends than a node may serve: older ones have precedence, and none gets
// all.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { askTcp, startBackend } from '@heddle/lab';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { service, slice } from '../testing/objects.ts';

const day = (number: number) => `2026-01-0${number}T00:00:00Z`;

describe('services that ask for more frontends than the node may serve', () => {
  let agentLab: ManifestLab;
  let args: string[];
  before(async () => {
    agentLab = new ManifestLab('admission', { podsPerNode: 2 });
    await startBackend(agentLab.lab.pods[1]!, { tcp: [8080] });
    const config = `${agentLab.folder}/../agent.yaml`;
    writeFileSync(config, 'sizes: {services: 32, servicesMax: 80}\n');
    args = ['--config', config];
  });
  after(() => agentLab?.[Symbol.dispose]());

  const made = (name: string, address: string, namespace: string, created: string, spec = {}) => {
    const object = service(name, [address], spec);
    const metadata = { ...object.metadata, namespace, creationTimestamp: created };
    const ip = agentLab.lab.pods[1]!.addresses.v4;
    const endpoints = slice(name, [ip], {
      ports: portsOf(spec).map((port) => ({ ...port, port: 8080 })),
    });
    return [
      { ...object, metadata },
      { ...endpoints, metadata: { ...endpoints.metadata, namespace } },
    ];
  };
  const portsOf = ({ ports = [{ port: 80 }] }: { ports?: object[] }) =>
    ports.map((each) => ('name' in each ? { name: each.name } : {}));
  const answers = (address: string, port = 80) => {
    try {
      return askTcp(agentLab.lab.pods[0]!, { address, port }, 'who?', 500).split(' ')[0]!;
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  const pod = () => agentLab.lab.pods[1]!.name;

  test('one service gets a quarter, others are served, and a restarted agent decides the same', async () => {
    // Four addresses and the ClusterIP with ten ports each: 50 frontends.
    const ports = Array.from({ length: 10 }, (_, i) => ({ name: `p${i}`, port: 1000 + i }));
    const externalIPs = Array.from({ length: 4 }, (_, i) => `198.51.100.${i + 1}`);
    agentLab.write(
      'huge.yaml',
      ...made('huge', '10.96.0.2', 'team', day(1), { ports, externalIPs }),
    );
    agentLab.write('old.yaml', ...made('old', '10.96.0.3', 'team', day(2)));
    agentLab.write('young.yaml', ...made('young', '10.96.0.4', 'default', day(3)));
    for (let restarts = 0; restarts < 2; restarts++) {
      await agentLab.start(...args);
      assert.equal(answers('10.96.0.3'), pod());
      assert.equal(answers('10.96.0.4'), pod());
      assert.equal(answers('10.96.0.2', 1000), pod());
      assert.equal(answers('198.51.100.4', 1003), pod());
      const rows = await agentLab.service('team/huge');
      const failed = rows.filter(({ status }) => status === 'failed');
      assert.deepEqual([rows.length, failed.length], [10, 6], 'four ports of five frontends fit');
      for (const { reason } of failed) {
        assert.equal(
          reason,
          'not programmed: one service may have 20 frontends, a quarter of sizes.servicesMax (80), and this one asks for more (use fewer ports or addresses, or raise sizes.servicesMax)',
        );
      }
      assert.equal((await agentLab.status()).rows.failed, 6);
      await agentLab.kill();
    }
  });

  test('an older service that appears later replaces a younger one', async () => {
    await agentLab.start(...args);
    const crowd = (namespace: string, first: number) =>
      [1, 2].flatMap((n) =>
        made(`crowd-${n}`, `10.97.${first}.${n}`, namespace, day(4 + n), {
          ports: Array.from({ length: 19 }, (_, i) => ({ name: `p${i}`, port: 1000 + i })),
        }),
      );
    // 22 are in use. Three of these services ask for 19 each; the youngest gets one.
    await agentLab.apply('crowd.yaml', ...crowd('a', 1), ...crowd('b', 2));
    const programmed = async (name: string) =>
      (await agentLab.service(name)).filter(({ status }) => status === 'done').length;
    const counts = async () =>
      Promise.all(['a/crowd-1', 'a/crowd-2', 'b/crowd-1', 'b/crowd-2'].map(programmed));
    assert.deepEqual(await counts(), [19, 19, 19, 1]);
    assert.equal(answers('10.97.2.2', 1000), pod());
    await agentLab.apply(
      'late.yaml',
      ...made('late', '10.96.0.9', 'c', day(1), {
        ports: Array.from({ length: 5 }, (_, i) => ({ name: `p${i}`, port: 1000 + i })),
      }),
    );
    assert.deepEqual(await counts(), [19, 15, 19, 0]);
    assert.equal(answers('10.96.0.9', 1004), pod());
    assert.equal(answers('10.97.2.1', 1014), pod());
    assert.notEqual(answers('10.97.2.2', 1000), pod());
    agentLab.remove('crowd.yaml');
    await agentLab.until('all rows but the huge one to be programmed', async () => {
      return (await agentLab.status()).rows.failed === 6;
    });
  });
});
