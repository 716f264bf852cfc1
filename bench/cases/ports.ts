import { objects } from '@heddle/assets';
import { defaultNat, openDatapath } from '@heddle/datapath';
import { LinuxBpf } from '@heddle/ebpf';
import { mapMemory } from '@heddle/ebpf/testing/map-memory';
import { createLab, eth, type LabNode } from '@heddle/lab';
import type { Platform } from '@heddle/sys';
import { nodeAddress } from '../sites.ts';
import { median, spread } from '../statistics.ts';
import { type Case, type Row, verdict } from './case.ts';

const name = 'ports';
const frontendPort = 30_000;
/** Four times the ports, as a quarter of the flows may be unanswered, and no question here is answered. */
const flows = 131_072;
/** New flows that are tried at each share; fewer than there are ports left at the last one. */
const attempts = 280;
const REDIRECTED = 7;

/** Shares of the ports towards one backend that are taken, in percent, and of attempts that may fail. */
const shares = [
  { taken: 0, mayFail: 0 },
  { taken: 50, mayFail: 0 },
  { taken: 90, mayFail: 0 },
  { taken: 99, mayFail: 1 },
] as const;

/** New flows to a backend elsewhere while most ports that could stand for the client are taken. */
export const ports: Case = {
  name,
  about: 'a new flow to a backend elsewhere, by the share of its ports that are taken; its memory',
  commands: [],
  sizes: () => [1],
  async measure({ platform }, size) {
    using lab = createLab(platform, {
      name: `bench-ports-${process.pid}`,
      nodes: 2,
      podsPerNode: 1,
    });
    const [node, other] = lab.nodes;
    const { begins, range, bytes } = serve(platform, node!, other!.pods[0]!.addresses.v4);
    let open = 0;
    const measured = ({ taken, mayFail }: (typeof shares)[number]) => {
      for (; open < (range * taken) / 100; open++) {
        if (begins() === undefined) throw new Error(`take ${taken} % of the ports: refused`);
      }
      const times: number[] = [];
      for (let i = 0; i < attempts; i++) {
        const ns = begins();
        if (ns !== undefined) times.push(ns);
      }
      open += times.length;
      return { taken, mayFail, times, failed: (100 * (attempts - times.length)) / attempts };
    };
    const found = node!.enter(() => shares.map(measured));
    const rows: Row[] = found.map(({ taken, times, failed }) => ({
      ...{ case: name, size, variant: `${taken} % taken` },
      p50Us: median(times) / 1000,
      ratioToDirect: null,
      spread: spread(times) / 1000,
      failedPercent: failed,
      attempts,
    }));
    const verdicts = found.slice(1).map(({ taken, mayFail, failed }) => {
      const what = { case: name, size, what: `new flows that fail with ${taken} % taken` };
      return verdict(what, failed, { atMost: mayFail }, ' %');
    });
    const memory = { case: name, size, what: 'kernel memory of a flow, both directions' };
    verdicts.push(verdict(memory, bytes / flows, { atMost: 288 }, ' bytes', 1));
    return { rows, verdicts, notes: [] };
  },
};

/**
 * A UDP service on the node. `begins`, to be called there, test-runs a question of another client; ns,
 * or undefined if it is refused. `bytes`: what the kernel has taken for the flow table.
 */
function serve(platform: Platform, node: LabNode, backend: string) {
  const frontend = { kind: 'NodePort', address: nodeAddress, port: frontendPort } as const;
  const datapath = openDatapath({
    ...{ platform, bpf: new LinuxBpf(platform), objects },
    ...{ bpffs: node.bpffs, cgroup: node.cgroup, netnsCookie: node.netnsCookie },
    sizes: { services: 10, backends: 10, slots: 10, affinity: 10, flows },
    nat: defaultNat,
    options: { terminateTcp: false },
  });
  const device = node.link('eth0');
  node.enter(() => datapath.setNode([device], [nodeAddress]));
  const [error] = datapath.services.update([
    {
      ...{ key: 'bench', namespace: 'bench', name: 'bench', portName: 'udp' },
      ...{ scope: 'everybody', silent: false, protocol: 'UDP', family: 'IPv4' },
      frontends: [{ ...frontend, protocol: 'UDP' }],
      backends: [{ address: backend, port: 8080, state: 'active', weight: 1 }],
      ...{ algorithm: 'random', affinitySeconds: 0, sourceRanges: [], problems: [] },
      forwarding: 'snat',
    },
  ]);
  if (error) throw error;
  const { src, dst } = node.firstHop;
  const question = eth({ src: dst, dst: src })
    .ipv4({ src: '198.18.0.0', dst: nodeAddress })
    .udp({ sport: 1024, dport: frontendPort, checksum: 'none' })
    .payload('question');
  const data = question.bytes;
  const view = new DataView(data.buffer);
  const context = new Uint8Array(44);
  new DataView(context.buffer).setUint32(40, device.index, true);
  const program = datapath.programs.node.program('node_ingress');
  let client = 0;
  const { first, last } = defaultNat.ports;
  const maps = ['nat_flows', 'nat_index', 'nat_windows', 'nat_evictable'].map((map) =>
    datapath.programs.node.map(map),
  );
  return {
    bytes: maps.reduce((sum, map) => sum + mapMemory(map), 0),
    range: last - first + 1,
    begins(): number | undefined {
      client++;
      // Neighbours have nothing in common.
      view.setUint16(28, Math.imul(client, 40_503) & 0xffff);
      view.setUint16(34, 1024 + (Math.imul(client, 25_173) & 0x7fff));
      setHeaderChecksum(view);
      const { returnValue, durationNs } = program.testRun({ data, context, contextRoom: 192 });
      return returnValue === REDIRECTED ? durationNs : undefined;
    },
  };
}

/** Sets the checksum of the IPv4 header behind the Ethernet header (RFC 791). */
function setHeaderChecksum(frame: DataView): void {
  const start = 14;
  frame.setUint16(start + 10, 0);
  let sum = 0;
  for (let at = start; at < start + 20; at += 2) sum += frame.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.setUint16(start + 10, ~sum & 0xffff);
}
