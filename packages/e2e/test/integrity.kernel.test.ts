import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentStatus } from '@heddle/agent';
import { heddle } from '@heddle/cli/testing/heddle';
import { currentPins, pinRoot } from '@heddle/datapath';
import { BpfLink, BpfMap, LinuxBpf } from '@heddle/ebpf';
import { askTcp, startBackend } from '@heddle/lab';
import { SysError } from '@heddle/sys';
import type { AgentLab } from '../testing/agent-lab.ts';
import { ClusterLab } from '../testing/cluster-lab.ts';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { service, slice } from '../testing/objects.ts';

const clusterIP = '10.96.0.10';

const options = ['--health-address', '127.0.0.1:10256'];
/** Each map is audited within 25 s. */
const timeoutMs = 60_000;

/** Opens a lab for each source, with a service whose backend is pod 1. */
const sources: Readonly<Record<string, () => Promise<AgentLab>>> = {
  async folder() {
    const agentLab = new ManifestLab('intact-f', { podsPerNode: 2 });
    const backend = agentLab.pod(1).addresses.v4;
    agentLab.write('web.yaml', service('web', [clusterIP]), slice('web', [backend]));
    return agentLab;
  },
  async cluster() {
    const cluster = await ClusterLab.open('intact-c', { podsPerNode: 2 });
    const backend = cluster.pod(1).addresses.v4;
    await cluster.write(service('web', [clusterIP]), slice('web', [backend]));
    return cluster;
  },
};

for (const [source, open] of Object.entries(sources)) {
  describe(`kernel state that other programs change, with objects from a ${source}`, () => {
    let agentLab: AgentLab;
    let bpf: LinuxBpf;
    before(async () => {
      agentLab = await open();
      await startBackend(agentLab.pod(1), { tcp: [8080] });
      await agentLab.start(...options);
      bpf = new LinuxBpf(agentLab.platform);
    });
    after(() => agentLab?.[Symbol.dispose]());

    const pins = () => currentPins(agentLab.node.bpffs);
    const answer = () => {
      try {
        return askTcp(agentLab.pod(0), { address: clusterIP, port: 80 }, 'x').split(' ')[0];
      } catch (error) {
        if (error instanceof SysError) return error.code;
        throw error;
      }
    };
    /** Returns the responses of the health server on the node. */
    const health = () =>
      Object.fromEntries(
        ['healthz', 'livez', 'readyz'].map((path) => {
          const request = `GET /${path} HTTP/1.0\r\n\r\n`;
          return [path, askTcp(agentLab.node, { address: '127.0.0.1', port: 10256 }, request)];
        }),
      );
    const repaired = (kind: 'hook' | 'pin' | 'map', before: AgentStatus) =>
      agentLab.until(
        `a repair of a ${kind}`,
        async () => {
          const status = await agentLab.status();
          const { incidents, broken } = status.integrity;
          const isMore = incidents[kind] > before.integrity.incidents[kind];
          return isMore && broken.length === 0 ? status : undefined;
        },
        timeoutMs,
      );

    test('detached programs are attached again within seconds, with one log line', async () => {
      const earlier = await agentLab.status();
      for (const name of readdirSync(pins().links)) {
        using link = BpfLink.openPinned(bpf, `${pins().links}/${name}`);
        link.detach();
      }
      const status = await repaired('hook', earlier);
      assert.equal(answer(), 'pod-1-2');
      assert.ok(status.datapath.links.every(({ attached }) => attached));
      assert.equal(
        agentLab.log.match(/each is not attached: another program has changed it; repaired/g)
          ?.length,
        1,
      );
    });

    test('deleted pins are created again, so that the next agent adopts the maps without interruption', async () => {
      const earlier = await agentLab.status();
      for (const folder of [pins().links, pins().maps]) {
        for (const name of readdirSync(folder)) unlinkSync(`${folder}/${name}`);
        rmdirSync(folder);
      }
      rmdirSync(pins().path);
      rmdirSync(pinRoot(agentLab.node.bpffs));
      assert.equal(answer(), 'pod-1-2');
      await repaired('pin', earlier);
      await agentLab.kill();
      assert.equal(answer(), 'pod-1-2');
      assert.equal((await agentLab.start(...options)).datapath.adopted, true);
      assert.equal(answer(), 'pod-1-2');
    });

    test('deleted entries are written again', async () => {
      const earlier = await agentLab.status();
      for (const name of ['services', 'addresses']) {
        using map = BpfMap.openPinned(bpf, `${pins().maps}/${name}`);
        for (const [key] of [...map.entries()]) map.delete(key);
      }
      using slots = BpfMap.openPinned(bpf, `${pins().maps}/slots`);
      slots.update(new Uint8Array(4), new Uint8Array(4));
      await repaired('map', earlier);
      await agentLab.until('all entries', () => answer() === 'pod-1-2', timeoutMs);
    });

    test('heddle cleanup removes the programs, and the agent does not attach them again', async () => {
      const flags = ['--bpffs', agentLab.node.bpffs, '--socket', agentLab.socket];
      const { code, stderr } = await heddle(['cleanup', '--force', ...flags]);
      assert.deepEqual([code, stderr], [0, '']);
      await agentLab.until('the programs to go', () => answer() !== 'pod-1-2');
      const status = await agentLab.status();
      assert.equal(status.integrity.released, true);
      assert.deepEqual(status.integrity.broken, []);
      await sleep(1500);
      assert.equal(existsSync(pinRoot(agentLab.node.bpffs)), false);
      await agentLab.kill();
      await agentLab.start(...options);
      assert.equal(answer(), 'pod-1-2');
    });

    test('status and health report what cannot be repaired, until it can', async () => {
      // A file has replaced the folder of pins.
      const links = pins().links;
      for (const name of readdirSync(links)) unlinkSync(`${links}/${name}`);
      rmdirSync(links);
      using map = BpfMap.openPinned(bpf, `${pins().maps}/refusals`);
      map.pin(links);
      try {
        const { integrity } = await agentLab.until('a repair that fails', async () => {
          const status = await agentLab.status();
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
      await agentLab.until('the repair', async () => {
        return (await agentLab.status()).integrity.broken.length === 0;
      });
      const answers = health();
      for (const path of ['healthz', 'readyz', 'livez'])
        assert.match(answers[path]!, / 200 /, path);
      assert.equal(answer(), 'pod-1-2');
    });
  });
}
