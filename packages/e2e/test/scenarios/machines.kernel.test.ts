import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { echoBytes } from '@heddle/lab';
import {
  answers,
  clientSeen,
  ends,
  Front,
  machineIn,
  namesOf,
  protocols,
  refused,
} from '../../testing/front.ts';

const tries = 20;

// Pods in virtual machines, or of another runtime that puts them out of the cgroup: their sockets are
// not seen, so what they send to a service is translated at their devices.
describe('pods whose processes are not in the cgroup', () => {
  let front: Front;
  before(async () => {
    front = await Front.open('machines', '--pod-devices', 'veth*');
  });
  after(() => front?.[Symbol.dispose]());

  test('a ClusterIP and a NodePort lead to pods of any node, who see the pod; endpoints come and go', async () => {
    const { here, there } = front;
    const client = machineIn(here[0]!, front);
    const web = front.expose('web');
    for (const pods of [[here[1]!, there[0]!], [there[0]!], []]) {
      await web.write(pods, { spec: { externalTrafficPolicy: 'Local' } });
      for (const end of ends) {
        const names = pods.length > 0 ? namesOf(...pods) : refused;
        for (const protocol of protocols) {
          const port = protocol === 'TCP' ? 'tcp' : 'udp';
          const internal = { way: 'ClusterIP', to: web.at(web.clusterIP(end), port) };
          for (const { way, to } of [internal, ...web.waysIn(end, port)]) {
            assert.deepEqual(answers(client, protocol, to, tries), names, `${way}, ${protocol}`);
          }
        }
        if (pods.length === 0) continue;
        const to = web.at(web.clusterIP(end), 'http');
        assert.equal(clientSeen(client, to), client.addresses[end]);
        echoBytes(client, web.at(web.clusterIP(end), 'echo'), 2_000_000);
      }
    }
    await web.remove();
  });

  test('a pod reaches itself through its service and through its node’s address', async () => {
    const { here, node } = front;
    const client = machineIn(here[0]!, front);
    const web = front.expose('hairpin');
    await web.write([here[0]!]);
    for (const end of ends) {
      for (const to of [web.at(web.clusterIP(end), 'http'), web.onNode(end, 'http')]) {
        assert.equal(clientSeen(client, to), node.addresses[end]);
      }
      for (const protocol of protocols) {
        const port = protocol === 'TCP' ? 'tcp' : 'udp';
        for (const to of [web.at(web.clusterIP(end), port), web.onNode(end, port)]) {
          assert.deepEqual(answers(client, protocol, to, tries), namesOf(here[0]!));
        }
      }
      echoBytes(client, web.at(web.clusterIP(end), 'echo'), 2_000_000);
    }
    await web.remove();
  });

  test('a pod that comes later is served, and one that goes takes nothing with it', async () => {
    const { product, here, node } = front;
    const web = front.expose('later');
    await web.write([here[0]!]);
    const to = web.at(web.clusterIP('v6'), 'tcp');
    const added = product.lab.addPod(node);
    const client = machineIn(added, front);
    await product.until('the new pod to be served', () =>
      answers(client, 'TCP', to).includes(here[0]!.name),
    );
    const hooks = async () => (await product.status()).datapath.links.map(({ hook }) => hook);
    assert.ok((await hooks()).includes(`node_ingress@${added.nodeLink}`));
    product.lab.removePod(added);
    await product.until(
      'its device to be forgotten',
      async () => !(await hooks()).some((hook) => hook.endsWith(`@${added.nodeLink}`)),
    );
    const other = machineIn(here[1]!, front);
    assert.deepEqual(answers(other, 'TCP', to), namesOf(here[0]!));
    assert.ok((await product.status()).datapath.links.every(({ attached }) => attached));
    await web.remove();
  });
});
