import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { echoBytes } from '@heddle/lab';
import {
  answers,
  ExternalLab,
  ipVersions,
  namesOf,
  observedClient,
  placeOutsideCgroup,
  protocols,
  refused,
} from '../../testing/external-lab.ts';

const tries = 20;

// Pods in virtual machines, or in a runtime that places them outside the cgroup: the programs don't
// run for their sockets, so their packets are translated at their network interfaces.
describe('pods whose processes are not in the cgroup (podDevices)', () => {
  let setup: ExternalLab;
  before(async () => {
    setup = await ExternalLab.open('machines', '--pod-devices', 'veth*');
  });
  after(() => setup?.[Symbol.dispose]());

  test('a ClusterIP and a NodePort reach pods of any node, which observe the pod’s address, while endpoints change', async () => {
    const { here, there } = setup;
    const client = placeOutsideCgroup(here[0]!, setup);
    const web = setup.expose('web');
    for (const pods of [[here[1]!, there[0]!], [there[0]!], []]) {
      await web.write(pods, { spec: { externalTrafficPolicy: 'Local' } });
      for (const end of ipVersions) {
        const names = pods.length > 0 ? namesOf(...pods) : refused;
        for (const protocol of protocols) {
          const port = protocol === 'TCP' ? 'tcp' : 'udp';
          const internal = { path: 'ClusterIP', to: web.at(web.clusterIP(end), port) };
          for (const { path, to } of [internal, ...web.externalPaths(end, port)]) {
            assert.deepEqual(answers(client, protocol, to, tries), names, `${path}, ${protocol}`);
          }
        }
        if (pods.length === 0) continue;
        const to = web.at(web.clusterIP(end), 'http');
        assert.equal(observedClient(client, to), client.addresses[end]);
        echoBytes(client, web.at(web.clusterIP(end), 'echo'), 2_000_000);
      }
    }
    await web.remove();
  });

  test('a pod reaches itself through its service and its node’s address', async () => {
    const { here, node } = setup;
    const client = placeOutsideCgroup(here[0]!, setup);
    const web = setup.expose('hairpin');
    await web.write([here[0]!]);
    for (const end of ipVersions) {
      for (const to of [web.at(web.clusterIP(end), 'http'), web.onNode(end, 'http')]) {
        assert.equal(observedClient(client, to), node.addresses[end]);
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

  test('a pod that is added later is served, and a removed pod does not affect others', async () => {
    const { agentLab, here, node } = setup;
    const web = setup.expose('later');
    await web.write([here[0]!]);
    const to = web.at(web.clusterIP('v6'), 'tcp');
    const added = agentLab.lab.addPod(node);
    const client = placeOutsideCgroup(added, setup);
    await agentLab.until('the new pod to be served', () =>
      answers(client, 'TCP', to).includes(here[0]!.name),
    );
    const hooks = async () => (await agentLab.status()).datapath.links.map(({ hook }) => hook);
    assert.ok((await hooks()).includes(`node_ingress@${added.nodeLink}`));
    agentLab.lab.removePod(added);
    await agentLab.until(
      'its device to be forgotten',
      async () => !(await hooks()).some((hook) => hook.endsWith(`@${added.nodeLink}`)),
    );
    const other = placeOutsideCgroup(here[1]!, setup);
    assert.deepEqual(answers(other, 'TCP', to), namesOf(here[0]!));
    assert.ok((await agentLab.status()).datapath.links.every(({ attached }) => attached));
    await web.remove();
  });
});
