import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import type { Lab } from '@heddle/lab';
import { MessageWriter, NetlinkSocket } from '@heddle/netlink';
import { program } from '../../tools/build.ts';
import type { Service } from '../catalog.ts';
import { AgentProcess, writeServices } from './agent-process.ts';
import { loadRules } from './netfilter.ts';
import { nftablesRules } from './nftables-rules.ts';

/** The load balancer in a lab that is flooded. */
export interface Flooded {
  readonly name: string;
  readonly lab: Lab;
  /** The number of connections that its table has room for. */
  readonly room: number;
  /** Ends all of them. */
  clear(): Promise<void>;
}

// linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
const NETLINK_NETFILTER = 12;
const CTNETLINK_DELETE = (1 << 8) | 2;

/** Connections that the kernel's conntrack has room for; each network namespace has as many. */
export function conntrackRoom(): number {
  return Number(readFileSync('/proc/sys/net/netfilter/nf_conntrack_max', 'utf8'));
}

/** kube-proxy in nftables mode on node 1, with the kernel's conntrack as it is. */
export async function floodedNftables(lab: Lab, services: readonly Service[]): Promise<Flooded> {
  const [node] = lab.nodes;
  await loadRules(node!, ['nft', '-f', '-'], nftablesRules(services));
  return {
    name: 'nftables',
    lab,
    room: conntrackRoom(),
    async clear() {
      node!.enter(() => {
        using socket = new NetlinkSocket(lab.nodes[0]!.platform, NETLINK_NETFILTER);
        // struct nfgenmsg: any family; without a tuple all entries are meant.
        const all = new MessageWriter(CTNETLINK_DELETE).header(new Uint8Array(4));
        socket.request(all, 'flush conntrack');
      });
    },
  };
}

/** Heddle's agent on node 1. */
export async function floodedHeddle(
  name: string,
  lab: Lab,
  services: readonly Service[],
  room: number,
): Promise<Flooded> {
  const folder = `${dirname(lab.bpffs)}/bench`;
  mkdirSync(folder, { recursive: true });
  writeServices(`${folder}/manifests`, services);
  const agent = new AgentProcess(lab.nodes[0]!, folder, {
    manifests: `${folder}/manifests`,
    'max-flows': room,
  });
  // ClusterIP, the node's address, and the unspecified one, which stands for loopback.
  await agent.programmed(services.length, 3);
  return {
    ...{ name, lab, room },
    async clear() {
      const args = [program, 'flow', 'flush', '--yes', '--socket', agent.socket];
      await promisify(execFile)(process.execPath, args);
    },
  };
}
