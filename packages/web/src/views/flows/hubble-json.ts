import { reasonNames } from '../../filter/reasons.ts';
import type { FlowEnd, FlowRow } from './rows.ts';

const verdicts = { forwarded: 'FORWARDED', dropped: 'DROPPED', refused: 'DROPPED', audit: 'AUDIT' };
const layer4: Readonly<Record<number, string>> = {
  1: 'ICMPv4',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  132: 'SCTP',
};
const flagNames = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'];

/** Returns a row as `hubble observe -o json` prints a flow: one GetFlowsResponse on one line. */
export function hubbleJson(row: FlowRow): string {
  // A row leads from the client to the server, Hubble's flow from the sender of the packet.
  const [source, destination] = row.isReply ? [row.to, row.from] : [row.from, row.to];
  const service = row.isReply ? 'source_service' : 'destination_service';
  const time = new Date(row.time).toISOString();
  const flow = {
    time,
    uuid: row.id,
    verdict: verdicts[row.verdict],
    ...(row.reason > 0 ? { drop_reason: row.reason } : {}),
    IP: {
      source: source.address,
      destination: destination.address,
      ipVersion: source.address.includes(':') ? 'IPv6' : 'IPv4',
    },
    l4: layer4Of(row, source.port, destination.port),
    source: endpoint(source),
    destination: endpoint(destination),
    Type: 'L3_L4',
    node_name: row.node,
    ...(row.service ? { [service]: serviceOf(row.service) } : {}),
    ...(row.direction ? { traffic_direction: row.direction.toUpperCase() } : {}),
    ...(row.reason > 0
      ? { drop_reason_desc: reasonNames[row.reason] ?? 'DROP_REASON_UNKNOWN' }
      : {}),
    is_reply: row.isReply,
    Summary: row.summary,
  };
  return JSON.stringify({ flow, node_name: row.node, time });
}

function layer4Of({ protocol, flags }: FlowRow, source: number, destination: number) {
  const name = layer4[protocol];
  if (!name) return {};
  if (name.startsWith('ICMP')) return { [name]: {} };
  const ports = { source_port: source, destination_port: destination };
  const set = flagNames.filter((_, bit) => flags & (1 << bit)).map((flag) => [flag, true]);
  return { [name]: name === 'TCP' ? { ...ports, flags: Object.fromEntries(set) } : ports };
}

function endpoint({ name, pod }: FlowEnd) {
  const slash = pod === '' ? -1 : name.indexOf('/');
  if (slash < 0) return name === '' ? {} : { labels: [`reserved:world`, `name=${name}`] };
  const workload = name.slice(slash + 1);
  return { namespace: name.slice(0, slash), pod_name: pod, workloads: [{ name: workload }] };
}

function serviceOf(service: string) {
  const [namespace, name] = service.split('/');
  return { name, namespace };
}
