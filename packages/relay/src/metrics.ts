import { nodeCount } from './api/nodes.ts';
import type { PeerPool } from './peers/pool.ts';
import type { Traffic } from './traffic/traffic.ts';

/** Returns the metrics of a relay in Prometheus' text format. */
export function relayMetrics(
  pool: PeerPool,
  traffic: Traffic,
  lostExports: number,
  now: number,
): string {
  const { seen, all } = nodeCount(pool);
  const flows = [...traffic.nodes.values()].reduce((sum, node) => sum + node.flows, 0);
  const lines = [
    ...metric('heddle_relay_nodes', 'gauge', 'Nodes that the relay knows.', all),
    ...metric('heddle_relay_nodes_connected', 'gauge', 'Nodes whose observer answers.', seen),
    ...metric('heddle_relay_flows_total', 'counter', 'Flows that the nodes have sent.', flows),
    ...metric(
      'heddle_relay_lost_flows',
      'gauge',
      'Flows that the nodes have lost in 24 hours.',
      traffic.lostIn(now - 86_400_000, now + 1),
    ),
    ...metric('heddle_relay_links', 'gauge', 'Links that are kept.', traffic.links.size),
    ...metric(
      'heddle_relay_links_left_total',
      'counter',
      'Links beyond the limit of the history.',
      traffic.links.left.links,
    ),
    ...metric(
      'heddle_relay_exports_lost_total',
      'counter',
      'Flows that were not exported.',
      lostExports,
    ),
    ...metric(
      'heddle_relay_resident_memory_bytes',
      'gauge',
      'Memory of the process.',
      process.memoryUsage.rss(),
    ),
  ];
  return `${lines.join('\n')}\n`;
}

function metric(name: string, type: 'gauge' | 'counter', help: string, value: number): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, `${name} ${value}`];
}
