import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceEntry } from '@heddle/agent';
import { currentPins } from '@heddle/datapath';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import { BlockingSocket, startBackend } from '@heddle/lab';
import { decodeUtf8, SysError } from '@heddle/sys';
import { KernelView } from '../testing/edits/kernel-view.ts';
import { service, slice } from '../testing/objects.ts';
import { Product } from '../testing/product.ts';
import { randomOf } from '../testing/random.ts';

const many = 2000;
const clusterIP = '10.96.0.10';

describe('the life of the agent', () => {
  let product: Product;
  beforeEach(async () => {
    product = new Product('life', { podsPerNode: 3 });
    await Promise.all(
      [1, 2].map((number) => startBackend(product.pod(number), { tcp: [8080], udp: [8080] })),
    );
  });
  afterEach(() => product?.[Symbol.dispose]());

  /** Address of a pod. */
  const ip = (number: number) => product.pod(number).addresses.v4;

  /** A connection from pod 0 to the service. */
  function connect(port = 80): BlockingSocket {
    const socket = product
      .pod(0)
      .enter(() => BlockingSocket.open(product.platform, { protocol: 'tcp', family: 4 }));
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

  /** What a new connection comes to: the pod that answered, or the errno. */
  function answer(port = 80): string {
    try {
      using socket = connect(port);
      return asks(socket).split(' ')[0]!;
    } catch (error) {
      if (error instanceof SysError) return error.code;
      throw error;
    }
  }

  const kernelView = () => new KernelView(new LinuxBpf(product.platform), product.node.bpffs);

  function writeMany(second: string): void {
    for (let file = 0; file < many / 100; file++) {
      const objects: object[] = [];
      for (let i = file * 100; i < file * 100 + 100; i++) {
        const address = `10.97.${i >> 8}.${i & 255}`;
        const endpoints = [`10.245.${i >> 8}.${i & 255}`, `${second}.${i >> 8}.${i & 255}`];
        objects.push(service(`many-${i}`, [address]), slice(`many-${i}`, endpoints));
      }
      product.write(`many-${file}.yaml`, ...objects);
    }
  }

  test('killed at any moment of the first sync and of later batches: traffic goes on', async () => {
    const random = randomOf('killed');
    product.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1), ip(2)]));
    await product.start();
    using established = connect();
    const pod = asks(established);
    const works = () => {
      assert.match(answer(), /^pod-/);
      assert.equal(asks(established), pod, 'what is connected stays connected');
    };
    works();
    for (let round = 0; round < 6; round++) {
      // Each round finds 2,000 services that are new or have all changed.
      await product.kill();
      works();
      writeMany(`10.${246 + (round % 2)}`);
      const agent = product.launch();
      // From the loading of the program to the last batch.
      const end = performance.now() + 250 + random.below(900);
      while (performance.now() < end && agent.exitCode === null) {
        works();
        await sleep(5);
      }
      assert.equal(agent.exitCode, null, product.log);
    }
    await product.kill();
    works();
    const status = await product.start();
    works();
    assert.deepEqual(status.rows, { done: many + 1, pending: 0, failed: 0 });
    assert.equal(status.datapath.adopted, true);
    using view = kernelView();
    const lines = view.lines();
    // Two of them are the node's own addresses.
    assert.equal(lines.length, many * 4 + 4 + 2, 'nothing is left of the agents that were killed');
    assert.equal(lines.filter((line) => line.includes('another service')).length, 0);
  });

  test('a second agent on the same socket gives up and changes nothing', async () => {
    product.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1)]));
    await product.start();
    const second = product.launch();
    await product.until('the second agent to give up', () => second.exitCode !== null);
    assert.equal(answer(), 'pod-1-2', 'the second agent has changed nothing');
  });

  test('entries that are corrupted or deleted behind its back are repaired by the next start', async () => {
    product.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1)]));
    product.write('other.yaml', service('other', ['10.96.0.11']), slice('other', [ip(2)]));
    product.write('dns.yaml', service('dns', ['10.96.0.12']), slice('dns', [ip(2), '10.244.9.9']));
    await product.start();
    using view = kernelView();
    const whole = view.lines();
    const bpf = new LinuxBpf(product.platform);
    const random = randomOf('damage');
    for (let round = 0; round < 2; round++) {
      await product.kill();
      for (const name of ['services', 'addresses', 'slots', 'backends']) {
        using map = BpfMap.openPinned(bpf, `${currentPins(product.node.bpffs).maps}/${name}`);
        for (const [key, value] of [...map.entries()].slice(0, 8)) {
          if (name !== 'slots' && name !== 'backends' && random.oneIn(3)) map.delete(key);
          else if (random.oneIn(2)) {
            value[random.below(value.length)]! ^= 1 << random.below(8);
            map.update(key, value);
          }
        }
      }
      const status = await product.start();
      assert.deepEqual(view.lines(), whole);
      assert.ok(status.datapath.repaired > 0, JSON.stringify(status.datapath));
      assert.equal(answer(), 'pod-1-2');
    }
  });

  test('what nobody asks for any more is removed by the next start, once it has read everything', async () => {
    product.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1)]));
    product.write('gone.yaml', service('gone', ['10.96.0.11']), slice('gone', [ip(2)]));
    await product.start();
    await product.kill();
    product.remove('gone.yaml');
    product.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(2)]));
    await product.start();
    assert.equal(answer(), 'pod-1-3');
    using view = kernelView();
    assert.ok(!view.lines().some((line) => line.includes('10.96.0.11')));
    assert.ok(!view.lines().some((line) => line.includes(`${ip(1)}:`)));
  });

  test('a broken file at the start takes nothing out of force, whatever it may stand for', async () => {
    const web = service('web', [clusterIP]);
    product.write('web.yaml', web);
    product.write('web-slice.yaml', slice('web', [ip(1)]));
    product.write('web-slice-2.yaml', slice('web', [ip(2)], { name: 'web-2' }));
    product.write('other.yaml', service('other', ['10.96.0.11']), slice('other', [ip(2)]));
    await product.start();
    using view = kernelView();
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
      await product.kill();
      renameSync(`${product.folder}/${file}`, `${product.folder}/.${file}.good`);
      writeFileSync(`${product.folder}/${file}`, broken);
      await product.listen();
      await product.until('the broken file to be reported', async () =>
        (await product.status()).source.problems.some((problem) => problem.file === file),
      );
      const status = await product.status();
      assert.equal(status.source.complete, false);
      assert.deepEqual(view.lines(), whole, `with a broken ${file}`);
      assert.match(answer(), /^pod-/);
      // Others go on meanwhile, also those that an earlier agent left.
      await product.apply('new.yaml', service('new', ['10.96.0.12']), slice('new', [ip(1)]));
      assert.equal(view.lines().filter((line) => line.includes('10.96.0.12')).length, 2);
      product.remove('new.yaml');
      await product.until('the new service to be gone', async () => {
        return (await product.service('new')).length === 0;
      });
      renameSync(`${product.folder}/.${file}.good`, `${product.folder}/${file}`);
      await product.until('the folder to be complete', async () => {
        return (await product.status()).source.complete;
      });
      assert.deepEqual(view.lines(), whole, `with ${file} mended`);
    }
    assert.equal(asks(established), pod);
  });

  test('a file that is half written at the start leaves no gap', async () => {
    product.write('web.yaml', service('web', [clusterIP]));
    product.write('web-slice.yaml', slice('web', [ip(1)]));
    await product.start();
    await product.kill();
    const text = JSON.stringify(slice('web', [ip(1), ip(2)]), null, 1);
    writeFileSync(`${product.folder}/web-slice.yaml`, text.slice(0, text.length / 2));
    await product.listen();
    for (let i = 0; i < 40; i++) {
      assert.equal(answer(), 'pod-1-2');
      await sleep(5);
    }
    writeFileSync(`${product.folder}/web-slice.yaml`, text);
    await product.until('the second endpoint', async () => {
      return (await product.service('web'))[0]?.backends.active === 2;
    });
  });

  test('a folder that vanishes takes nothing with it, also when the agent starts without it', async () => {
    product.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1)]));
    await product.start();
    const away = `${product.folder}.away`;
    renameSync(product.folder, away);
    await product.until('the loss to be reported', async () =>
      (await product.status()).source.problems.some(({ file }) => file === product.folder),
    );
    assert.equal(answer(), 'pod-1-2');
    await product.kill();
    const status = await product.listen();
    assert.equal(status.source.complete, false);
    assert.equal(answer(), 'pod-1-2');
    mkdirSync(product.folder);
    await product.until('the empty folder to be seen', async () =>
      (await product.status()).source.problems.some(({ message }) => /came empty/.test(message)),
    );
    assert.equal(answer(), 'pod-1-2');
    for (const name of readdirSync(away)) {
      renameSync(`${away}/${name}`, `${product.folder}/${name}`);
      assert.equal(answer(), 'pod-1-2');
    }
    rmSync(away, { recursive: true });
    await product.until('the folder to be read', async () => {
      const { source, rows } = await product.status();
      return source.complete && rows.done === 1;
    });
    assert.equal(answer(), 'pod-1-2');
    await product.apply('web.yaml', service('web', [clusterIP]), slice('web', [ip(2)]));
    assert.equal(answer(), 'pod-1-3');
  });

  test('a full map: the row says which and how large, the rest stays, and space returns', async () => {
    const list = async () => {
      const { services } = (await product.heddle('service', 'list')) as {
        services: ServiceEntry[];
      };
      return new Map(services.map((entry) => [entry.name, entry]));
    };
    product.write('web.yaml', service('web', [clusterIP]), slice('web', [ip(1), ip(2)]));
    // Room for 8 frontends, half of them for one namespace, and, as id 0 is never used, 4 backends.
    const config = `${product.folder}/../agent.yaml`;
    writeFileSync(config, 'sizes: {services: 8, servicesMax: 8, backends: 5, slots: 64}\n');
    await product.start('--config', config);
    await product.apply(
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

    // One backend less, and there is room.
    await product.apply('web.yaml', service('web', [clusterIP]), slice('web', [ip(1)]));
    await product.until('large to be in force', async () => {
      return (await list()).get('large')!.status === 'done';
    });

    const ports = [
      { name: 'a', port: 80 },
      { name: 'b', port: 81 },
    ];
    await product.apply(
      'wide.yaml',
      service('other', ['10.96.0.13'], { ports }),
      service('wide', ['10.96.0.12'], { ports }),
    );
    services = await list();
    const wide = (await product.service('wide')).map(({ reason }) => reason);
    assert.deepEqual(
      wide,
      Array(2).fill(
        'not programmed: namespace default may have 4 frontends, half of sizes.servicesMax (8), and older services in it use them (remove some, or raise sizes.servicesMax)',
      ),
    );
    assert.equal(services.get('web')!.status, 'done');
    assert.equal(answer(), 'pod-1-2');
    product.remove('large.yaml');
    await product.until('one port of wide to be in force', async () => {
      return (await product.service('wide')).filter(({ status }) => status === 'done').length === 1;
    });
    assert.equal(answer(), 'pod-1-2');
  });
});
