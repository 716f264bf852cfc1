import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  addAddress,
  createVeth,
  deleteLink,
  deleteNamespace,
  findLink,
  NetlinkSocket,
  NetworkNamespace,
} from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { freePins, MemoryDatapath, ScriptedSource } from '../testing/parts.ts';
import { Agent } from './agent.ts';
import { readConfig } from './config.ts';
import { allFeatures } from './features/index.ts';

const folder = '/run/heddle-test';

describe('log lines about addresses', { timeout: 30_000 }, () => {
  it('come when NodePorts are served elsewhere, not when the CNI plug-in gives a pod interface one', async () => {
    mkdirSync(folder, { recursive: true });
    const path = `${folder}/agent-addresses-${randomBytes(4).toString('hex')}`;
    const manifests = mkdtempSync(join(tmpdir(), 'heddle-addresses-'));
    const lines: string[] = [];
    const own = nodePlatform((level, message) => lines.push(`${level} ${message}`));
    const namespace = NetworkNamespace.create(own, path);
    const change = (work: (socket: NetlinkSocket) => void) =>
      namespace.enter(() => {
        using socket = new NetlinkSocket(own);
        work(socket);
      });
    const give = (device: string, address: string) =>
      change((socket) => addAddress(socket, findLink(socket, device)!.index, address));
    const inside: Platform = {
      ...own,
      setTimer: (milliseconds, fire) => own.setTimer(milliseconds, () => namespace.enter(fire)),
    };
    try {
      change((socket) => {
        createVeth(socket, { name: 'uplink', up: true }, { name: 'far' });
      });
      give('uplink', '192.0.2.7/24');
      let source: ScriptedSource | undefined;
      const config = readConfig(undefined, {
        manifests,
        socket: join(manifests, 'agent.sock'),
        nodePortAddresses: ['192.0.2.0/24', 'absent*'],
      });
      using _agent = namespace.enter(
        () =>
          new Agent({
            platform: inside,
            config: {
              ...config,
              ...{ node: 'n1', cgroup: '/', healthAddress: 'off', metricsAddress: 'off' },
            },
            version: '1',
            features: allFeatures,
            takePins: freePins,
            openDatapath: () => new MemoryDatapath(),
            openSource: (listener) => {
              source = new ScriptedSource(listener);
              return source;
            },
          }),
      );
      source!.complete();
      const until = (line: string) =>
        eventually(`"${line}" is logged`, () => lines.includes(line), {
          detail: () => lines.join('\n'),
        });
      // The plug-in `ptp` does the same: each pod's interface has an address of the node.
      for (let pod = 0; pod < 5; pod++) {
        change((socket) => {
          createVeth(socket, { name: `pod${pod}`, up: true }, { name: `peer${pod}` });
        });
        give(`pod${pod}`, `10.22.0.${pod}/32`);
        await until(`debug own addresses are now 10.22.0.${pod}, 192.0.2.7`);
        change((socket) => deleteLink(socket, findLink(socket, `pod${pod}`)!.index));
        await until('debug own addresses are now 192.0.2.7');
        lines.splice(lines.indexOf('debug own addresses are now 192.0.2.7'), 1);
      }
      give('uplink', '192.0.2.9/24');
      await until('info NodePorts are now served at 192.0.2.7, 192.0.2.9');
      const shown = lines.filter((line) => !line.startsWith('debug'));
      assert.deepEqual(
        shown.filter((line) => /address|NodePorts/.test(line)),
        [
          'warn nodePortAddresses: no network interface absent* has an address',
          'info NodePorts are now served at 192.0.2.7, 192.0.2.9',
        ],
      );
    } finally {
      namespace[Symbol.dispose]();
      deleteNamespace(own, path);
      rmSync(manifests, { recursive: true });
    }
  });
});
