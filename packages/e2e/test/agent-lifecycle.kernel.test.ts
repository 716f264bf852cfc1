import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceEntry } from '@heddle/agent';
import { currentPins } from '@heddle/datapath';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import { BlockingSocket, startBackend } from '@heddle/lab';
import { decodeUtf8, SysError } from '@heddle/sys';
import { ProgrammedMaps } from '../testing/edits/programmed-maps.ts';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { service, slice } from '../testing/objects.ts';
import { randomOf } from '../testing/random.ts';

const many = 2000;
const clusterIP = '10.96.0.10';

describe('the lifecycle of the agent', () => {
  let agentLab: ManifestLab;
  beforeEach(async () => {
    agentLab = new ManifestLab('life', { podsPerNode: 3 });
    await Promise.all(
      [1, 2].map((number) => startBackend(agentLab.pod(number), { tcp: [8080], udp: [8080] })),
    );
  });
  afterEach(() => agentLab?.[Symbol.dispose]());

  /** Returns the address of a pod. */
  const ip = (number: number) => agentLab.pod(number).addresses.v4;

  /** Opens a connection from pod 0 to the service. */
  function connect(port = 80): BlockingSocket {
    const socket = agentLab
      .pod(0)
      .enter(() => BlockingSocket.open(agentLab.platform, { protocol: 'tcp', family: 4 }));
    try {
      socket.connect({ address: clusterIP, port });
      return socket;
    } catch (error) {
      socket[Symbol.dispose]();
      throw error;
    }
  }

  function asks(socket: BlockingSocket): string {
    socket.send('x');
    return decodeUtf8(socket.receive());
  }

  /** Returns the pod that replies on a new connection, or the errno. */
  function answer(port = 80): string {
    try {
      using socket = connect(port);
      return asks(socket).split(' ')[0]!;
    } catch (error) {
      if (error instanceof SysError) return error.code;
      throw error;
    }
  }

  const programmedMaps = () =>
    new ProgrammedMaps(new LinuxBpf(agentLab.platform), agentLab.node.bpffs);

  function writeMany(second: string): void {
    for (let file = 0; file < many / 100; file++) {
      const objects: object[] = [];
      for (let i = file * 100; i < file * 100 + 100; i++) {
        const address = `10.97.${i >> 8}.${i & 255}`;
        const endpoints = [`10.245.${i >> 8}.${i & 255}`, `${second}.${i >> 8}.${i & 255}`];
        objects.push(service(`many-${i}`, [address]), slice(`many-${i}`, endpoints));
      }
      agentLab.write(`many-${file}.yaml`, ...objects);
    }
  }

  test('traffic continues when the agent is killed at any time of the first sync and later batches', async () => {
    const random = randomOf('killed');
    agentLab.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1), ip(2)]));
    await agentLab.start();
    using established = connect();
    const pod = asks(established);
    const works = () => {
      assert.match(answer(), /^pod-/);
      assert.equal(asks(established), pod, 'what is connected stays connected');
    };
    works();
    for (let round = 0; round < 6; round++) {
      // In each round 2,000 services are new or changed.
      await agentLab.kill();
      works();
      writeMany(`10.${246 + (round % 2)}`);
      const agent = agentLab.launch();
      // Between the load of the programs and the last batch.
      const end = performance.now() + 250 + random.below(900);
      while (performance.now() < end && agent.exitCode === null) {
        works();
        await sleep(5);
      }
      assert.equal(agent.exitCode, null, agentLab.log);
    }
    await agentLab.kill();
    works();
    const status = await agentLab.start();
    works();
    assert.deepEqual(status.rows, { done: many + 1, pending: 0, failed: 0 });
    assert.equal(status.datapath.adopted, true);
    using view = programmedMaps();
    const lines = view.lines();
    // Two of the addresses are the node's own.
    assert.equal(lines.length, many * 4 + 4 + 2, 'nothing is left of the agents that were killed');
    assert.equal(lines.filter((line) => line.includes('another service')).length, 0);
  });

  test('a second agent on the same socket exits and changes nothing', async () => {
    agentLab.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1)]));
    await agentLab.start();
    const second = agentLab.launch();
    await agentLab.until('the second agent to give up', () => second.exitCode !== null);
    assert.equal(answer(), 'pod-1-2', 'the second agent has changed nothing');
  });

  test('the next agent repairs entries that were corrupted or deleted', async () => {
    agentLab.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1)]));
    agentLab.write('other.yaml', service('other', ['10.96.0.11']), slice('other', [ip(2)]));
    agentLab.write('dns.yaml', service('dns', ['10.96.0.12']), slice('dns', [ip(2), '10.244.9.9']));
    await agentLab.start();
    using view = programmedMaps();
    const whole = view.lines();
    const bpf = new LinuxBpf(agentLab.platform);
    const random = randomOf('damage');
    for (let round = 0; round < 2; round++) {
      await agentLab.kill();
      for (const name of ['services', 'addresses', 'slots', 'backends']) {
        using map = BpfMap.openPinned(bpf, `${currentPins(agentLab.node.bpffs).maps}/${name}`);
        for (const [key, value] of [...map.entries()].slice(0, 8)) {
          if (name !== 'slots' && name !== 'backends' && random.oneIn(3)) map.delete(key);
          else if (random.oneIn(2)) {
            value[random.below(value.length)]! ^= 1 << random.below(8);
            map.update(key, value);
          }
        }
      }
      const status = await agentLab.start();
      assert.deepEqual(view.lines(), whole);
      assert.ok(status.datapath.repaired > 0, JSON.stringify(status.datapath));
      assert.equal(answer(), 'pod-1-2');
    }
  });

  test('the next agent removes entries of deleted objects after it has read everything', async () => {
    agentLab.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1)]));
    agentLab.write('gone.yaml', service('gone', ['10.96.0.11']), slice('gone', [ip(2)]));
    await agentLab.start();
    await agentLab.kill();
    agentLab.remove('gone.yaml');
    agentLab.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(2)]));
    await agentLab.start();
    assert.equal(answer(), 'pod-1-3');
    using view = programmedMaps();
    assert.ok(!view.lines().some((line) => line.includes('10.96.0.11')));
    assert.ok(!view.lines().some((line) => line.includes(`${ip(1)}:`)));
  });

  test('a malformed file at the start removes no programmed service', async () => {
    const web = service('web', [clusterIP]);
    agentLab.write('web.yaml', web);
    agentLab.write('web-slice.yaml', slice('web', [ip(1)]));
    agentLab.write('web-slice-2.yaml', slice('web', [ip(2)], { name: 'web-2' }));
    agentLab.write('other.yaml', service('other', ['10.96.0.11']), slice('other', [ip(2)]));
    await agentLab.start();
    using view = programmedMaps();
    const whole = view.lines();
    using established = connect();
    const pod = asks(established);

    for (const [file, broken] of [
      [
        'web-slice.yaml',
        'apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: "web',
      ],
      ['web.yaml', '{"apiVersion": "v1", "kind": "Ser'],
      ['other.yaml', JSON.stringify({ ...slice('other', [ip(2)]), addressType: 'IPv5' })],
    ] as const) {
      await agentLab.kill();
      renameSync(`${agentLab.folder}/${file}`, `${agentLab.folder}/.${file}.good`);
      writeFileSync(`${agentLab.folder}/${file}`, broken);
      await agentLab.listen();
      await agentLab.until('the broken file to be reported', async () =>
        (await agentLab.status()).source.problems.some((problem) => problem.file === file),
      );
      const status = await agentLab.status();
      assert.equal(status.source.complete, false);
      assert.deepEqual(view.lines(), whole, `with a broken ${file}`);
      assert.match(answer(), /^pod-/);
      // Other services are served meanwhile, also those of an earlier agent.
      await agentLab.apply('new.yaml', service('new', ['10.96.0.12']), slice('new', [ip(1)]));
      assert.equal(view.lines().filter((line) => line.includes('10.96.0.12')).length, 2);
      agentLab.remove('new.yaml');
      await agentLab.until('the new service to be gone', async () => {
        return (await agentLab.service('new')).length === 0;
      });
      renameSync(`${agentLab.folder}/.${file}.good`, `${agentLab.folder}/${file}`);
      await agentLab.until('the folder to be complete', async () => {
        return (await agentLab.status()).source.complete;
      });
      assert.deepEqual(view.lines(), whole, `with ${file} mended`);
    }
    assert.equal(asks(established), pod);
  });

  test('a file that is half written at the start causes no interruption', async () => {
    agentLab.write('web.yaml', service('web', [clusterIP]));
    agentLab.write('web-slice.yaml', slice('web', [ip(1)]));
    await agentLab.start();
    await agentLab.kill();
    const text = JSON.stringify(slice('web', [ip(1), ip(2)]), null, 1);
    writeFileSync(`${agentLab.folder}/web-slice.yaml`, text.slice(0, text.length / 2));
    await agentLab.listen();
    for (let i = 0; i < 40; i++) {
      assert.equal(answer(), 'pod-1-2');
      await sleep(5);
    }
    writeFileSync(`${agentLab.folder}/web-slice.yaml`, text);
    await agentLab.until('the second endpoint', async () => {
      return (await agentLab.service('web'))[0]?.backends.active === 2;
    });
  });

  test('a missing folder removes no service, also when the agent starts without it', async () => {
    agentLab.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1)]));
    await agentLab.start();
    const away = `${agentLab.folder}.away`;
    renameSync(agentLab.folder, away);
    await agentLab.until('the loss to be reported', async () =>
      (await agentLab.status()).source.problems.some(({ file }) => file === agentLab.folder),
    );
    assert.equal(answer(), 'pod-1-2');
    await agentLab.kill();
    const status = await agentLab.listen();
    assert.equal(status.source.complete, false);
    assert.equal(answer(), 'pod-1-2');
    mkdirSync(agentLab.folder);
    await agentLab.until('the empty folder to be seen', async () =>
      (await agentLab.status()).source.problems.some(({ message }) => /came empty/.test(message)),
    );
    assert.equal(answer(), 'pod-1-2');
    for (const name of readdirSync(away)) {
      renameSync(`${away}/${name}`, `${agentLab.folder}/${name}`);
      assert.equal(answer(), 'pod-1-2');
    }
    rmSync(away, { recursive: true });
    await agentLab.until('the folder to be read', async () => {
      const { source, rows } = await agentLab.status();
      return source.complete && rows.done === 1;
    });
    assert.equal(answer(), 'pod-1-2');
    await agentLab.apply('web.yaml', service('web', [clusterIP]), slice('web', [ip(2)]));
    assert.equal(answer(), 'pod-1-3');
  });

  test('a row that finds a map full names the map and its size, other rows stay, and the row is programmed when there is space', async () => {
    const list = async () => {
      const { services } = (await agentLab.heddle('service', 'list')) as {
        services: ServiceEntry[];
      };
      return new Map(services.map((entry) => [entry.name, entry]));
    };
    agentLab.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1), ip(2)]));
    // There is room for 8 frontends, half of them for one namespace, and for 4 backends, because id
    // 0 is never used.
    const config = `${agentLab.folder}/../agent.yaml`;
    writeFileSync(config, 'sizes: {services: 8, servicesMax: 8, backends: 5, slots: 64}\n');
    await agentLab.start('--config', config);
    await agentLab.apply(
      'large.yaml',
      service('large', ['10.96.0.11']),
      slice('large', ['10.245.0.1', '10.245.0.2', '10.245.0.3']),
    );
    let services = await list();
    assert.equal(services.get('web')!.status, 'done');
    assert.equal(services.get('large')!.status, 'failed');
    assert.equal(
      services.get('large')!.reason,
      'write map backends: full with 4 entries (raise sizes.backends)',
    );
    assert.match(answer(), /^pod-/);

    // With one backend fewer there is room.
    await agentLab.apply('web.yaml', service('web', [clusterIP]), slice('web', [ip(1)]));
    await agentLab.until('large to be programmed', async () => {
      return (await list()).get('large')!.status === 'done';
    });

    const ports = [
      { name: 'a', port: 80 },
      { name: 'b', port: 81 },
    ];
    await agentLab.apply(
      'wide.yaml',
      service('other', ['10.96.0.13'], { ports }),
      service('wide', ['10.96.0.12'], { ports }),
    );
    services = await list();
    const wide = (await agentLab.service('wide')).map(({ reason }) => reason);
    assert.deepEqual(
      wide,
      Array(2).fill(
        'not programmed: namespace default may have 4 frontends, half of sizes.servicesMax (8), and older services in it use them (remove some, or raise sizes.servicesMax)',
      ),
    );
    assert.equal(services.get('web')!.status, 'done');
    assert.equal(answer(), 'pod-1-2');
    agentLab.remove('large.yaml');
    await agentLab.until('one port of wide to be programmed', async () => {
      return (
        (await agentLab.service('wide')).filter(({ status }) => status === 'done').length === 1
      );
    });
    assert.equal(answer(), 'pod-1-2');
  });
});
