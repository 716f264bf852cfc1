import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { row } from '../testing/rows.ts';
import { at } from '../testing/sockets.ts';
import { World } from '../testing/world.ts';

const families = [4, 6] as const;
const kinds = ['tcp', 'udp'] as const;

describe('traffic from outside through a NodePort', () => {
  let world: World;
  before(() => {
    world = new World('north', 1, { lab: { nodes: 2, outside: 1 } });
    world.serveOutside();
  });
  after(() => world?.[Symbol.dispose]());

  const nodePort = (port: number, family: 4 | 6, protocol: 'TCP' | 'UDP', backend: string) => {
    const address = family === 4 ? world.node.addresses.v4 : world.node.addresses.v6;
    return row([{ kind: 'NodePort', address, port }], [{ address: backend, port: 8080 }], {
      protocol,
    });
  };

  let nextPort = 30_100;
  for (const family of families) {
    for (const kind of kinds) {
      for (const where of ['local', 'remote'] as const) {
        test(`IPv${family} ${kind} to a ${where} backend`, () => {
          const port = nextPort++;
          const pod = world.lab.nodes[where === 'local' ? 0 : 1]!.pods[0]!;
          const address = (addresses: { v4: string; v6: string }) =>
            family === 4 ? addresses.v4 : addresses.v6;
          const outside = address(world.lab.outside[0]!.addresses);
          const node = address(world.node.addresses);
          world.apply(
            nodePort(port, family, kind === 'tcp' ? 'TCP' : 'UDP', address(pod.addresses)),
          );
          using server =
            kind === 'tcp' ? world.listener(pod, family, 8080) : world.receiver(pod, family, 8080);
          using client = world.socket(world.lab.outside[0]!, family, kind);
          assert.equal(client.connect(node, port), 'ok');
          assert.equal(client.send('hello'), 'ok');
          using accepted = kind === 'tcp' ? server.accept() : undefined;
          const { text, from } = (accepted ?? server).receive();
          const peer = accepted ? accepted.peerName() : from;
          assert.equal(text, 'hello');
          if (where === 'local') assert.equal(peer, client.ownName());
          else assert.ok(peer.startsWith(`${node}:`), `${peer} is not the node's`);
          if (accepted) assert.equal(accepted.send('hello yourself'), 'ok');
          else {
            const colon = from.lastIndexOf(':');
            const to = { address: from.slice(0, colon), port: Number(from.slice(colon + 1)) };
            assert.equal(server.send('hello yourself', to), 'ok');
          }
          assert.equal(client.receive().text, 'hello yourself');
          const flow = [...world.datapath.flows()].find((each) => each.frontendPort === port);
          assert.equal(flow?.client, outside);
          assert.equal(flow?.state, kind === 'tcp' ? 'established' : 'answered');
          assert.equal(
            at(flow!.source, flow!.sourcePort),
            where === 'local' ? client.ownName() : peer,
          );
        });
      }
    }
  }
});
