import { ClusterBuilder } from './build-cluster.ts';
import type { InventedCluster, InventedWorkload } from './cluster.ts';

const teams =
  `amber anvil atlas aurora basalt birch cedar cobalt comet coral delta drift ember fjord flint
  garnet glade harbor heron indigo juniper kestrel lark linden lumen maple mesa nimbus onyx opal orchard
  pine quartz raven reef sable slate spruce tundra willow`.split(/\s+/);
const parts =
  `api worker gateway cache db queue sync auth export import mail render stats rules feed search
  store proxy admin hooks audit billing media`.split(/\s+/);

/** Returns an invented cluster of 44 namespaces, about 500 workloads, 5,000 pods and 3,000 links. */
export function metro(): InventedCluster {
  const nodes = Array.from({ length: 60 }, (_, index) => `m${String(index + 1).padStart(2, '0')}`);
  const builder = new ClusterBuilder('metro-500', nodes, 42);
  const { random } = builder;
  builder.addOutside('internet', '203.0.113.5', '198.51.100.7');
  for (const name of ['edge-a', 'edge-b']) builder.add('ingress', name, 'Deployment', 12);
  const levels = teams.map((team) => addTeam(builder, team));
  for (const name of ['orders-db', 'users-db', 'events', 'blobs']) {
    builder.add('shared-data', name, 'StatefulSet', 6);
  }
  builder.add('kube-system', 'dns', 'Deployment', 8);
  builder.add('kube-system', 'api-server', 'Host', 3);
  builder.add('monitoring', 'prometheus', 'StatefulSet', 2);
  builder.add('monitoring', 'logs', 'StatefulSet', 4);
  builder.addOutside('api.maps.example', '192.0.2.44');
  builder.addOutside('10.40.0.0/16', '10.40.2.2');
  const id = ({ namespace, name }: InventedWorkload) => `${namespace}/${name}`;
  const pick = <Item>(items: readonly Item[]) => items[Math.floor(random() ** 1.6 * items.length)]!;

  builder.link('internet', 'ingress/edge-a', 443, 2600);
  builder.link('internet', 'ingress/edge-b', 443, 1900);
  const made = new Set<string>();
  const link = (from: InventedWorkload, to: InventedWorkload, port: number, rate: number) => {
    const key = `${id(from)}>${id(to)}`;
    if (from === to || made.has(key)) return;
    made.add(key);
    builder.link(id(from), id(to), port, rate);
  };
  const portOf = (name: string) => (/db|cache|queue|store/.test(name) ? 5432 : 8080);
  for (const [level, team] of levels.entries()) {
    if (level < 9) link(builder.find('ingress/edge-a'), team[0]!, 8080, 60 + random() * 300);
    for (const caller of team) {
      for (let count = 2 + Math.floor(random() * 4); count > 0; count--) {
        const server = pick(team);
        link(caller, server, portOf(server.name), 1 + random() ** 3 * 90);
      }
      for (let count = Math.floor(random() * 4); count > 0; count--) {
        // Calls mostly lead to a later team, and some back.
        const step = random() < 0.12 ? -4 : 1 + Math.floor(random() * 9);
        const server = pick(levels[Math.max(0, Math.min(levels.length - 1, level + step))]!);
        link(caller, server, portOf(server.name), 0.5 + random() ** 3 * 40);
      }
      if (random() < 0.16) {
        const name = pick(['orders-db', 'users-db', 'events', 'blobs']);
        link(caller, builder.find(`shared-data/${name}`), 5432, 1 + random() * 30);
      }
    }
  }
  addTrouble(builder, levels);
  for (const workload of builder.workloads.filter(({ pods }) => pods.length > 0)) {
    if (workload.name !== 'dns')
      builder.link(id(workload), 'kube-system/dns', 53, 1 + random() * 4);
    if (workload.name !== 'prometheus') builder.link('prometheus', id(workload), 9102, 0.2);
  }
  return builder.result();
}

function addTeam(builder: ClusterBuilder, team: string): InventedWorkload[] {
  const { random } = builder;
  const size = 7 + Math.floor(random() * 11);
  const start = Math.floor(random() * parts.length);
  return Array.from({ length: size }, (_, index) => {
    const name = index === 0 ? 'api' : `${parts[(start + index * 5) % parts.length]!}`;
    const isTaken = builder.workloads.some((each) => each.namespace === team && each.name === name);
    const isStore = /db|cache|queue|store/.test(name);
    return builder.add(
      team,
      isTaken ? `${name}-2` : name,
      isStore ? 'StatefulSet' : 'Deployment',
      isStore ? 3 : 2 + Math.floor(random() ** 2 * 36),
    );
  });
}

/** Adds nine links that are dropped or refused. */
function addTrouble(builder: ClusterBuilder, levels: readonly InventedWorkload[][]): void {
  const { random } = builder;
  for (let index = 0; index < 9; index++) {
    const from = levels[3 + index * 4]![1]!;
    const to = levels[(7 + index * 3) % levels.length]![0]!;
    const rate = 1 + Math.round(random() * 30);
    builder.link(`${from.namespace}/${from.name}`, `${to.namespace}/${to.name}`, 8443, 0, {
      ...(index % 3 === 2 ? { refused: rate } : { dropped: rate }),
      first: 20 + index * 31,
    });
  }
}
