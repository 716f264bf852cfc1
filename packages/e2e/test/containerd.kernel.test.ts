// containerd with runc as the container runtime of a node, which calls the CNI plug-in for its pods.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, it } from 'node:test';
import { installCni } from '@heddle/agent';
import { cniPlugin } from '@heddle/assets';
import { FakeAgent, type Request } from '@heddle/assets/testing/cni-call';
import { createLab } from '@heddle/lab';
import { findLink, NetlinkSocket, NetworkNamespace } from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { Containerd, withoutContainerd } from '../testing/containerd/containerd.ts';

const platform = nodePlatform(() => {});
const skip = withoutContainerd();

describe('containerd and the CNI plug-in', { skip, timeout: 120_000 }, () => {
  it('containerd observes the configuration, and connects pods by the agent', async () => {
    const lab = createLab(platform, { name: `containerd-${process.pid}`, podsPerNode: 0 });
    const folder = `${dirname(lab.bpffs)}/containerd`;
    mkdirSync(folder);
    try {
      await using containerd = new Containerd(lab.nodes[0]!, folder);
      await containerd.start();
      containerd.importPauseImage();
      const { client } = containerd;
      assert.match((await client.networkProblem())!, /not initialized/);
      const { binDir, configDir } = containerd;
      const settings = { binDir, configDir, socket: `${folder}/cni.sock` };
      installCni(platform, settings, cniPlugin(platform.arch));
      await eventually('the network is ready', async () => !(await client.networkProblem()));

      const pod = { name: 'web', namespace: 'default', uid: 'uid-1' };
      await assert.rejects(client.runPodSandbox(pod), /the agent of Heddle does not answer/);
      let sandbox: string;
      {
        await using agent = await FakeAgent.listen(settings.socket, (connection, request) =>
          connection.end(answer(request)),
        );
        sandbox = await client.runPodSandbox(pod);
        const { environment } = agent.requests.at(-1)!;
        assert.equal(environment.CNI_COMMAND, 'ADD');
        for (const part of ['NAMESPACE=default', 'NAME=web', 'UID=uid-1']) {
          assert.ok(environment.CNI_ARGS!.split(';').includes(`K8S_POD_${part}`));
        }
        assert.ok(isLoopbackUp(environment.CNI_NETNS!));
        const { isReady, addresses } = await client.podSandboxStatus(sandbox);
        assert.deepEqual([isReady, addresses], [true, ['10.7.0.2']]);
      }
      // Without an agent, too, a pod can be removed.
      await client.stopPodSandbox(sandbox);
      await client.removePodSandbox(sandbox);
    } finally {
      lab[Symbol.dispose]();
    }
  });
});

/** Returns what an agent answers to a request. */
function answer({ environment, input }: Request): string {
  if (environment.CNI_COMMAND !== 'ADD') return '0';
  const { cniVersion } = JSON.parse(input);
  const interfaces = [{ name: 'hd0' }, { name: 'eth0', sandbox: environment.CNI_NETNS }];
  const ips = [{ address: '10.7.0.2/32', interface: 1 }];
  return `0${JSON.stringify({ cniVersion, interfaces, ips, dns: {} })}`;
}

function isLoopbackUp(netns: string): boolean {
  using namespace = NetworkNamespace.open(platform, netns);
  using socket = namespace.enter(() => new NetlinkSocket(platform));
  return findLink(socket, 'lo')!.up;
}
