import type { MetricFacts } from '../../metrics/agent-metrics.ts';
import type { Registry, Sample } from '../../metrics/registry.ts';

/** Registers the metrics of the flow table and its SNAT ports. */
export function addFlowMetrics(registry: Registry<MetricFacts>): void {
  const gauge = registry.value.bind(registry, 'gauge');
  gauge(
    'heddle_flows_unanswered',
    'External flows that are not confirmed by both sides.',
    ({ status }) => status.datapath.nat.unanswered,
  );
  gauge(
    'heddle_flows_unanswered_limit',
    'Largest number of unconfirmed flows, half of the table; a new one beyond it evicts the oldest.',
    ({ status }) => status.datapath.nat.unansweredLimit,
  );
  registry.samples(
    'counter',
    'heddle_flows_evicted_total',
    'Flows that were evicted for new ones, by the reason for the choice, since the maps were made. None was confirmed by both sides and open.',
    ['reason'],
    ({ status }) =>
      status.datapath.nat.evicted.map(({ reason, count }): Sample => [[reason], count]),
  );
  registry.samples(
    'counter',
    'heddle_tcp_not_believed_total',
    'TCP segments that changed no state, because neither end of their connection can have sent their numbers, by flag.',
    ['flag'],
    ({ status }) =>
      status.datapath.nat.notBelieved.map(({ reason, count }): Sample => [[reason], count]),
  );
  registry.value(
    'counter',
    'heddle_flows_unobserved_total',
    'Connections of pods without policies that the flow table had no room for, so that they are not observed, since the maps were made.',
    ({ status }) => status.datapath.nat.unobserved,
  );
  gauge(
    'heddle_nat_ports',
    'SNAT ports towards each backend from each address of the node (snatPorts).',
    ({ status }) => status.datapath.nat.ports,
  );
  gauge(
    'heddle_nat_port_pressure',
    'Largest share, 0 to 1, of the SNAT ports towards one backend that are taken; those of closed connections are free.',
    ({ status }) => status.datapath.nat.portPressure,
  );
  registry.samples(
    'gauge',
    'heddle_nat_ports_used',
    'SNAT ports that are taken towards a backend, if half of them or more; the 20 fullest.',
    ['protocol', 'backend', 'source'],
    fullestBackends,
  );
}

/** Backends of which less than half of the ports is taken are left out: a healthy node has no such series. */
function fullestBackends({ status }: MetricFacts): Sample[] {
  const { fullest, ports } = status.datapath.nat;
  return fullest
    .filter(({ used }) => used >= ports / 2)
    .map(({ protocol, backend, backendPort, source, used }): Sample => {
      const host = backend.includes(':') ? `[${backend}]` : backend;
      return [[protocol, `${host}:${backendPort}`, source], used];
    });
}
