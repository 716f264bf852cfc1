import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentStatus } from '@heddle/agent';
import { heddle } from '@heddle/cli/testing/heddle';
import { currentPins, pinRoot } from '@heddle/datapath';
import { BpfMap, Link, LinuxBpf } from '@heddle/ebpf';
import { askTcp, startBackend } from '@heddle/lab';
import { SysError } from '@heddle/sys';
import type { AgentRun } from '../testing/agent-run.ts';
import { Cluster } from '../testing/cluster.ts';
import { service, slice } from '../testing/objects.ts';
import { Product } from '../testing/product.ts';

const clusterIP = '10.96.0.10';

const options = ['--health-address', '127.0.0.1:10256'];
/** A map's turn comes within 25 s. */
const patience = 60_000;

/** An agent of each source, with a service whose backend is pod 1. */
const sources: Readonly<Record<string, () => Promise<AgentRun>>> = {
  async folder() {
    const product = new Product('intact-f', { podsPerNode: 2 });
    const backend = product.pod(1).addresses.v4;
    product.write('web.yaml', service('web', [clusterIP]), slice('web', [backend]));
    return product;
  },
  async cluster() {
    const cluster = await Cluster.open('intact-c', { podsPerNode: 2 });
    const backend = cluster.pod(1).addresses.v4;
    await cluster.write(service('web', [clusterIP]), slice('web', [backend]));
    return cluster;
  },
};

for (const [source, open] of Object.entries(sources)) {
  describe(`an agent from whose kernel others take things, with objects from a ${source}`, () => {
    let product: AgentRun;
    let bpf: LinuxBpf;
    before(async () => {
      product = await open();
      await startBackend(product.pod(1), { tcp: [8080] });
      await product.start(...options);
      bpf = new LinuxBpf(product.platform);
    });
    after(() => product?.[Symbol.dispose]());

    const pins = () => currentPins(product.node.bpffs);
    const answer = () => {
      try {
        return askTcp(product.pod(0), { address: clusterIP, port: 80 }, 'x').split(' ')[0];
      } catch (error) {
        if (error instanceof SysError) return error.code;
        throw error;
      }
    };
    /** Returns the answers of the health server, asked on the node. */
    const health = () =>
      Object.fromEntries(
        ['healthz', 'livez', 'readyz'].map((path) => {
          const request = `GET /${path} HTTP/1.0\r\n\r\n`;
          return [path, askTcp(product.node, { address: '127.0.0.1', port: 10256 }, request)];
        }),
      );
    const repaired = (kind: 'hook' | 'pin' | 'map', before: AgentStatus) =>
      product.until(
        `a repair of a ${kind}`,
        async () => {
          const status = await product.status();
          const { incidents, broken } = status.integrity;
          const isMore = incidents[kind] > before.integrity.incidents[kind];
          return isMore && broken.length === 0 ? status : undefined;
        },
        patience,
      );

    test('detached programs serve again within seconds, and one line says so', async () => {
      const earlier = await product.status();
      for (const name of readdirSync(pins().links)) {
        using link = Link.openPinned(bpf, `${pins().links}/${name}`);
        link.detach();
      }
      const status = await repaired('hook', earlier);
      assert.equal(answer(), 'pod-1-2');
      assert.ok(status.datapath.links.every(({ attached }) => attached));
      assert.equal(
        product.log.match(/each is not attached: another program has changed it; repaired/g)
          ?.length,
        1,
      );
    });

    test('deleted pins are made again, so that the next agent takes over; nothing is interrupted', async () => {
      const earlier = await product.status();
      for (const folder of [pins().links, pins().maps]) {
        for (const name of readdirSync(folder)) unlinkSync(`${folder}/${name}`);
        rmdirSync(folder);
      }
      rmdirSync(pins().path);
      rmdirSync(pinRoot(product.node.bpffs));
      assert.equal(answer(), 'pod-1-2');
      await repaired('pin', earlier);
      await product.kill();
      assert.equal(answer(), 'pod-1-2');
      assert.equal((await product.start(...options)).datapath.adopted, true);
      assert.equal(answer(), 'pod-1-2');
    });

    test('wiped entries are written again', async () => {
      const earlier = await product.status();
      for (const name of ['services', 'addresses']) {
        using map = BpfMap.openPinned(bpf, `${pins().maps}/${name}`);
        for (const [key] of [...map.entries()]) map.delete(key);
      }
      using slots = BpfMap.openPinned(bpf, `${pins().maps}/slots`);
      slots.update(new Uint8Array(4), new Uint8Array(4));
      await repaired('map', earlier);
      await product.until('all entries', () => answer() === 'pod-1-2', patience);
    });

    test('a cleanup that is asked for takes the programs out, and the agent makes nothing again', async () => {
      const flags = ['--bpffs', product.node.bpffs, '--socket', product.socket];
      const { code, stderr } = await heddle(['cleanup', '--force', ...flags]);
      assert.deepEqual([code, stderr], [0, '']);
      await product.until('the programs to go', () => answer() !== 'pod-1-2');
      const status = await product.status();
      assert.equal(status.integrity.released, true);
      assert.deepEqual(status.integrity.broken, []);
      await sleep(1500);
      assert.equal(existsSync(pinRoot(product.node.bpffs)), false);
      await product.kill();
      await product.start(...options);
      assert.equal(answer(), 'pod-1-2');
    });

    test('what cannot be repaired is said by status and health, until it can', async () => {
      // The folder of pins is gone and something else is in its place.
      const links = pins().links;
      for (const name of readdirSync(links)) unlinkSync(`${links}/${name}`);
      rmdirSync(links);
      using map = BpfMap.openPinned(bpf, `${pins().maps}/refusals`);
      map.pin(links);
      try {
        const { integrity } = await product.until('a repair that fails', async () => {
          const status = await product.status();
          return status.integrity.failedRepairs > 0 ? status : undefined;
        });
        assert.ok(integrity.broken.length > 0);
        assert.match(integrity.reason ?? '', /ENOTDIR|EEXIST/);
        const answers = health();
        assert.match(answers.healthz!, / 503 /);
        assert.match(answers.readyz!, / 503 /);
        assert.match(answers.livez!, / 200 /);
        assert.match(answers.readyz!, /pins? .*links/);
      } finally {
        unlinkSync(links);
      }
      await product.until('the repair', async () => {
        return (await product.status()).integrity.broken.length === 0;
      });
      const answers = health();
      for (const path of ['healthz', 'readyz', 'livez'])
        assert.match(answers[path]!, / 200 /, path);
      assert.equal(answer(), 'pod-1-2');
    });
  });
}
