import type { Hello } from '@heddle/web/contract';
import type { PeerPool } from '../peers/pool.ts';
import type { Traffic } from '../traffic/traffic.ts';
import type { Reader } from './access.ts';
import { changesOf } from './changes.ts';
import { dropsNow, dropsOf, explainDrop } from './drops.ts';
import { findText, valuesOf } from './find.ts';
import { flowPage } from './flow-rows.ts';
import { linksMax, mapForm, mapOf } from './map.ts';
import { nodeCount, nodesOf } from './nodes.ts';
import { timelineOf } from './timeline.ts';
import { ApiProblem, filterOf, rangeOf, view, viewOf } from './view.ts';
import { never, whyEmpty } from './why-empty.ts';
import { workloadPage } from './workload.ts';

/** The state that answers come from. */
export interface ApiState {
  readonly pool: PeerPool;
  readonly traffic: Traffic;
  readonly cluster: string;
  readonly version: string;
  readonly log?: (message: string) => void;
}

/** Returns the answer to a request below `api/`, or a promise of it. Throws ApiProblem. */
export function answer(
  state: ApiState,
  path: readonly string[],
  parameters: URLSearchParams,
  reader: Reader,
): unknown {
  const { pool, traffic } = state;
  const { canSee } = reader;
  const [kind, ...rest] = path;
  const asked = () => viewOf(traffic, parameters, canSee);
  switch (kind) {
    case 'hello':
      return hello(state, reader);
    case 'map':
      return mapOf(asked(), mapForm(parameters), traffic.ring.next);
    case 'timeline':
      return timelineOf(asked(), Math.max(1, Number(parameters.get('step')) || 300));
    case 'drops':
      return rest.length === 0 ? dropsOf(asked()) : explainDrop(asked(), rest[0]!, state);
    case 'changes': {
      const filter = filterOf(parameters.get('f') ?? '');
      const range = (name: string) => {
        const [from, to] = rangeOf(parameters.get(name), name);
        return view(traffic, filter, from, to, canSee);
      };
      return changesOf(range('a'), range('b'));
    }
    case 'workload':
    case 'pod':
    case 'service':
    case 'outside':
      return workloadPage(asked(), kind, rest);
    case 'flows':
      return flowPage(asked(), parameters);
    case 'find':
      return findText(traffic, (parameters.get('q') ?? '').slice(0, 256), canSee);
    case 'values':
      return valuesOf(asked(), parameters.get('key') ?? '', parameters.get('prefix') ?? '');
    case 'why-empty':
      return whyEmpty(asked(), { count: nodeCount(pool) });
    case 'events': {
      const { from, to } = asked();
      const isSeen = (lane: string, subject: string) =>
        lane === 'node' || canSee(subject.split('/')[0]!);
      return traffic.events.all.filter(
        ({ at, lane, subject }) => at >= from && at < to && isSeen(lane, subject),
      );
    }
    case 'nodes':
      return { nodes: nodesOf(pool, traffic, Date.now()), never };
    default:
      throw new ApiProblem(404, 'unknown', `There is no ${path.join('/')}.`);
  }
}

/** Returns the answer to `hello`. */
export function hello({ pool, traffic, cluster, version }: ApiState, reader: Reader): Hello {
  const { ring } = traffic;
  const now = Date.now();
  const isEmpty = ring.next === ring.oldest;
  return {
    ...{ version, cluster, run: traffic.run, now },
    keptSince: { links: traffic.keptSince, flows: isEmpty ? now : ring.at(ring.oldest).time },
    nodes: nodeCount(pool),
    features: ['dns', 'policy'],
    ...(reader.namespaces ? { namespaces: reader.namespaces } : {}),
    limits: {
      links: Math.min(linksMax, traffic.links.rowsMax),
      historyBytes: traffic.historyBytes,
    },
  };
}

/** Returns the event `counts`. */
export function counts({ pool, traffic }: ApiState, canSee: Reader['canSee']) {
  const now = Date.now();
  return {
    ...{ now, flowsPerSecond: traffic.flowsPerSecond(now), nodes: nodeCount(pool) },
    lost: traffic.lostIn(now - 3_600_000, now + 1),
    drops: dropsNow(traffic, now, canSee),
  };
}
